"""Connections that a listener resets."""

from __future__ import annotations

import pytest

from loadgen.model import SinkBehaviour
from loadgen.sink.behaviour.listener import Listener


@pytest.mark.parametrize(
    ("behaviour", "rejected"),
    [(SinkBehaviour(reset=True), 12), (SinkBehaviour(drop=0.25), 3), (SinkBehaviour(), 0)],
)
def test_a_listener_resets_its_share(behaviour: SinkBehaviour, rejected: int) -> None:
    listener = Listener(behaviour)
    assert sum(listener.rejects_next() for _ in range(12)) == rejected
