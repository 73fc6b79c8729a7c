"""Messages say what they are, and come back as they were."""

from __future__ import annotations

import msgspec
import pytest

from loadgen.cluster import messages
from loadgen.cluster.messages import Continue, Ended, Hold, Interrupt, Order, Portion, Prepare, Report, Start

PREPARE = Prepare(scenario="", origin="x", settings=(), portion=Portion(name="a"), results="r")


@pytest.mark.parametrize("order", [PREPARE, Start(at_ns=1), Hold(), Interrupt(), Continue()])
def test_orders(order: Order) -> None:
    assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order


def test_reports() -> None:
    ended = Ended(exit_code=4, text="x")
    assert msgspec.json.decode(msgspec.json.encode(ended), type=Report) == ended


def test_an_agent_is_suspect_before_its_share_stops_and_before_it_is_lost() -> None:
    assert messages.SUSPECT_S < messages.LEASE_S < messages.LOST_S
