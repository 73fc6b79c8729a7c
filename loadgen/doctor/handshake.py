"""How long connect() waits for an answer, and what its SYN asks for.

Sources: ip-sysctl.rst; tcp(7); `loadgen.kernel.retransmission` for the times.
"""

from __future__ import annotations

from dataclasses import replace

from loadgen.doctor.finding import Grade, LimitCheck, LimitJudgement, Purpose, set_sysctl, setting
from loadgen.doctor.reading import Reading
from loadgen.kernel import retransmission
from loadgen.kernel.retransmission import ASKS_FOR_ECN, ECN, RTO_MAX_MS, SYN_LINEAR, SYN_RETRIES

#: As kernels come.
_RETRIES, _LINEAR, _ECN_DEFAULT = 6, 4, 2


def _where_it_exists(check: LimitCheck) -> LimitCheck:
    """Return the check without a row on kernels that lack its setting: most do, and miss nothing by it."""
    return replace(check, asked=lambda host, _: check.name in host.sysctls or check.name in host.refused)


@setting(SYN_RETRIES)
def syn_retries(host: Reading, _: Purpose) -> LimitJudgement:
    """Facts 6.3 and 6.4."""
    times = retransmission.of_settings(host.sysctls)
    change = set_sysctl(SYN_RETRIES, _RETRIES)
    if times is None:
        return LimitJudgement(Grade.GOOD, "how long an attempt without an answer holds its port", change)
    allows = (
        f"a SYN without an answer is sent {times.text}; until then the attempt holds its port, unless the program "
        "has a timeout of its own"
    )
    return LimitJudgement(Grade.GOOD, allows, change)


@_where_it_exists
@setting(SYN_LINEAR)
def syn_linear(host: Reading, _: Purpose) -> LimitJudgement:
    """Fact 6.3."""
    linear = host.number(SYN_LINEAR)
    allows = f"the first {linear + 1:,} pauses before a SYN is sent again are a second each, the next are doubled"
    if not linear:
        allows = "each pause before a SYN is sent again is twice the one before: a second lost SYN costs 2 s more"
    return LimitJudgement(Grade.GOOD, allows, set_sysctl(SYN_LINEAR, _LINEAR))


@_where_it_exists
@setting(RTO_MAX_MS)
def rto_max(host: Reading, _: Purpose) -> LimitJudgement:
    """The longest pause of a SYN as of data."""
    allows = f"no pause before a SYN or data is sent again is longer than {host.number(RTO_MAX_MS) / 1000:g} s"
    return LimitJudgement(Grade.GOOD, allows, set_sysctl(RTO_MAX_MS, 120_000))


@setting(ECN)
def ecn(host: Reading, _: Purpose) -> LimitJudgement:
    """RFC 3168 6.1.1.1, RFC 9768."""
    change = set_sysctl(ECN, _ECN_DEFAULT)
    if host.sysctls[ECN] not in ASKS_FOR_ECN:
        return LimitJudgement(Grade.GOOD, "a SYN of this host does not ask for ECN", change)
    allows = (
        "every SYN of this host asks for ECN: a box on the way that drops such SYNs makes each connect() a second "
        "late, or leaves it without an answer, and looks like loss"
    )
    return LimitJudgement(Grade.GOOD, allows, change)
