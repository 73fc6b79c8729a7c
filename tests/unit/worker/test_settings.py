"""Schedules: when a connection's work ends, and whether its end frees its four-tuple."""

from __future__ import annotations

import pytest

from loadgen.model import CloseMode, Heartbeat, Transport
from loadgen.worker.settings import Then, churn, hold


def test_a_held_connection_makes_one_exchange_at_once_or_one_at_every_heartbeat() -> None:
    assert (hold().exchanges, hold().then, hold().heartbeat) == (1, Then.HOLD, None)
    heartbeat = Heartbeat(1.0, 0.5)
    assert (hold(heartbeat).exchanges, hold(heartbeat).then, hold(heartbeat).heartbeat) == (0, Then.HOLD, heartbeat)


@pytest.mark.parametrize(
    ("close", "then", "frees"),
    [
        (CloseMode.FIN, Then.CLOSE, False),
        (CloseMode.RST, Then.CLOSE, True),
        (CloseMode.TARGET, Then.AWAIT_CLOSE, True),
    ],
)
def test_in_churn_the_side_that_closes_first_decides_what_is_left(close: CloseMode, then: Then, frees: bool) -> None:
    schedule = churn(close, exchanges=3, open_max=5, searched_ports=7)
    assert (schedule.exchanges, schedule.open_max, schedule.searched_ports) == (3, 5, 7)
    assert (schedule.then, schedule.frees) == (then, frees)


def test_udp_has_no_time_wait() -> None:
    assert churn(CloseMode.FIN, exchanges=1, open_max=1, searched_ports=1, transport=Transport.UDP).frees
