"""Frames are made for those who look, within a budget, and nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from loadgen.views.dashboard.frames import BUDGET, CLIENTS_MAX, Client, Frames, event

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20.0
Make = Callable[[], Awaitable[tuple[object, float]]]


class Maker:
    """Makes numbered frames that are said to have cost so much."""

    def __init__(self, cost_s: float = 0.0) -> None:
        self.made, self._cost_s = 0, cost_s

    async def __call__(self) -> tuple[object, float]:
        self.made += 1
        return self.made, self._cost_s


def unexpected(error: Exception) -> None:
    raise AssertionError(error)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0)


async def next_of(client: Client) -> bytes | None:
    """The next that is to be written; an empty answer is not."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := await client.next()) == b"":
            pass
        return found


def started(*, trouble: Callable[[Exception], None] = unexpected, **makers: Make) -> Frames:
    frames = Frames(makers, trouble, interval_s=0.0)
    frames.start()
    return frames


async def test_an_event_is_read_as_it_was_said() -> None:
    said = {"text": "two\nlines\r and \u2028", "<b>": "data: no"}
    head, data, *rest = event("now", said).decode().split("\n")
    assert head == "event: now"
    assert json.loads(data.removeprefix("data: ")) == said
    assert rest == ["", ""]
    assert event("now", float("nan")) == b"event: now\ndata: null\n\n"


async def test_nothing_is_made_while_nobody_looks() -> None:
    maker = Maker()
    frames = started(now=maker)
    for _ in range(20):
        frames.news()
        await asyncio.sleep(0)
    assert maker.made == 0
    client = frames.join()
    assert client is not None
    assert await next_of(client) == event("now", 1)
    frames.leave(client)
    frames.news()
    for _ in range(20):
        await asyncio.sleep(0)
    await frames.finish()
    assert maker.made == 1


async def test_a_newer_frame_takes_the_place_of_one_that_was_not_sent() -> None:
    maker = Maker()
    frames = started(now=maker)
    slow = frames.join()
    assert slow is not None
    for wanted in range(1, 6):
        frames.news()
        await until(lambda wanted=wanted: maker.made == wanted)  # type: ignore[misc]
    assert await next_of(slow) == event("now", 5)
    await frames.finish()
    assert await next_of(slow) is None


async def test_who_comes_later_is_shown_the_latest_at_once() -> None:
    frames = started(now=Maker(), charts=Maker(cost_s=1e9))
    first = frames.join()
    assert first is not None
    frames.news()
    await until(lambda: len(frames._latest) == 2)
    second = frames.join()
    assert second is not None
    assert await next_of(second) == event("now", 1) + event("charts", 1)
    await frames.finish()


async def test_what_costs_much_is_made_seldom_and_what_costs_little_often() -> None:
    """An hour of a core buys two days without a second frame: that of the other kind goes on."""
    dear, cheap = Maker(cost_s=3600.0), Maker()
    frames = started(charts=dear, now=cheap)
    client = frames.join()
    assert client is not None
    for wanted in range(1, 50):
        frames.news()
        await until(lambda wanted=wanted: cheap.made >= wanted)  # type: ignore[misc]
    assert dear.made == 1
    assert 3600.0 / BUDGET > 24 * 3600
    await frames.finish()


async def test_a_frame_that_cannot_be_made_is_told_and_the_others_go_on() -> None:
    async def broken() -> tuple[object, float]:
        raise KeyError("no such chart")

    told: list[Exception] = []
    frames = started(trouble=told.append, charts=broken, now=Maker())
    client = frames.join()
    assert client is not None
    for number in range(1, 4):
        frames.news()
        assert await next_of(client) == event("now", number)
    assert [str(error) for error in told] == ["'no such chart'"]
    await frames.finish()


async def test_at_the_end_there_is_a_last_frame_and_then_nothing() -> None:
    maker = Maker()
    frames = started(now=maker)
    client = frames.join()
    assert client is not None
    frames.news()
    assert await next_of(client) == event("now", 1)
    frames.news()
    await frames.finish()
    assert await next_of(client) == event("now", 2)
    assert await next_of(client) is None
    assert await next_of(client) is None


async def test_there_is_room_for_so_many_and_again_when_one_has_left() -> None:
    frames = started(now=Maker())
    clients = [frames.join() for _ in range(CLIENTS_MAX)]
    assert all(clients)
    assert frames.join() is None
    assert clients[0]
    frames.leave(clients[0])
    assert frames.join() is not None
    await frames.finish()
