"""The table of faults: what is hit, how, and why with this tool. Each row draws one fault for a scenario.

Not here: packets that are merely late beyond what a slow queue makes (netem, not in every kernel: tbf stands in), and a
wall clock that jumps (it has no namespace; setting it would change the host).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import errnos
from .trial import Fault, Moment

Spec = Mapping[str, Any]
_LOAD: Final = ("opening", "opening", "hold", "hold", "drain")
_ANY: Final = ("zygote", "sinks", "workers", *_LOAD, *_LOAD, "ended", "summary")


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of fault. hits: in words, for the documentation. needs: programs without which it is left out."""

    name: str
    hits: str
    tool: str
    why: str
    draw: Callable[[random.Random, Spec], Fault]
    needs: tuple[str, ...] = ()
    weight: int = 1

    @property
    def available(self) -> bool:
        """True if this host has what it needs."""
        return all(shutil.which(program) for program in self.needs)


def _moment(rng: random.Random, phases: tuple[str, ...]) -> Moment:
    return Moment(rng.choice(phases), round(rng.random(), 2))


def _role(rng: random.Random) -> str:
    return rng.choice(("worker", "worker", "sink", "sink", "zygote", "orchestrator"))


def _deadly(rng: random.Random, _: Spec) -> Fault:
    number = rng.choice(("SIGKILL", "SIGKILL", "SIGSEGV", "SIGTERM"))
    role = _role(rng)
    if role == "orchestrator":
        number = "SIGKILL"
    return Fault("kill", _moment(rng, _ANY), role, {"signal": number, "index": rng.randrange(4)})


