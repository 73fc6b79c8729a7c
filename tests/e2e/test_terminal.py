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
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Loadgen, environment

#: Select Graphic Rendition, the sequences that colour.
_SGR = re.compile(r"\x1b\[([\d;]*)m")
_ANY_SEQUENCE = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


class Terminal:
    """A pseudo terminal of 100 x 30 with a command in its foreground; `text` is all it was sent."""

    def __init__(self, loadgen: Loadgen, scenario: Path, **env: str) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._popen = subprocess.Popen(
            [*loadgen.command, "run", str(scenario)],
            cwd=loadgen.home,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(TERM="xterm-256color", **env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.text = ""

    def type(self, keys: bytes) -> None:
        """What a person would."""
        os.write(self._master, keys)

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
    environment = {"NO_COLOR": "1"} if no_color else {}
    terminal = Terminal(loadgen, loadgen.scenario(hold="500ms"), **environment)
    assert terminal.end() == 0, terminal.text
    text = terminal.text
    plain = _ANY_SEQUENCE.sub("", text)
    assert "small  holding" in plain
    assert "200 open, 200 accepted" in plain
    assert text.rfind("\x1b[?25l") < text.rfind("\x1b[?25h"), "the cursor stayed hidden"

    left = screen(text)
    assert left[0].startswith("200 of 200 connections opened"), left
    assert not any("holding" in line or "opening" in line or "closing" in line for line in left)
    assert any("report" in line and "report.html" in line for line in left)
    assert max(map(len, left[:-3])) <= 100

    codes = [int(code) for found in _SGR.findall(text) for code in found.split(";") if code]
    coloured = [code for code in codes if 30 <= code <= 38 or 90 <= code <= 97]
    assert bool(coloured) is not no_color


def test_ctrl_c_on_the_keyboard_reaches_the_orchestrator_alone(loadgen: Loadgen) -> None:
    """The terminal sends it to the whole foreground group; workers that ended by it would count as lost."""
    terminal = Terminal(loadgen, loadgen.scenario(hold="30s"))
    terminal.read_until(lambda text: "holding" in text)
    terminal.type(b"\x03")
    assert terminal.end() == 130, terminal.text
    left = "\n".join(screen(terminal.text))
    assert "INCOMPLETE   interrupted; drained early" in left
    assert "0 lost" in left
    assert "killed" not in left
