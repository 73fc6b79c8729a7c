"""Signs of life of held connections: answered, missed or wrong. Instants are given, not waited for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from loadgen.clock import NS_PER_S
from loadgen.model import CloseMode, Endpoint, Heartbeat, PortRange, Strategy
from loadgen.protocols.echo import Echo
from loadgen.results.block import Latency, consistent_breakdown
from loadgen.worker.heartbeat import Beats

from .support import Load, accept_all, listen, reset, until

TARGET = Endpoint("127.0.0.1", 9000)
Held = tuple[Load, Beats[int], list[socket.socket]]

pytestmark = pytest.mark.lab("40000 40099")


@pytest.fixture
def held(load: Callable[..., Load]) -> Iterator[Callable[..., Held]]:
    """So many connections and their other ends, and the clock started at 0."""
    ends: list[socket.socket] = []
    with listen(TARGET) as listener:

        def make(count: int, *, size: int = 16, share: float = 1.0) -> Held:
            holding = load(
                Strategy.LATE_RANGE,
                [("127.0.0.1", TARGET)],
                PortRange(40000, 40099),
                close=CloseMode.RST,
                heartbeat=Heartbeat(every_s=1.0, share=share),
                exchange=Echo(size),
            )
            holding.open(count)
            ends.extend(accept_all(listener, count))
            for end in ends:
                end.setblocking(False)
            beats = holding.connector.heartbeat
            assert beats is not None
            beats.begin(0)
            return holding, beats, ends

        yield make
        for end in ends:
            end.close()


def echo(ends: list[socket.socket], change: Callable[[bytes], bytes] = lambda data: data) -> int:
    """Send back what has come; how many ends had anything."""
    count = 0
    for end in ends:
        try:
            data = end.recv(65536)
        except BlockingIOError:
            continue
        end.sendall(change(data))
        count += 1
    return count


def answered(holding: Load) -> int:
    holding.connector.drain_events()
    holding.recorder.publish_all()
    return int(consistent_breakdown(holding.block)["latency"][Latency.EXCHANGE].sum())


def test_each_connection_beats_once_in_a_round_and_at_a_moment_of_its_own(held: Callable[..., Held]) -> None:
    holding, beats, ends = held(10)
    sent = []
    for tenth in range(1, 21):
        beats.beat(tenth * NS_PER_S // 10)
        sent.append(until(lambda: echo(ends)))
        until(lambda tenth=tenth: answered(holding) == tenth)  # type: ignore[misc]
    assert sent == [1] * 20
    now = holding.recorder
    assert (now.beating, now.beats, now.missed, now.wrong, now.lost) == (10, 20, 0, 0, 0)


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 10), (1.0, 40)])
def test_a_share_of_what_is_held_beats(held: Callable[..., Held], share: float, count: int) -> None:
    holding, beats, ends = held(40, share=share)
    beats.beat(NS_PER_S)
    assert holding.recorder.beats == count
    assert until(lambda: echo(ends)) == count


def test_without_connections_there_is_no_beat(held: Callable[..., Held]) -> None:
    holding, beats, _ = held(0)
    beats.beat(NS_PER_S)
    assert (holding.recorder.beating, holding.recorder.beats) == (0, 0)


def test_an_answer_that_has_not_come_by_the_next_beat_is_missed_and_waited_for(held: Callable[..., Held]) -> None:
    holding, beats, ends = held(3)
    for second in (1, 2, 3):
        beats.beat(second * NS_PER_S)
    assert (holding.recorder.beats, holding.recorder.missed) == (3, 6)
    assert until(lambda: echo(ends)) == 3
    until(lambda: answered(holding) == 3)
    beats.beat(4 * NS_PER_S)
    assert (holding.recorder.beats, holding.recorder.missed) == (6, 6)


def test_rounds_that_were_slept_through_are_missed_and_not_made_up_for(held: Callable[..., Held]) -> None:
    holding, beats, ends = held(2)
    beats.beat(10 * NS_PER_S)
    assert (holding.recorder.beats, holding.recorder.missed) == (2, 18)
    assert until(lambda: echo(ends)) == 2


def test_an_answer_may_come_in_pieces(held: Callable[..., Held]) -> None:
    holding, beats, (end,) = held(1, size=64)
    beats.beat(NS_PER_S)
    request = end.recv(100)
    assert len(request) == 64
    end.sendall(request[:10])
    holding.connector.drain_events()
    assert answered(holding) == 0
    end.sendall(request[10:])
    until(lambda: answered(holding) == 1)


def test_a_wrong_answer_is_counted(held: Callable[..., Held]) -> None:
    holding, beats, ends = held(1)
    beats.beat(NS_PER_S)
    assert until(lambda: echo(ends, lambda data: data[::-1])) == 1
    until(lambda: answered(holding) or holding.recorder.wrong)
    assert (holding.recorder.wrong, answered(holding), holding.recorder.lost) == (1, 0, 0)


def test_data_that_nobody_asked_for_is_no_answer(held: Callable[..., Held]) -> None:
    holding, _, (end,) = held(1)
    end.sendall(b"hello")
    holding.settle(lambda: True)
    assert (answered(holding), holding.recorder.wrong, holding.recorder.lost) == (0, 0, 0)


@pytest.mark.parametrize("ending", [socket.socket.close, reset])
def test_a_connection_that_ends_is_lost_and_beats_no_more(
    held: Callable[..., Held], ending: Callable[[socket.socket], None]
) -> None:
    holding, beats, ends = held(2)
    ending(ends.pop())
    holding.settle(lambda: holding.recorder.lost == 1)
    beats.beat(NS_PER_S)
    assert holding.recorder.beats == 1
    holding.check()
