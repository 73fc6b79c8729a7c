"""Event loops of asyncio for hosts that refuse memory, a thread or a system call in the middle of a run.

A thread, or the handler of a signal, wakes a loop by a byte into a socket of the loop's own (`call_soon_threadsafe`).
asyncio passes over the error of that write (`BaseSelectorEventLoop._write_to_self`), so where the kernel refuses it
(ENOBUFS, ENOMEM, EPERM of a filter) a loop without a timer would sleep for ever, with its work done. A loop of this
module has a timer from its first turn to its last.

`Thread.start` waits for ever for a thread that had no memory to begin with (Lib/threading.py waits for an event that
Modules/_threadmodule.c never lets it set). So a loop of this module has all its threads from the beginning, and
starts none later: neither for `asyncio.to_thread` nor to wait for the others at its end.

Not uvloop's: where the kernel refuses libuv a call it ends the process by SIGABRT, and the results with it
(docs/decisions/0021-asyncios-own-loop.md).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

#: A thread whose write was refused is heard this much later at most.
_WAKE_S: Final = 0.5
#: What is done in them does not wait for others: a page of the dashboard is made while another is.
_THREADS: Final = 2

_T = TypeVar("_T")


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        try:
            self._threads = started_threads(_THREADS, "asyncio")
        except BaseException:
            self.close()
            raise
        self.set_default_executor(self._threads)
        self._wake()

    def _wake(self) -> None:
        self.call_later(_WAKE_S, self._wake)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002 (of Python 3.12)
        """Wait for what runs in the threads, for as long as it takes, and end them."""
        self._threads.shutdown()


def started_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Return an executor with that number of threads, all of them running.

    Raises: RuntimeError if the host refuses one.
    """
    executor = ThreadPoolExecutor(count, thread_name_prefix=name)
    all_run = threading.Barrier(count)  # an executor starts a thread only while the others have work
    try:
        for running in [executor.submit(all_run.wait) for _ in range(count)]:
            running.result()
    except BaseException:
        all_run.abort()
        executor.shutdown()
        raise
    return executor


def new() -> asyncio.AbstractEventLoop:
    """Return a loop that is not running yet.

    Raises: OSError, as asyncio.new_event_loop() does; RuntimeError, as `started_threads` does.
    """
    return _Loop()


def run(main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine to its end on a loop of its own, as asyncio.run() does.

    The loop comes first: where it cannot be made, no coroutine is left of which Python would say that it was never
    awaited. Raises: as `new` does, and what `main` raises.
    """
    with asyncio.Runner(loop_factory=new) as runner:
        return runner.run(main())
