"""A loop hears what threads hand it also where the kernel refuses the write that would wake it."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest

from loadgen import event_loop


def loop_that_is_not_woken() -> asyncio.AbstractEventLoop:
    """A loop whose wake-ups come to nothing, as asyncio leaves them when send() fails."""
    loop = event_loop.new()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    loop._write_to_self = lambda: None  # type: ignore[attr-defined]
    return loop


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "_WAKE_S", 0.001)


@pytest.mark.timeout(10)
def test_a_thread_is_heard_whose_write_was_refused() -> None:
    """From the first turn of the loop to the end of its executor, whose last thread is one more that wakes it."""
    loop = loop_that_is_not_woken()
    assert loop.run_until_complete(asyncio.wait_for(loop.run_in_executor(None, lambda: 7), None)) == 7
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.timeout(10)
def test_a_run_ends_although_it_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop_that_is_not_woken()
    monkeypatch.setattr(event_loop, "new", lambda: made)

    async def main() -> str:
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    assert event_loop.run(main).startswith("asyncio_")
    assert made.is_closed()


@pytest.mark.timeout(10)
def test_no_thread_is_started_after_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Thread.start` may wait for ever for one that has no memory to begin with."""

    async def main() -> int:
        monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
        return sum(await asyncio.gather(*(asyncio.to_thread(lambda: 1) for _ in range(20))))

    assert event_loop.run(main) == 20


def test_a_host_without_a_thread_is_told_and_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    start, before = threading.Thread.start, threading.active_count()
    refused = iter([False, True])

    def refuse(thread: threading.Thread) -> None:
        if next(refused):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        event_loop.new()
    assert threading.active_count() == before


def test_without_a_loop_no_coroutine_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> asyncio.AbstractEventLoop:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(event_loop, "new", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        event_loop.run(lambda: pytest.fail("it was made"))
