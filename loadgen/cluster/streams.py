"""The two pipes of a share, on its event loop: orders come in, reports go out. Neither ever blocks the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from loadgen.cluster.messages import Order, Report
from loadgen.cluster.outbox import Outbox
from loadgen.errors import UsageError

_READ_BYTES: Final = 65_536
#: An order has a scenario at most, whose text is limited to less than this.
_ORDER_BYTES_MAX: Final = 16 * 1024 * 1024
_ORDERS: Final[msgspec.json.Decoder[Order]] = msgspec.json.Decoder(Order)


class OrderStream:
    """Reads orders from a descriptor until `close`.

    obey: called with each order. ended: called once with the reason, as a clause, when no further order can come.
    Raises: UsageError if the descriptor is a file or a device, which cannot be waited for.
    """

    def __init__(self, fd: int, obey: Callable[[Order], None], ended: Callable[[str], None]) -> None:
        self._fd, self._obey, self._ended = fd, obey, ended
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        try:
            self._loop.add_reader(fd, self._on_readable)
        except PermissionError as error:  # epoll_ctl(2): EPERM, it does not support epoll
            raise UsageError("orders come through a pipe, and standard input is none") from error

    def close(self) -> None:
        """Read no more; harmless when repeated."""
        self._loop.remove_reader(self._fd)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"orders could not be read ({error.strerror})")
            return
        if not data:
            self._end("the coordinator or the agent is gone (end of orders)")
        elif len(self._unread) > _ORDER_BYTES_MAX:
            self._end("an order had no end")
        else:
            *lines, self._unread = (self._unread + data).split(b"\n")
            self._obey_all(lines)

    def _obey_all(self, lines: Iterable[bytes]) -> None:
        try:
            for line in lines:
                self._obey(_ORDERS.decode(line))
        except msgspec.DecodeError as error:  # not of this version
            self._end(f"an order was not understood ({error})")

    def _end(self, because: str) -> None:
        self.close()
        self._ended(because)


class ReportStream:
    """Writes reports to a descriptor, as fast as they are read there. After the reader is gone they are dropped."""

    def __init__(self, fd: int, outbox: Outbox) -> None:
        self._fd, self._outbox = fd, outbox
        self._loop = asyncio.get_running_loop()
        self._unsent = memoryview(b"")
        self._done = asyncio.Event()
        self._waits = self._broken = False
        os.set_blocking(fd, False)

    def report(self, report: Report) -> None:
        """Write a report, now or once there is room."""
        if self._broken:
            return
        self._outbox.put(report)
        if not self._waits:
            self._write()

    async def close(self, timeout_s: float) -> None:
        """Wait until all is written, but not for longer than this."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waits:
                    self._done.clear()
                    await self._done.wait()
        except TimeoutError:
            self._rest()

    def _write(self) -> None:
        try:
            while self._unsent or (data := self._outbox.take()):
                self._unsent = self._unsent or memoryview(data)
                self._unsent = self._unsent[os.write(self._fd, self._unsent) :]
        except BlockingIOError:
            self._wait()
        except OSError:  # EPIPE: there is no reader
            self._broken, self._unsent = True, memoryview(b"")
            self._outbox.clear()
            self._rest()
        else:
            self._rest()

    def _wait(self) -> None:
        """Go on once there is room."""
        if not self._waits:
            self._waits = True
            self._loop.add_writer(self._fd, self._write)

    def _rest(self) -> None:
        """Wait for room no longer."""
        if self._waits:
            self._waits = False
            self._loop.remove_writer(self._fd)
            self._done.set()
