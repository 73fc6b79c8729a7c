"""Every system call that a process of a run makes, once with each error of its man page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from . import errnos
from .perform import environment
from .trial import Fault, Moment, Trial

_PLAIN: Final[dict[str, Any]] = {
    "name": "sweep",
    "lab": {"topology": "loopback", "sysctls": {"net.ipv4.ip_local_port_range": "40000 40999"}},
    "sources": {"addresses": "127.0.1.1-2", "strategy": "late-range"},
    "targets": [{"address": "127.0.0.1:9000", "sink": True}],
    "connections": 60,
    "arrival": {"rate": "200/s"},
    "hold": "300ms",
    "workers": 2,
    "sinks": 1,
    "timeout": "1s",
    "interval": "50ms",
    "in_flight": 64,
}
_HTTP: Final = {"protocol": "http", "targets": [{"address": "127.0.0.1:9000", "sink": {"speaks": "http"}}]}
_TLS: Final = {
    "protocol": "echo",
    "tls": {},
    "heartbeat": {"every": "100ms"},
    "targets": [{"address": "127.0.0.1:9000", "sink": {"tls": True}}],
}
_CHURN: Final = {"churn": {"duration": "500ms", "concurrency": 8}, "protocol": "echo"}
_PROBES: Final = {"probes": [{"name": "other", "when": "hold"}], "close": "target"}
_HELD: Final = ("connections", "hold", "arrival")


def _variants() -> tuple[dict[str, Any], ...]:
    """Return scenarios that together make every call that the generator's do."""
    churn = {key: value for key, value in _PLAIN.items() if key not in _HELD} | _CHURN
    return (
        _PLAIN | {"protocol": "echo", "heartbeat": {"every": "100ms"}},
        _PLAIN | _HTTP,
        _PLAIN | _TLS,
        churn,
        _PLAIN | {"engine": "io_uring"},
        _PLAIN | {"transport": "udp", "protocol": "echo"},
        _PLAIN | _PROBES,
    )


#: What a process does once it is there; the zygote when it has forked, as the interpreter cannot guard its own start.
_EARLY: Final = {
    "orchestrator": Moment("zygote"),
    "sampler": Moment("workers"),
    "zygote": Moment("sinks"),
    "worker": Moment("workers"),
    "sink": Moment("sinks"),
}


def trials(seed: int, first: int = 0) -> Iterator[tuple[str, Trial]]:
    """Yield each call of each role with each error, in one of the variants, in turn.

    seed: which variant begins; if it is even, the calls fail when their process starts, else under load.
    """
    variants = _variants()
    number = -1
    for role, calls in errnos.LIVE.items():
        for call in calls:
            for error in errnos.ERRNOS[call].split():
                number += 1
                if number >= first:
                    how = {"call": call, "errno": error, "nth": 1, "times": 1, "index": 0}
                    fault = Fault("inject", Moment("opening", 0.1) if seed % 2 else _EARLY[role], role, how)
                    yield f"sweep-{number}", Trial(variants[(seed + number) % len(variants)], (fault,))
    for call in errnos.FROM_THE_START:
        for error in errnos.ERRNOS[call].split():
            number += 1
            if number >= first:
                how = {"call": call, "errno": error, "nth": 1, "times": int(error == "EINTR")}
                fault = Fault("inject-from-start", Moment("start"), "all", how)
                yield f"sweep-{number}", Trial(variants[(seed + number) % len(variants)], (fault,))


def print_calls(base: Path) -> int:
    """Print the system calls of the variants, as strace(1) counts them. Returns: 1 if a call has no row in `errnos`."""
    import json

    seen: set[str] = set()
    for number, variant in enumerate(_variants()):
        path, counts = base / f"{number}.yaml", base / f"{number}.calls"
        path.write_text(json.dumps(variant))
        command = [sys.executable, "-m", "loadgen", "run", str(path), "--quiet", "--out", str(base / "results")]
        traced = ["strace", "-f", "-c", "-o", str(counts), *command]
        subprocess.run(traced, check=False, stdout=subprocess.DEVNULL, env=environment(base))
        seen |= set(re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +\d+ +(?:\d+ +)?(\w+)$", counts.read_text(), re.MULTILINE))
    unlisted = sorted(seen - set(errnos.ERRNOS) - set(errnos.HARMLESS) - {"total"})
    print(f"made: {' '.join(sorted(seen))}\nwithout a row: {' '.join(unlisted) or 'none'}")
    return int(bool(unlisted))
