"""Charts of what the kernel counts: TIME-WAIT, the counters that tell of trouble, sockets in use.

Both sides have lines of their own where each has a namespace; without one for the sinks a number holds both.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from loadgen import format as fmt
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
)

_SIDES: Final[tuple[tuple[tuple[str, ...], str], ...]] = (((), ""), (("sink",), ", sinks' side"))
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


def time_wait(series: Series) -> Chart | None:
    """Sockets in TIME-WAIT over time, of both sides where each has a namespace; None when there were none."""
    columns = [column(series, "kernel", *side, "now", "sockstat.tcp_tw") for side, _ in _SIDES]
    there = [not np.isnan(values).all() for values in columns]
    highest = max((float(np.nanmax(c)) for c, yes in zip(columns, there, strict=True) if yes), default=0.0)
    if highest <= 0:
        return None
    keep = thin(columns)
    # Without a namespace for the sinks the one number holds both sides.
    labels = [("clients' side" if there[1] else "in TIME-WAIT", "blue"), ("sinks' side", "orange")]
    return {
        "id": "time-wait",
        "title": "Sockets in TIME-WAIT",
        "label": f"Line chart of sockets in TIME-WAIT; at most {fmt.count(highest)} at once.",
        "unit": "count",
        "x": plain(column(series, "t_s")[keep], 3),
        "y": [plain(c[keep], 0) for c, yes in zip(columns, there, strict=True) if yes],
        "series": [
            {"label": label, "tone": tone, "dash": tone == "orange"}
            for (label, tone), yes in zip(labels, there, strict=True)
            if yes
        ],
    }


def time_wait_pace(series: Series) -> Chart | None:
    """How often per second the kernel put a socket into TIME-WAIT, took one out early, or had no room.

    In churn only, where it goes on all the time. A counter that never moved has no line.
    """
    found: list[tuple[str, str, bool, Floats]] = []
    if churned(series):
        for side, where in _SIDES:
            for name, label, tone in _TIME_WAIT_COUNTERS:
                grown = counters(series, "kernel", *side, "delta", name)
                if grown.any():
                    found.append((label + where, "purple" if side and tone == "blue" else tone, bool(side), grown))
    return _pace(series, found, "time-wait-rate", "TIME-WAIT per second", "changes of TIME-WAIT")


def trouble(series: Series) -> Chart | None:
    """The counters that tell of trouble, per second, as far as they moved; None when none did.

    Up to the drain: there resets and the like are what closing makes, and would hide all that was before. In
    churn those of TIME-WAIT have a chart of their own.
    """
    before = [line for line in series if line.get("phase") != "drain"]
    elsewhere = {name for name, *_ in _TIME_WAIT_COUNTERS} if churned(before) else set()
    found: list[tuple[str, str, bool, Floats]] = []
    for name, label in _TROUBLE:
        for side, where in _SIDES:
            if name in elsewhere or not _moved(before, *side, name) or len(found) == len(_TONES):
                continue
            grown = counters(before, "kernel", *side, "delta", name)
            found.append((label + where, _TONES[len(found)], bool(side), grown))
    title = "Kernel counters that moved before the drain, per second"
    return _pace(before, found, "kernel-counters", title, "counters of the kernel")


def _moved(series: Series, *keys: str) -> bool:
    """Whether a counter did: its running total in the last line that has any."""
    *side, name = keys
    for line in reversed(series):
        delta = fmt.part(line, "kernel")
        for key in (*side, "delta"):
            delta = fmt.part(delta, key)
        if delta:
            return bool(fmt.number(delta.get(name)))
    return False


def _pace(series: Series, found: list[tuple[str, str, bool, Floats]], name: str, title: str, what: str) -> Chart | None:
    """A chart of counters per second, each given as (label, colour, whether dashed, running total)."""
    t_s = column(series, "t_s")
    columns = [rates(t_s, grown)[1] for *_, grown in found]
    if not columns or not len(columns[0]):
        return None
    keep = thin(columns, POINTS_MAX - 1)
    return {
        "id": name,
        "title": title,
        "label": f"Line chart of {what} per second: "
        + ", ".join(f"{label} {fmt.count(grown[-1])}" for label, _, _, grown in found)
        + " in all.",
        "unit": "rate",
        "steps": True,
        "x": [0, *plain(rates(t_s, t_s)[0][keep], 3)],
        "y": [backwards(plain(values[keep], 1)) for values in columns],
        "series": [{"label": label, "tone": tone, "dash": dash} for label, tone, dash, _ in found],
    }


def sockets(series: Series) -> Chart | None:
    """Sockets in use and entries of conntrack, as far as they moved; TIME-WAIT has a chart of its own."""
    found: list[tuple[str, bool, Floats]] = []
    for name, label in _GAUGES:
        for side, where in _SIDES:
            values = column(series, "kernel", *side, "now", name)
            if not np.isnan(values).all() and np.nanmax(values) > np.nanmin(values) and len(found) < len(_TONES):
                found.append((label + where, bool(side), values))
    if not found:
        return None
    tones = ("blue", "orange", "green", "purple", "red", "grey")
    columns = [values for *_, values in found]
    keep = thin(columns)
    return {
        "id": "kernel-sockets",
        "title": "Sockets in use",
        "label": "Line chart of sockets in use: "
        + ", ".join(f"{label} at most {fmt.count(float(np.nanmax(values)))}" for label, _, values in found)
        + ".",
        "unit": "count",
        "x": plain(column(series, "t_s")[keep], 3),
        "y": [plain(values[keep], 0) for values in columns],
        "series": [
            {"label": label, "tone": tone, "dash": dash} for (label, dash, _), tone in zip(found, tones, strict=False)
        ],
    }
