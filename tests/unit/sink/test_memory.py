"""How much one connection may hold, by what all of them hold."""

from __future__ import annotations

from loadgen.sink.memory import CONNECTION_MAX, PROCESS_MAX, SCARCE, HeldBytes


def test_a_connection_may_hold_little_once_all_hold_much() -> None:
    memory = HeldBytes()
    allowed = []
    for used in (0, PROCESS_MAX - 1, PROCESS_MAX, 10 * PROCESS_MAX, 0):
        memory.used = used
        allowed.append(memory.allowance)
    assert allowed == [CONNECTION_MAX, CONNECTION_MAX, SCARCE, SCARCE, CONNECTION_MAX]
