"""Charts of what the kernel counts: TIME-WAIT, the counters that tell of trouble, sockets in use.

Both sides have lines of their own where each has a namespace; without one for the sinks a number holds both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
from msgspec import structs

from loadgen import format as fmt
from loadgen.model import Phase
from loadgen.results.schema.line import KernelLine, Line, SinkKernelLine
from loadgen.views.charts.columns import (
    POINTS_MAX,
    Chart,
    Floats,
    Series,
    backwards,
    churned,
    column,
    counters,
    plain,
    rates,
    thin,
    times_s,
)

#: Whether it is the sinks' side, and what its labels end with.
_SIDES: Final = ((False, ""), (True, ", sinks' side"))
#: The counters of TIME-WAIT: their names in the kernel, in a legend, and their colours.
_TIME_WAIT_COUNTERS: Final = (
    ("TcpExt.TW", "entered", "blue"),
    ("TcpExt.TWRecycled", "recycled", "green"),
    ("TcpExt.TCPTimeWaitOverflow", "overflow: the table was full", "red"),
)
#: Counters that should stand still while connections are opened and held, the most telling first.
_TROUBLE: Final = (
    ("TcpExt.ListenOverflows", "accept queue full"),
    ("TcpExt.ListenDrops", "SYNs dropped by a listener"),
    ("TcpExt.TCPTimeWaitOverflow", "TIME-WAIT table full"),
    ("conntrack.drop", "conntrack drops"),
    ("conntrack.insert_failed", "conntrack inserts failed"),
    ("TcpExt.TCPSynRetrans", "SYNs sent again"),
    ("Tcp.RetransSegs", "segments sent again"),
    ("TcpExt.TCPReqQFullDoCookies", "SYN cookies"),
    ("Tcp.AttemptFails", "attempts failed"),
    ("Tcp.EstabResets", "established reset"),
    ("Tcp.OutRsts", "RST sent"),
    ("TcpExt.TCPAbortOnMemory", "aborted for memory"),
    ("TcpExt.TCPMemoryPressures", "memory pressure"),
    ("TcpExt.PruneCalled", "receive queues pruned"),
    ("Udp.RcvbufErrors", "datagrams dropped, buffer full"),
    ("Udp.NoPorts", "datagrams to no port"),
    ("softnet.dropped", "packets dropped, backlog full"),
)
_GAUGES: Final = (
    ("sockstat.tcp_inuse", "TCP over IPv4"),
    ("sockstat.tcp6_inuse", "TCP over IPv6"),
    ("sockstat.udp_inuse", "UDP over IPv4"),
    ("sockstat.udp6_inuse", "UDP over IPv6"),
    ("conntrack.count", "entries of conntrack"),
)
_TONES: Final = ("red", "orange", "purple", "blue", "green", "grey")
_IN_TIME_WAIT: Final = "sockstat.tcp_tw"
#: All that is read here of the gauges and the counters of a line.
_NAMES: Final = frozenset({_IN_TIME_WAIT, *dict(_GAUGES), *dict(_TROUBLE), *(name for name, *_ in _TIME_WAIT_COUNTERS)})

Side = TypeVar("Side", bound=SinkKernelLine)


def drawn(kernel: KernelLine) -> KernelLine:
    """Return what the charts show of a line's kernel; what keeps lines for charts alone needs no more."""
    sink = _drawn(kernel.sink) if kernel.sink else None
    return structs.replace(_drawn(kernel), sink=sink, sampling=None)  # a gateway counts few things, all of them drawn


def _drawn(side: Side) -> Side:
    now, delta = ({name: of[name] for name in of if name in _NAMES} for of in (side.now, side.delta))
    return structs.replace(side, now=now, delta=delta, states=None, states_age_s=None)


def _gauge(name: str, *, sinks: bool) -> Callable[[Line], float | None]:
    def read(line: Line) -> float | None:
        side = line.kernel.sink if sinks else line.kernel
        return side.now.get(name) if side else None

    return read


def _total(name: str, *, sinks: bool) -> Callable[[Line], float | None]:
    def read(line: Line) -> float | None:
        side = line.kernel.sink if sinks else line.kernel
        return side.delta.get(name) if side else None

    return read


