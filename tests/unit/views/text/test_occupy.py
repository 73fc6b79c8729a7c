"""The notice before, the live line and the report of `loadgen occupy`, each way once, in one golden file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from loadgen.model import Transport
from loadgen.occupy.affected import Affected, AffectedProcess
from loadgen.occupy.occupation import OccupyStatus
from loadgen.views.text import occupy
from tests import occupied
from tests.golden import same_as_golden
from tests.occupied import outcome, prospect


def test_the_texts() -> None:
    time_wait = prospect(occupied.TIME_WAIT, "10.0.0.5", reused=True)
    connections = prospect(occupied.CONNECTIONS, "10.0.0.5")
    udp = prospect(replace(occupied.BIND, transport=Transport.UDP), affected=Affected((), 0, ""))
    several = Counter({("connect", "ECONNREFUSED"): 2, ("connect", "ETIMEDOUT"): 1})
    blocks = [
        occupy.notice(prospect(), "this namespace"),
        [occupy.live(OccupyStatus(left=5, held=80, adjustments=1), 42.4)],
        occupy.report(outcome(prospect())),
        occupy.notice(prospect(occupied.SOURCE), "the namespace of process 4711"),
        occupy.notice(connections, "the namespace /run/netns/staging"),
        occupy.report(
            outcome(connections, connects=85, counters={"Tcp.ActiveOpens": 90}, failures=several, left_max=2)
        ),
        occupy.notice(time_wait, "this namespace"),
        occupy.report(outcome(time_wait, in_time_wait=85, free=0, interrupted=True, held_s=0.4)),
        occupy.notice(udp, "this namespace"),
        occupy.report(outcome(udp, counters={})),
    ]
    same_as_golden("text/occupy.txt", "\n\n".join("\n".join(lines) for lines in blocks) + "\n")


def test_processes_beyond_twenty_are_counted() -> None:
    many = tuple(AffectedProcess(pid, "worker", 1, 0, 0, 0, False) for pid in range(1, 31))
    lines = list(occupy.notice(prospect(affected=Affected(many, 0, "")), "here"))
    assert lines[-1] == "  and 10 processes more"
    assert sum("worker[" in line for line in lines) == 20
