"""Plans, lines of a series and terminals for the tests of the views."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

from rich.console import Console

from loadgen.model import Ceiling, Churn, CloseMode, Endpoint, PortRange, Stage, Target
from loadgen.results.schema.line import Line
from tests.plans import plan_of
from tests.samples import bare_line

TARGET = Target(Endpoint("127.0.0.1", 9000), sink=True)
PLAN = plan_of(
    name="past-64k",
    connections=100_000,
    sources=("127.0.0.2", "127.0.0.3"),
    targets=(TARGET,),
    ports=PortRange(1024, 65_535),
    capacity_per_pair=64_512,
    hold_s=30.0,
    close=CloseMode.FIN,
    workers=6,
    sinks=6,
)
PACED = replace(PLAN, stages=(Stage(0.0, 20_000.0, 2.0), Stage(20_000.0, 20_000.0, None)))
CROWD = replace(PLAN, connections=1_000_000, sources=tuple(f"127.0.{n // 200 + 1}.{n % 200 + 1}" for n in range(1000)))
BECAUSE = "100 ports / 1 s: tcp_tw_reuse=1 after 1,000 ms"
CHURN = replace(
    PLAN, name="churn-wall", connections=16, churn=Churn(30.0, 64), ceiling=Ceiling(100.0, 3_100, BECAUSE), workers=1
)
MS = {"1780": 3}  # three values of about 1 ms
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def line(t_s: float = 1.0, phase: str = "ramp", **changes: Any) -> Line:
    keys: dict[str, Any] = {
        "started": 25_010,
        "established": 25_000,
        "failed": 0,
        "in_flight": 10,
        "not_started": 0,
        "open": 25_000,
        "lost": 0,
        "errors": [],
        "pairs": [[12_500, 0, 12_500], [12_500, 0, 12_500]],
        "latency_ns": {"lateness": {}, "connect": MS, "arrival": {}, "exchange": {}, "handshake": {}},
        "lag_ns": MS,
        "cpu_s": 1.4 * t_s,
        "workers": {"alive": 6, "stalled": 0},
        "sink": None,
        "kernel": {},
        **changes,
    }
    return bare_line(t_s, phase, **keys)


TROUBLE: dict[str, Any] = {
    "failed": 12_345,
    "lost": 678,
    "errors": [["connect", f"E{number}", "refused", 9 - number] for number in range(6)],
    "sink": {"accepted": 25_001, "open": 24_999},
    "kernel": {"now": {"sockstat.tcp_tw": 4_321}, "delta": {"TcpExt.TWRecycled": 21}},
    "workers": {"alive": 5, "stalled": 2},
}


def churning(t_s: float = 10.0, phase: str = "churn", **changes: Any) -> Line:
    """A line of a churn run in a lab of two namespaces."""
    return line(
        t_s,
        phase,
        **{
            "started": 1_402,
            "established": 1_000,
            "closed": 986,
            "failed": 400,
            "in_flight": 2,
            "open": 14,
            "errors": [["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 400]],
            "pairs": [[1_000, 400, 14], [0, 0, 0]],
            "latency_ns": {"lateness": {}, "connect": MS, "arrival": {}, "exchange": MS},
            "workers": {"alive": 1, "stalled": 0},
            "kernel": {
                "now": {"sockstat.tcp_inuse": 14, "sockstat.tcp_tw": 100},
                "delta": {"TcpExt.TW": 986, "TcpExt.TWRecycled": 900},
                "sink": {"now": {"sockstat.tcp_tw": 7}, "delta": {}},
            },
            **changes,
        },
    )


class Tty(io.StringIO):
    """A file that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(width: int = 80, height: int = 40, **environment: str) -> tuple[Console, Tty]:
    file = Tty()
    console = Console(
        file=file,
        width=width,
        height=height,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        _environ={"TERM": "xterm-256color", **environment},
    )
    return console, file