def time_wait(series: Series) -> Chart | None:
    """Sockets in TIME-WAIT over time, of both sides where each has a namespace; None when there were none."""
    columns = [column(series, _gauge(_IN_TIME_WAIT, sinks=sinks)) for sinks, _ in _SIDES]
    measured = [not np.isnan(values).all() for values in columns]
    highest = max((float(np.nanmax(c)) for c, yes in zip(columns, measured, strict=True) if yes), default=0.0)
    if highest <= 0:
        return None
    keep = thin(columns)
    # Without a namespace for the sinks the one number holds both sides.
    labels = [("clients' side" if measured[1] else "in TIME-WAIT", "blue"), ("sinks' side", "orange")]
    return {
        "id": "time-wait",
        "title": "Sockets in TIME-WAIT",
        "label": f"Line chart of sockets in TIME-WAIT; at most {fmt.count(highest)} at once.",
        "unit": "count",
        "x": plain(times_s(series)[keep], 3),
        "y": [plain(c[keep], 0) for c, yes in zip(columns, measured, strict=True) if yes],
        "series": [
            {"label": label, "tone": tone, "dash": tone == "orange"}
            for (label, tone), yes in zip(labels, measured, strict=True)
            if yes
        ],
    }


def time_wait_pace(series: Series) -> Chart | None:
    """How often per second the kernel put a socket into TIME-WAIT, took one out early, or had no room.

    In churn only, where it goes on all the time. A counter that never moved has no line.
    """
    curves: list[tuple[str, str, bool, Floats]] = []
    if churned(series):
        for sinks, where in _SIDES:
            for name, label, tone in _TIME_WAIT_COUNTERS:
                grown = counters(series, _total(name, sinks=sinks))
                if grown.any():
                    curves.append((label + where, "purple" if sinks and tone == "blue" else tone, sinks, grown))
    return pace_of(series, curves, "time-wait-rate", "TIME-WAIT per second", "changes of TIME-WAIT")


def trouble(series: Series) -> Chart | None:
    """The counters that tell of trouble, per second, as far as they moved; None when none did.

    Up to the drain: there resets and the like are what closing makes, and would hide all that was before. In
    churn those of TIME-WAIT have a chart of their own.
    """
    before = [line for line in series if line.phase is not Phase.DRAIN]
    elsewhere = {name for name, *_ in _TIME_WAIT_COUNTERS} if churned(before) else set()
    curves: list[tuple[str, str, bool, Floats]] = []
    for name, label in _TROUBLE:
        for sinks, where in _SIDES:
            if name in elsewhere or not _moved(before, name, sinks=sinks) or len(curves) == len(_TONES):
                continue
            grown = counters(before, _total(name, sinks=sinks))
            curves.append((label + where, _TONES[len(curves)], sinks, grown))
    title = "Kernel counters that moved before the drain, per second"
    return pace_of(before, curves, "kernel-counters", title, "counters of the kernel")


def _moved(series: Series, name: str, *, sinks: bool) -> bool:
    """Return whether a counter moved: its running total in the last line that has any."""
    for line in reversed(series):
        side = line.kernel.sink if sinks else line.kernel
        if side and side.delta:
            return bool(side.delta.get(name))
    return False


def pace_of(
    series: Series, curves: list[tuple[str, str, bool, Floats]], name: str, title: str, what: str
) -> Chart | None:
    """A chart of counters per second, each given as (label, colour, whether dashed, running total)."""
    t_s = times_s(series)
    columns = [rates(t_s, grown)[1] for *_, grown in curves]
    if not columns or not len(columns[0]):
        return None
    keep = thin(columns, POINTS_MAX - 1)
    return {
        "id": name,
        "title": title,
        "label": f"Line chart of {what} per second: "
        + ", ".join(f"{label} {fmt.count(grown[-1])}" for label, _, _, grown in curves)
        + " in all.",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(rates(t_s, t_s)[0][keep], 3)],
        "y": [backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": label, "tone": tone, "dash": dash} for label, tone, dash, _ in curves],
    }


def sockets(series: Series) -> Chart | None:
    """Sockets in use and entries of conntrack, as far as they moved; TIME-WAIT has a chart of its own."""
    curves: list[tuple[str, bool, Floats]] = []
    for name, label in _GAUGES:
        for sinks, where in _SIDES:
            values = column(series, _gauge(name, sinks=sinks))
            if not np.isnan(values).all() and np.nanmax(values) > np.nanmin(values) and len(curves) < len(_TONES):
                curves.append((label + where, sinks, values))
    if not curves:
        return None
    tones = ("blue", "orange", "green", "purple", "red", "grey")
    columns = [values for *_, values in curves]
    keep = thin(columns)
    return {
        "id": "kernel-sockets",
        "title": "Sockets in use",
        "label": "Line chart of sockets in use: "
        + ", ".join(f"{label} at most {fmt.count(float(np.nanmax(values)))}" for label, _, values in curves)
        + ".",
        "unit": "count",
        "x": plain(times_s(series)[keep], 3),
        "y": [plain(values[keep], 0) for values in columns],
        "series": [
            {"label": label, "tone": tone, "dash": dash} for (label, dash, _), tone in zip(curves, tones, strict=False)
        ],
    }
