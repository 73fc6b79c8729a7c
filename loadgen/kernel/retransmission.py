"""When the kernel sends a SYN without an answer again, and when it gives the connection up.

Pure arithmetic on three settings of the network namespace. A program may set its own number with TCP_SYNCNT, and end
the wait earlier with TCP_USER_TIMEOUT; both are out of sight here.

Sources: tcp_write_timeout(), tcp_retransmit_timer(), retransmits_timed_out() and tcp_model_timeout() in
net/ipv4/tcp_timer.c; TCP_TIMEOUT_INIT and TCP_RTO_MAX in include/net/tcp.h; ip-sysctl.rst for the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: TCP_TIMEOUT_INIT: the pause before a SYN is sent again for the first time, whatever the settings; RFC 6298 2.1.
INITIAL_S: Final = 1.0
#: TCP_RTO_MAX, the longest pause where the kernel has no tcp_rto_max_ms (before Linux 6.15), and its default.
_RTO_MAX_S: Final = 120.0
#: Settings that the times depend on, by dotted name; kernels without one behave as `of_settings` says.
SYN_RETRIES: Final = "net.ipv4.tcp_syn_retries"
SYN_LINEAR: Final = "net.ipv4.tcp_syn_linear_timeouts"
RTO_MAX_MS: Final = "net.ipv4.tcp_rto_max_ms"
#: Of sums of pauses; a timer of the kernel runs out late, never early.
_ROUNDING_S: Final = 1e-6
#: Whether a SYN asks for ECN, which some boxes drop, and the values with which it does; 3 and 4 came with Linux 7.0.
#: The SYN that is sent again does not ask: tcp_ecn_clear_syn() in net/ipv4/tcp_output.c, RFC 3168 6.1.1.1.
ECN: Final = "net.ipv4.tcp_ecn"
ASKS_FOR_ECN: Final = ("1", "3", "4")
#: Times of repeated SYNs that a sentence names.
_NAMED_MAX: Final = 6


@dataclass(frozen=True, slots=True)
class SynTimes:
    """Times of one connect() that nothing answers, in seconds since it began.

    again_s: when the SYN is sent again, rising. gives_up_s: when connect() ends with ETIMEDOUT.
    """

    again_s: tuple[float, ...]
    gives_up_s: float

    @property
    def text(self) -> str:
        """The times in words: "again after 1, 2, 3 s, given up after 7 s"."""
        named = [f"{at_s:g}" for at_s in self.again_s[:_NAMED_MAX]]
        named += ["..."] * (len(self.again_s) > _NAMED_MAX)
        return f"again after {', '.join(named)} s, given up after {self.gives_up_s:g} s"


def syn_times(retries: int, linear: int = 0, rto_max_s: float = _RTO_MAX_S) -> SynTimes:
    """Return the times of a SYN without an answer.

    retries: tcp_syn_retries, 1 or more. linear: tcp_syn_linear_timeouts, the pauses that are not yet doubled; 0 on
    kernels without it. rto_max_s: the longest pause.

    Two rules end the wait, whichever comes first when a timer runs out: `retries + linear` SYNs were sent again, or
    the time has passed that `retries` doubled pauses take.
    """
    model_s = _model_s(retries, rto_max_s)
    again: list[float] = []
    now_s, pause_s = INITIAL_S, INITIAL_S
    while len(again) < retries + linear and not (again and now_s + _ROUNDING_S >= model_s):
        again.append(now_s)
        # The timer has run out len(again) times (tp->total_rto); a pause is doubled only after `linear` of them.
        if len(again) > linear:
            pause_s = min(2 * pause_s, rto_max_s)
        now_s += pause_s
    return SynTimes(tuple(again), now_s)


def _model_s(retries: int, rto_max_s: float) -> float:
    """Return the seconds that `retries` doubled pauses and the last one take: tcp_model_timeout()."""
    doubled = int(rto_max_s / INITIAL_S).bit_length() - 1  # ilog2()
    if retries <= doubled:
        return ((2 << retries) - 1) * INITIAL_S
    return ((2 << doubled) - 1) * INITIAL_S + (retries - doubled) * rto_max_s


def of_settings(sysctls: Mapping[str, str]) -> SynTimes | None:
    """Return the times by the settings of a namespace; None without a tcp_syn_retries that is a number.

    sysctls: all settings that the kernel has, by dotted name: one that is not there is one that it lacks. Without
    tcp_syn_linear_timeouts (before Linux 6.5) the second pause is doubled already, without tcp_rto_max_ms (before
    6.15) no pause is longer than 120 s.
    """
    retries = sysctls.get(SYN_RETRIES, "")
    linear, rto_max_ms = sysctls.get(SYN_LINEAR, "0"), sysctls.get(RTO_MAX_MS, "")
    if not retries.isdecimal() or not int(retries) or not linear.isdecimal():
        return None
    rto_max_s = int(rto_max_ms) / 1000 if rto_max_ms.isdecimal() and int(rto_max_ms) else _RTO_MAX_S
    return syn_times(int(retries), int(linear), rto_max_s)
