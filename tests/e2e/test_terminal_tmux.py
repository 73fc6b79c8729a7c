"""Inside tmux, as it is and with the TERM of screen: drawn, resized, detached, attached, and closed."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from .conftest import Loadgen, Process, environment, wait_until
from .terminal import Terminal

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux; apt install tmux")

_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Tmux:
    """A server of its own, without anybody's settings, that ends with the test."""

    loadgen: Loadgen
    term: str

    @property
    def command(self) -> list[str]:
        """What each call begins with."""
        return ["tmux", "-S", str(self.loadgen.home / "tmux"), "-f", "/dev/null"]

    def __call__(self, *args: str) -> str:
        """The answer of a command of tmux."""
        done = subprocess.run(
            [*self.command, *args],
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            cwd=self.loadgen.home,
            env=environment(TERM="xterm-256color", LC_ALL="C.UTF-8"),
        )
        return done.stdout

    def run(self, scenario: Path, width: int = 80, height: int = 24) -> Process:
        """Start a run in a session that nobody is attached to; the process of the run."""
        command = f"exec {shlex.join([*self.loadgen.command, 'run', str(scenario)])}"
        size = ("-x", str(width), "-y", str(height))
        # In one call: the server ends with its last session, and settings are of the server.
        settings = ["set-option", "-g", "default-terminal", self.term, ";", "set-option", "-g", "remain-on-exit", "on"]
        self("start-server", ";", *settings, ";", "new-session", "-d", "-s", "run", *size, command)
        return Process.of(int(self("display-message", "-p", "-t", "run", "#{pane_pid}")))

    def lines(self) -> list[str]:
        """The screen of the pane, without empty lines at its end."""
        return self("capture-pane", "-p", "-t", "run").rstrip("\n").split("\n")

    def history(self) -> list[str]:
        """What scrolled out of it, and the screen."""
        return self("capture-pane", "-p", "-S", "-", "-t", "run").rstrip("\n").split("\n")

    def until(self, text: str) -> list[str]:
        """The screen, as soon as a line of it has this text."""

        def there() -> list[str] | None:
            lines = self.lines()
            return lines if any(text in line for line in lines) else None

        return wait_until(there, f"{text!r} on the screen of tmux")


@pytest.fixture(params=["tmux-256color", "screen"])
def tmux(request: pytest.FixtureRequest, loadgen: Loadgen) -> Iterator[Tmux]:
    """tmux, with the type of terminal that it says it is."""
    server = Tmux(loadgen, request.param)
    yield server
    subprocess.run([*server.command, "kill-server"], check=False, capture_output=True, timeout=_TIMEOUT_S)


def test_the_table_is_drawn_over_itself_and_leaves_the_summary(tmux: Tmux) -> None:
    tmux.run(tmux.loadgen.scenario(hold="1s"))
    lines = tmux.until("small  holding")
    assert lines[0].startswith("small  holding")
    assert "━" in lines[1]
    left = tmux.until("report.html")
    assert left[0].startswith("200 of 200 connections opened")
    assert not any("holding" in line or "opening" in line for line in tmux.history())


def test_a_pane_may_be_made_narrower_and_wider(tmux: Tmux) -> None:
    """tmux wraps the lines of a pane that becomes narrower, and nothing of the frame before stays on the screen."""
    tmux.run(tmux.loadgen.scenario(hold="30s"))
    tmux.until("small  holding")
    for width, height in ((60, 24), (100, 24), (80, 24)):
        at_s = float(tmux.until("small  holding")[0].split()[-2])
        tmux("resize-window", "-t", "run", "-x", str(width), "-y", str(height))

        def drawn_anew(width: int = width, at_s: float = at_s) -> bool:
            heads = [line for line in tmux.lines() if "small  " in line]
            # The time is at its right end. tmux tells a program of a new size at most four times a second.
            return [len(line) for line in heads] == [width] and float(heads[0].split()[-2]) > at_s + 0.5

        wait_until(drawn_anew, f"single frame of {width} columns", 10)
        assert len(tmux.lines()) < height
    tmux("send-keys", "-t", "run", "C-c")
    left = tmux.until("report.html")
    assert not any("small  " in line for line in left)


def test_a_pane_that_becomes_lower_than_the_table_shows_what_matters(tmux: Tmux) -> None:
    """Lines that were pushed out at the top are the pane's history; it shows one frame, and in the end the verdict."""
    tmux.run(tmux.loadgen.scenario(hold="30s"))
    tmux.until("small  holding")
    tmux("resize-window", "-t", "run", "-x", "40", "-y", "9")
    wait_until(lambda: sum("small  " in line for line in tmux.lines()) == 1 and len(tmux.lines()) < 9, "one frame", 10)
    tmux("send-keys", "-t", "run", "C-c")
    tmux.until("verdict      ")


def test_a_run_goes_on_while_nobody_is_attached(tmux: Tmux) -> None:
    run = tmux.run(tmux.loadgen.scenario(hold="60s"))
    tmux.until("small  holding")
    person = Terminal(tmux.loadgen, None, command=[*tmux.command, "attach", "-t", "run"], width=80, height=24)
    person.read_until(lambda _: any("small  holding" in line for line in person.lines()))
    person.type(b"\x02d")
    assert person.end() == 0, person.text
    assert run.alive

    again = Terminal(tmux.loadgen, None, command=[*tmux.command, "attach", "-t", "run"], width=80, height=24)
    again.read_until(lambda _: any("small  holding" in line for line in again.lines()))
    again.type(b"\x03")
    again.read_until(lambda _: any("report.html" in line for line in again.lines()))
    assert any("interrupted" in line for line in again.lines())
    again.type(b"\x02d")
    assert again.end() == 0, again.text


def test_a_session_that_is_killed_ends_the_run_in_order(tmux: Tmux) -> None:
    """Its terminal goes away, which is SIGHUP: all connections are closed, and the files are there."""
    run = tmux.run(tmux.loadgen.scenario(hold="60s"))
    tmux.until("small  holding")
    below = run.descendants()
    tmux("kill-session", "-t", "run")
    (directory,) = (tmux.loadgen.home / "results").iterdir()
    wait_until((directory / "report.html").exists, "report")
    wait_until(lambda: not any(process.alive for process in below), "end of all its processes")
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["complete"] is False
    assert summary["outcomes"]["established"] == 200
    assert summary["incomplete_because"] == "interrupted; drained early"
