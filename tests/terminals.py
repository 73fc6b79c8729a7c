"""A terminal as a person has it: a pseudo terminal with a command in its foreground, and the screen it draws.

The screen is that of pyte, an emulator of a VT100 with its later extensions. It knows cells, so that what wraps,
scrolls or stays behind is seen, and colours.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyte

#: Select Graphic Rendition, the sequences that colour.
_SGR: Final = re.compile(r"\x1b\[([\d;]*)m")
_ANY_SEQUENCE: Final = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
#: What a frame begins with: the lines of the one before are taken back.
FRAME: Final = re.compile(r"(?:\x1b\[1A|\x1b\[2K|\r(?!\n))+")
#: Lines above the screen that are kept.
_HISTORY: Final = 5000


def _lines(screen: pyte.Screen) -> list[str]:
    shown = [line.rstrip() for line in screen.display]
    while shown and not shown[-1]:
        shown.pop()
    return shown


class PseudoTerminal:
    """A command in the foreground of a pseudo terminal; `text` is all it was sent, `screen` what it shows of that."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        width: int = 80,
        height: int = 24,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        """stdout, stderr: descriptors to use instead of the terminal."""
        self._master, slave = os.openpty()
        self.screen = pyte.HistoryScreen(width, height, history=_HISTORY, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.resize(width, height)
        self._popen = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave if stderr is None else stderr,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._bytes = b""
        self.pid = self._popen.pid

    @property
    def text(self) -> str:
        """All that it was sent."""
        return self._bytes.decode(errors="replace")

    def resize(self, width: int, height: int) -> None:
        """What a window manager does; the command is sent SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.screen.resize(height, width)

    def type(self, keys: bytes) -> None:
        """What a person would."""
        os.write(self._master, keys)

    def close(self) -> int:
        """Close the window; return the exit code of the command."""
        os.close(self._master)
        try:
            return self._popen.wait(30)
        finally:
            self._popen.kill()
            self._popen.wait()

    def next_frame(self) -> str:
        """The text of the next whole frame."""
        begin = len(self.text)
        self.read_until(lambda text: len(FRAME.findall(text, begin)) >= 2)
        return plain(FRAME.split(self.text[begin:])[1])

    def whole_frame(self, there: Callable[[list[str]], object]) -> list[str]:
        """The lines of the first whole frame that is so; whole, because the next has begun: a read may end anywhere."""
        checked, lines = 0, self.lines()

        def found(text: str) -> bool:
            nonlocal checked, lines
            # At the end of what was read "\r" may be half of "\r\n".
            begins = [match.start() for match in FRAME.finditer(text) if match.end() < len(text)]
            if not begins or begins[-1] == checked:
                return False
            checked = begins[-1]
            screen = pyte.Screen(self.screen.columns, self.screen.lines)
            pyte.Stream(screen).feed(text[:checked])
            lines = _lines(screen)
            return bool(there(lines))

        self.read_until(found)
        assert there(lines), self.text
        return lines

    def read_until(self, there: Callable[[str], bool], timeout_s: float = 30) -> None:
        """Until `there(text)`; or, if that never comes, until the command has closed the terminal."""
        deadline = time.monotonic() + timeout_s
        while not there(self.text):
            assert time.monotonic() < deadline, f"waited in vain; the terminal shows {self.text!r}"
            if not self.read_some():
                return

    def read_some(self, timeout_s: float = 0.1) -> bool:
        """Read what there is; False when nobody has the other side any more."""
        if select.select([self._master], [], [], timeout_s)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO
                return False
            self._bytes += data
            self._stream.feed(data)
        return True

    def has_more(self, timeout_s: float) -> bool:
        """Whether something can be read within that time."""
        return bool(select.select([self._master], [], [], timeout_s)[0])

    def end(self) -> int:
        """Read the rest; the exit code."""
        try:
            self.read_until(lambda _: False, 60)
            return self._popen.wait(10)
        finally:
            self._popen.kill()
            self._popen.wait()
            os.close(self._master)

    def lines(self) -> list[str]:
        """The screen as it is now, without empty lines at its end."""
        return _lines(self.screen)

    def scrolled(self) -> list[str]:
        """What went out at the top, and the screen: all that a person can scroll back to."""
        above = [
            "".join(line[column].data for column in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        ]
        return above + self.lines()


def plain(text: str) -> str:
    """Without anything that moves or colours."""
    return _ANY_SEQUENCE.sub("", text).replace("\r", "")


def coloured(text: str) -> bool:
    """Whether a foreground colour was set."""
    codes = [int(code) for found in _SGR.findall(text) for code in found.split(";") if code]
    return any(30 <= code <= 38 or 90 <= code <= 97 for code in codes)


def cursor_is_visible(text: str) -> bool:
    """Whether a cursor that was hidden was shown again."""
    return 0 <= text.rfind("\x1b[?25l") < text.rfind("\x1b[?25h")
