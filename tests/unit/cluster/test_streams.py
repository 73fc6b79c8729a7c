"""Orders and reports through real pipes: in pieces, with no reader, and to the end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Final

import pytest
from msgspec import Raw

from loadgen.cluster.messages import Continue, Ended, Happened, Interrupt, Order, SeriesLine, Start
from loadgen.cluster.outbox import Outbox
from loadgen.cluster.streams import OrderStream, ReportStream
from loadgen.errors import UsageError

#: The least that a pipe can hold: one page.
_LEAST: Final = 4096
#: Longer than a test may take: one that waits for this long fails by its time limit.
_NEVER_S: Final = 3600.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        with suppress(OSError):  # closed by the test
            os.close(fd)


async def until(holds: Callable[[], object]) -> None:
    """Give the event loop turns until this is true."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_orders_come_whole_whatever_the_pieces(pipe: tuple[int, int]) -> None:
    async def main() -> None:
        orders: list[Order] = []
        stream = OrderStream(pipe[0], orders.append, lambda because: pytest.fail(because))
        for piece in (b'{"do":"sta', b'rt","at_ns":5}\n{"do":"continue"}\n{"do":', b'"interrupt"}\n'):
            os.write(pipe[1], piece)
            await asyncio.sleep(0)
        await until(lambda: len(orders) == 3)
        stream.close()
        assert orders == [Start(at_ns=5), Continue(), Interrupt()]

    run(main())


@pytest.mark.parametrize(
    ("sent", "because"),
    [
        (b"", "end of orders"),
        (b'{"do":"continue"', "end of orders"),
        (b'{"do":"dance"}\n', "not understood .*dance"),
        (b"\n", "not understood"),
        (b'{"do":"start"}\n', "not understood .*at_ns"),
    ],
)
def test_the_end_of_orders_is_told_once_with_the_reason(pipe: tuple[int, int], sent: bytes, because: str) -> None:
    async def main() -> None:
        orders: list[Order] = []
        reasons: list[str] = []
        OrderStream(pipe[0], orders.append, reasons.append)
        os.write(pipe[1], sent)
        os.close(pipe[1])
        await until(lambda: reasons)
        await asyncio.sleep(0)
        (reason,) = reasons
        assert orders == []
        assert re.search(because, reason)

    run(main())


def test_orders_do_not_come_from_a_device() -> None:
    async def main() -> None:
        with open(os.devnull, "rb") as device, pytest.raises(UsageError, match="through a pipe"):
            OrderStream(device.fileno(), lambda _: None, lambda _: None)

    run(main())


def test_reports_wait_for_their_reader(pipe: tuple[int, int]) -> None:
    """Far more than the pipe holds: the loop goes on meanwhile, and all of it comes out in the end."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _LEAST)

    async def main() -> None:
        stream = ReportStream(pipe[1], Outbox())
        for number in range(50):
            stream.report(Happened(event=Raw(b'{"text":"%s%d"}' % (b"x" * 1000, number))))
        stream.report(Ended(exit_code=0))
        os.set_blocking(pipe[0], False)
        closing = asyncio.ensure_future(stream.close(20))
        got = b""
        while b'"ended"' not in got:
            await asyncio.sleep(0)
            with suppress(BlockingIOError):
                got += os.read(pipe[0], _LEAST)
        await closing
        assert len(got.splitlines()) == 51

    run(main())


def test_reports_that_no_reader_takes_delay_the_end_for_no_longer_than_told(pipe: tuple[int, int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _LEAST)

    async def main() -> None:
        stream = ReportStream(pipe[1], Outbox())
        stream.report(SeriesLine(line=Raw(b'"%s"' % (b"x" * 2 * _LEAST))))
        await stream.close(0.01)
        assert len(os.read(pipe[0], 2 * _LEAST)) == _LEAST

    run(main())


def test_reports_without_a_reader_are_dropped(pipe: tuple[int, int]) -> None:
    async def main() -> None:
        os.close(pipe[0])
        stream = ReportStream(pipe[1], Outbox())
        for _ in range(3):
            stream.report(Ended(exit_code=0))
        await stream.close(_NEVER_S)

    run(main())


def test_a_reader_that_leaves_ends_the_wait(pipe: tuple[int, int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _LEAST)

    async def main() -> None:
        stream = ReportStream(pipe[1], Outbox())
        stream.report(SeriesLine(line=Raw(b'"%s"' % (b"x" * 2 * _LEAST))))
        os.close(pipe[0])
        await stream.close(_NEVER_S)

    run(main())
