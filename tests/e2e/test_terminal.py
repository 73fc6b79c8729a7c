"""On a terminal: a table that is drawn over itself, and nothing of it left at the end."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from .conftest import Loadgen, environment

#: Select Graphic Rendition, the sequences that colour.
_SGR = re.compile(r"\x1b\[([\d;]*)m")
_ANY_SEQUENCE = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
#: What a frame begins with: the lines of the one before are taken back.
_FRAME = re.compile(r"(?:\x1b\[1A|\x1b\[2K|\r(?!\n))+")


class Terminal:
    """A pseudo terminal with a command in its foreground; `text` is all it was sent."""

    def __init__(
        self,
        loadgen: Loadgen,
        scenario: Path | None,
        *,
        command: Sequence[str | Path] = (),
        width: int = 100,
        height: int = 30,
        **env: str,
    ) -> None:
        """command: to run instead of `loadgen run SCENARIO`."""
        self._master, slave = os.openpty()
        self.resize(width, height)
        self._popen = subprocess.Popen(
            command or [*loadgen.command, "run", str(scenario)],
            cwd=loadgen.home,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(**({"TERM": "xterm-256color"} | env)),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.text = ""
        self.pid = self._popen.pid

    def resize(self, width: int, height: int) -> None:
        """What a window manager does; the command is sent SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

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
        self.read_until(lambda text: len(_FRAME.findall(text, begin)) >= 2)
        return plain(_FRAME.split(self.text[begin:])[1])

    def read_until(self, there: Callable[[str], bool], timeout_s: float = 30) -> None:
        """Until `there(text)`; or, if that never comes, until the command has closed the terminal."""
        deadline = time.monotonic() + timeout_s
        while not there(self.text):
            assert time.monotonic() < deadline, f"waited in vain; the terminal shows {self.text!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode()
                except OSError:  # EIO: nobody has the other side any more
                    return

    def end(self) -> int:
        """Read the rest; the exit code."""
        try:
            self.read_until(lambda _: False)
            return self._popen.wait(10)
        finally:
            self._popen.kill()
            self._popen.wait()
            os.close(self._master)


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


def screen(text: str) -> list[str]:
    """What stays visible: a small terminal that knows what rich uses of one."""
    lines, row, column = [""], 0, 0
    for part in re.split(r"(\x1b\[[?\d;]*[A-Za-z]|\r|\n)", text):
        match = re.fullmatch(r"\x1b\[([?\d;]*)([A-Za-z])", part)
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif match and match[2] == "A":
            row = max(row - int(match[1] or 1), 0)
        elif match and match[2] == "K":
            lines[row] = "" if match[1] == "2" else lines[row][:column]
        elif not match:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("no_color", [False, True])
def test_the_table_shows_and_leaves_a_clean_summary(loadgen: Loadgen, no_color: bool) -> None:
    scenario = loadgen.scenario(hold="500ms")
    terminal = Terminal(loadgen, scenario, NO_COLOR="1") if no_color else Terminal(loadgen, scenario)
    assert terminal.end() == 0, terminal.text
    text = terminal.text
    assert "small  holding" in plain(text)
    assert "200 open" in plain(text)
    assert "200 accepted" in plain(text)
    assert cursor_is_visible(text)

    left = screen(text)
    assert left[0].startswith("200 of 200 connections opened"), left
    assert not any("holding" in line or "opening" in line or "closing" in line for line in left)
    assert any("report" in line and "report.html" in line for line in left)
    assert max(map(len, left[:-3])) <= 100
    assert coloured(text) is not no_color


def test_a_small_terminal_is_never_too_small(loadgen: Loadgen) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="1s"), width=40, height=20)
    assert terminal.end() == 0, terminal.text
    drawn = [plain(part).strip("\n").splitlines() for part in _FRAME.split(terminal.text)]
    frames = [lines for lines in drawn if lines and lines[0].startswith("small  ")]
    assert any(lines[0].startswith("small  holding") for lines in frames)
    assert max(len(line) for lines in frames for line in lines) <= 40
    assert max(map(len, frames)) <= 19
    assert screen(terminal.text)[0].startswith("200 of 200 connections opened")


def test_a_terminal_may_change_its_size(loadgen: Loadgen) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="30s"))
    terminal.read_until(lambda text: "holding" in text)
    for width, height in ((40, 8), (120, 40), (30, 6)):
        terminal.resize(width, height)
        terminal.next_frame()  # may have been on its way
        lines = terminal.next_frame().splitlines()
        assert lines[0].startswith("small  holding")
        assert max(map(len, lines)) <= width
        assert len(lines) < height
    terminal.type(b"\x03")
    assert terminal.end() == 130, terminal.text
    assert cursor_is_visible(terminal.text)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_can_redraw_nothing_gets_lines(loadgen: Loadgen, term: str) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="500ms"), TERM=term)
    assert terminal.end() == 0, terminal.text
    assert "\x1b" not in terminal.text
    assert re.search(r"^ *\d+\.\d s  holding +200 open of 200, ", terminal.text, re.MULTILINE), terminal.text


def test_ctrl_c_on_the_keyboard_reaches_the_orchestrator_alone(loadgen: Loadgen) -> None:
    """The terminal sends it to the whole foreground group; workers that ended by it would count as lost."""
    terminal = Terminal(loadgen, loadgen.scenario(hold="30s"))
    terminal.read_until(lambda text: "holding" in text)
    terminal.type(b"\x03")
    assert terminal.end() == 130, terminal.text
    assert cursor_is_visible(terminal.text)
    left = "\n".join(screen(terminal.text))
    assert "loadgen: interrupted; drained early" in left, "a notice stays above the table"
    assert "holding" not in left
    assert "INCOMPLETE   interrupted; drained early" in left
    assert "0 lost" in left
    assert "killed" not in left