def _end(rng: random.Random, _: Spec) -> Fault:
    phases = ("modules", *_ANY)
    how = {"signal": rng.choice(("SIGINT", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")), "times": rng.choice((1, 1, 2))}
    return Fault("end", _moment(rng, phases), "orchestrator", {**how, "group": rng.random() < 0.4})


def _pause(rng: random.Random, _: Spec) -> Fault:
    role = _role(rng)
    how = {"index": rng.randrange(4), "for_s": rng.choice((0.1, 0.5, 2.5))}
    return Fault("pause", _moment(rng, _ANY), role, how)


def _suspend(rng: random.Random, _: Spec) -> Fault:
    return Fault("suspend", _moment(rng, _LOAD), "orchestrator", {"for_s": rng.choice((0.2, 1.0, 2.5))})


def _stop(rng: random.Random, _: Spec) -> Fault:
    role = rng.choice(("worker", "sink", "zygote"))
    return Fault("stop", _moment(rng, _ANY), role, {"index": rng.randrange(4)})


def _inject(rng: random.Random, _: Spec) -> Fault:
    role = rng.choice(tuple(errnos.LIVE))
    how = _failing(rng, errnos.LIVE[role]) | {"index": rng.randrange(4)}
    return Fault("inject", _moment(rng, ("sinks", "workers", *_LOAD)), role, how)


def _failing(rng: random.Random, calls: tuple[str, ...]) -> dict[str, Any]:
    """Return how one of these calls fails: once, some times, or from then on (0)."""
    call = rng.choice(calls)
    error = rng.choice(errnos.ERRNOS[call].split())
    # A call that is interrupted, or has nothing yet, is made again; what is so for ever is no fault that can happen.
    transient = error == "EINTR" or (error == "EAGAIN" and call not in ("clone", "clone3", "mmap"))
    transient = transient or call == "close"  # of a file whose data was lost; sockets and pipes have none to lose
    times = rng.choice((1, 1, 3)) if transient else rng.choice((1, 1, 3, 0))
    return {"call": call, "errno": error, "nth": rng.choice((1, 1, 2, 5, 20)), "times": times}


def _inject_from_start(rng: random.Random, _: Spec) -> Fault:
    return Fault("inject-from-start", Moment("start"), "all", _failing(rng, errnos.FROM_THE_START))


def _short_writes(rng: random.Random, _: Spec) -> Fault:
    return Fault("short-writes", Moment("start"), "all", {"after": rng.choice((0, 3, 10))})


def _limit(rng: random.Random, _: Spec) -> Fault:
    role = rng.choice(("orchestrator", "orchestrator", "worker", "sink"))
    how = {"limit": rng.choice(("NOFILE", "NOFILE", "AS", "FSIZE")), "index": rng.randrange(4)}
    return Fault("limit", _moment(rng, ("sinks", "workers", *_LOAD)), role, how)


def _limit_from_start(rng: random.Random, _: Spec) -> Fault:
    limit, value = rng.choice((("NOFILE", rng.randint(12, 300)), ("AS", rng.randint(80, 800) << 20), ("FSIZE", 20_000)))
    return Fault("limit-from-start", Moment("start"), "all", {"limit": limit, "value": value})


def _full_disk(rng: random.Random, _: Spec) -> Fault:
    return Fault(
        "full-disk", _moment(rng, ("zygote", "workers", *_LOAD, "ended")), "results", {"left": rng.choice((0, 1, 3))}
    )


def _output(rng: random.Random, _: Spec) -> Fault:
    return Fault(
        "output", Moment("start"), rng.choice(("stdout", "stderr")), {"to": rng.choice(("full", "closed", "pipe"))}
    )


def _hangup(rng: random.Random, _: Spec) -> Fault:
    return Fault("hangup", _moment(rng, ("modules", *_ANY)), "terminal")


def _link(rng: random.Random, _: Spec) -> Fault:
    return Fault("link-down", _moment(rng, _LOAD), "network", {"for_s": rng.choice((0.1, 0.5, 1.5))})


def _slow(rng: random.Random, _: Spec) -> Fault:
    return Fault("slow-link", _moment(rng, ("workers", *_LOAD)), "network", {"rate": rng.choice(("64kbit", "1mbit"))})


def _rules(rng: random.Random, spec: Spec) -> Fault:
    verdict = rng.choice(("drop", "reject with tcp reset", "reject with icmpx type admin-prohibited"))
    how = {"port": 9000 + rng.randrange(len(spec["targets"])), "verdict": verdict, "for_s": rng.choice((0.2, 1.0))}
    return Fault("rules", _moment(rng, ("workers", *_LOAD)), "network", how)


def _garbage(rng: random.Random, _: Spec) -> Fault:
    how = {"connections": rng.choice((3, 30)), "seed": rng.randrange(1 << 30)}
    return Fault("garbage", _moment(rng, ("workers", *_LOAD)), rng.choice(("sink", "dashboard")), how)


def _clock(rng: random.Random, _: Spec) -> Fault:
    return Fault(
        "clock", Moment("start"), "all", {"offset_s": rng.choice((86_400, 3_000_000_000 // 10, 1_000_000_000))}
    )


def _none(_: random.Random, __: Spec) -> Fault:
    return Fault("none", Moment("start"), "all")


_SIGNALS: Final = "what the kernel, an operator or a supervisor sends"
_STRACE: Final = "any call of a program unchanged, any errno, the nth time"
_INSIDE: Final = "nsenter"
TABLE: Final = {
    row.name: row
    for row in (
        Row("none", "nothing", "-", "a harness in which nothing passes proves nothing", _none),
        Row("kill", "each process", "SIGKILL, SIGSEGV, SIGTERM", _SIGNALS, _deadly, weight=5),
        Row("end", "orchestrator, its group", "SIGINT, SIGTERM, SIGHUP, SIGQUIT", _SIGNALS, _end, weight=5),
        Row("pause", "each process", "SIGSTOP, then SIGCONT", _SIGNALS, _pause, weight=3),
        Row("suspend", "orchestrator's group", "SIGTSTP, then SIGCONT", "Ctrl-Z and fg", _suspend),
        Row("stop", "worker, sink, zygote", "SIGSTOP for ever", _SIGNALS, _stop),
        Row("inject", "a call of one process", "strace -p -e inject", _STRACE, _inject, ("strace",), 10),
        Row("inject-from-start", "calls of all", "strace -f -e inject", _STRACE, _inject_from_start, ("strace",), 4),
        Row(
            "short-writes",
            "write() to files",
            "a preloaded shim",
            "true parts of a write",
            _short_writes,
            ("cc",),
        ),
        Row("limit", "a process that runs", "prlimit(2)", "a real limit, met by all calls", _limit, weight=3),
        Row("limit-from-start", "all processes", "setrlimit(2)", "as ulimit or a unit file sets it", _limit_from_start),
        Row("full-disk", "the run directory", "a tmpfs, filled", "takes a part of a write", _full_disk, weight=2),
        Row("output", "stdout, stderr", "/dev/full, closed, pipe without reader", "as in shells and CI", _output),
        Row("hangup", "the terminal", "a pty whose other side closes", "SIGHUP and EIO together", _hangup),
        Row("link-down", "the lab's interface", "ip link", "loses routes and packets", _link, ("ip", _INSIDE)),
        Row("slow-link", "the lab's interface", "tc qdisc tbf", "not every kernel has netem", _slow, ("tc", _INSIDE)),
        Row("rules", "packets to a target", "nft drop, reject, reset", "as firewalls do", _rules, ("nft", _INSIDE), 3),
        Row("garbage", "sink, dashboard", "clients that send nonsense", "any client may", _garbage, weight=2),
        Row("clock", "all processes", "unshare --time", "a monotonic clock that began long ago", _clock, ("unshare",)),
    )
}


def draw(rng: random.Random, spec: Spec, only: tuple[str, ...] = ()) -> tuple[Fault, ...]:
    """Return one fault or two for a scenario. only: names of rows to choose from; none: all that are available."""
    rows = [row for row in TABLE.values() if row.available and (not only or row.name in only)]
    count = rng.choices((1, 2, 3), (5, 3, 1))[0]
    chosen = rng.choices(rows, [row.weight for row in rows], k=count)
    drawn = [row.draw(rng, spec) for row in chosen]
    # A process has one tracer (ptrace(2), PTRACE_SEIZE: EPERM), and so a run has one strace from its start.
    traced = [fault for fault in drawn if fault.kind == "inject-from-start"]
    return tuple(fault for fault in drawn if fault not in traced[1:])
