"""Rings of free ports: oldest first, nothing lost, nothing twice; and what a denial means."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.model import PortRange
from loadgen.worker.port_ring import PortRing, RestingRing


@settings(max_examples=60)
@given(st.integers(1, 12), st.sets(st.integers(0, 13)), st.lists(st.integers(-1, 11), max_size=60))
def test_a_ring_against_a_queue(size: int, skips: set[int], operations: list[int]) -> None:
    """-1 takes a port, n gives the n-th of those in use back: no port twice, oldest first, none skipped."""
    low = 65_535 - size + 1
    skipped = {low + offset for offset in skips}
    ring = PortRing(PortRange(low, 65_535), skipped)
    queue = deque(port for port in range(low, 65_536) if port not in skipped)
    in_use: list[int] = []
    for operation in operations:
        if operation < 0:
            port = ring.allocate()
            assert port == (queue.popleft() if queue else 0)
            assert port not in in_use
            assert port not in skipped
            in_use += [port] if port else []
        elif in_use:
            port = in_use.pop(operation % len(in_use))
            ring.release(port)
            queue.append(port)


def test_a_denied_port_is_somebody_elses_where_connections_are_held() -> None:
    ring = PortRing(PortRange(1, 3))
    for port in [ring.allocate() for _ in range(3)]:
        ring.release(port)
    ring.denied([ring.allocate()])
    assert [ring.allocate() for _ in range(3)] == [2, 3, 1]


@pytest.mark.parametrize("kind", [PortRing, RestingRing])
def test_ports_that_were_not_needed_are_the_next_again(kind: type[PortRing]) -> None:
    ring = kind(PortRange(1, 4))
    taken = [ring.allocate() for _ in range(3)]
    for port in reversed(taken):
        ring.unused(port)
    assert [ring.allocate() for _ in range(4)] == [1, 2, 3, 4]


@settings(max_examples=25)
@given(st.integers(1, 300), st.sets(st.integers(0, 310)))
def test_a_ring_is_empty_after_exactly_its_usable_ports(size: int, skips: set[int]) -> None:
    ports = PortRange(40_000, 39_999 + size)
    skipped = frozenset(40_000 + offset for offset in skips)
    ring = PortRing(ports, skipped)
    usable = [port for port in range(ports.low, ports.high + 1) if port not in skipped]
    assert [ring.allocate() for _ in usable] == usable
    assert [ring.allocate(), ring.allocate()] == [0, 0]


# --- Where ports rest -----------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now = [0]
    monkeypatch.setattr("loadgen.worker.port_ring.now_ns", lambda: now[0])
    return now


def used(size: int) -> RestingRing:
    """Ports 1 to `size`, each used once, in this order."""
    ring = RestingRing(PortRange(1, size))
    for port in [ring.allocate() for _ in range(size)]:
        ring.release(port)
    return ring


def attempt(ring: RestingRing, free: set[int], tries: int = 10) -> tuple[int, list[int]]:
    """What an attempt gets of these free ports, and what it was denied on the way."""
    tried: list[int] = []
    port = ring.allocate()
    while port and port not in free:
        tried.append(port)
        port = ring.another() if len(tried) < tries else 0
    if tried:
        ring.denied(tried)
    return port, tried


@pytest.mark.usefixtures("clock")
def test_of_those_that_rest_the_oldest_is_asked_for_first() -> None:
    ring = used(20)
    for _ in range(3):
        assert attempt(ring, set())[0] == 0
    assert attempt(ring, {1, 2, 3})[0] == 1
    assert attempt(ring, {2, 3})[0] == 2
    ring.release(1)
    assert attempt(ring, {3})[0] == 3


@pytest.mark.usefixtures("clock")
def test_a_port_that_was_released_since_is_asked_for_as_well_and_takes_its_place_in_the_order() -> None:
    ring = used(3)
    attempt(ring, set())
    assert attempt(ring, {1}) == (1, [])
    ring.release(1)
    assert attempt(ring, {2}) == (2, [1])
    assert attempt(ring, {1, 3}) == (3, [])
    assert attempt(ring, {1}) == (1, [])


@pytest.mark.usefixtures("clock")
def test_what_is_free_behind_those_that_rest_is_found() -> None:
    """As when TIME-WAIT has room for half of the ports only."""
    ring = used(200)
    free = set(range(101, 201))
    asked = 0
    for _ in range(1000):
        port, tried = attempt(ring, free)
        asked += len(tried)
        if port:
            ring.release(port)
    assert asked <= 100 + 200 * 2
    assert attempt(ring, free)[0]


def test_one_that_is_denied_for_longer_than_time_wait_lasts_is_somebody_elses(clock: list[int]) -> None:
    ring = used(3)
    for clock[0] in (0, 30 * 10**9, 60 * 10**9, 70 * 10**9):
        attempt(ring, set())
    assert attempt(ring, {1, 2, 3}) == (2, [])


@pytest.mark.usefixtures("clock")
def test_one_that_was_denied_before_it_was_ever_used_is_somebody_elses() -> None:
    ring = RestingRing(PortRange(1, 3))
    assert attempt(ring, {2, 3}) == (2, [1])
    ring.release(2)
    assert attempt(ring, {3}) == (3, [])
    assert attempt(ring, {1, 2}) == (2, [])


@settings(max_examples=60)
@given(st.integers(1, 12), st.lists(st.tuples(st.sampled_from("adru"), st.integers(0, 11)), max_size=80))
def test_no_port_is_lost_and_none_is_there_twice(size: int, operations: list[tuple[str, int]]) -> None:
    """Whatever order attempts, denials, releases and second thoughts come in."""
    ring = RestingRing(PortRange(1, size))
    out: list[int] = []
    for operation, n in operations:
        match operation:
            case "a":
                out += [port] if (port := ring.allocate()) else []
            case "d" if out:
                tried = [out.pop(n % len(out))]
                while len(tried) < n and (port := ring.another()):
                    tried.append(port)
                ring.denied(tried)
            case "r" if out:
                ring.release(out.pop(n % len(out)))
            case "u" if out:
                ring.unused(out.pop())
        assert len(set(out)) == len(out)
    while port := ring.allocate():
        out.append(port)
    assert sorted(out) == list(range(1, size + 1))
