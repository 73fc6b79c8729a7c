"""On a terminal: a table that is drawn over itself, and nothing of it left at the end."""

from __future__ import annotations

import re

import pytest

from tests.terminals import FRAME, coloured, cursor_is_visible, plain

from .conftest import Loadgen
from .terminal import Terminal


@pytest.mark.parametrize("no_color", [False, True])
def test_the_table_shows_and_leaves_a_clean_summary(loadgen: Loadgen, no_color: bool) -> None:
    """A failure is red, and the words are there without colours as well."""
    scenario = loadgen.scenario(hold="500ms", expect=["outcomes.failed == 1"])
    terminal = Terminal(loadgen, scenario, NO_COLOR="1") if no_color else Terminal(loadgen, scenario)
    assert terminal.end() == 99, terminal.text
    text = terminal.text
    assert "small  holding" in plain(text)
    assert "200 open" in plain(text)
    assert "200 accepted" in plain(text)
    assert cursor_is_visible(text)

    left = terminal.lines()
    assert left[0].startswith("200 of 200 connections opened"), left
    assert not any("holding" in line or "opening" in line or "closing" in line for line in left)
    assert any("report" in line and "report.html" in line for line in left)
    assert any("FAIL" in line for line in left)
    assert terminal.scrolled() == left
    assert coloured(text) is not no_color


def test_a_small_terminal_is_never_too_small(loadgen: Loadgen) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="1s"), width=40, height=20)
    assert terminal.end() == 0, terminal.text
    drawn = [plain(part).strip("\n").splitlines() for part in FRAME.split(terminal.text)]
    frames = [lines for lines in drawn if lines and lines[0].startswith("small  ")]
    assert any(lines[0].startswith("small  holding") for lines in frames)
    assert max(len(line) for lines in frames for line in lines) <= 40
    assert max(map(len, frames)) <= 19
    assert terminal.scrolled()[0].startswith("200 of 200 connections opened")


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


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_can_redraw_nothing_gets_lines(loadgen: Loadgen, term: str) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="500ms"), TERM=term)
    assert terminal.end() == 0, terminal.text
    assert not re.search(r"\x1b\[[\d?]*[^m\d?]", terminal.text), "nothing that moves the cursor"
    assert re.search(r"^ *\d+\.\d s  holding +200 open of 200, ", terminal.text, re.MULTILINE), terminal.text


def test_ctrl_c_on_the_keyboard_reaches_the_orchestrator_alone(loadgen: Loadgen) -> None:
    """The terminal sends it to the whole foreground group; workers that ended by it would count as lost."""
    terminal = Terminal(loadgen, loadgen.scenario(hold="30s"))
    terminal.read_until(lambda text: "holding" in text)
    terminal.type(b"\x03")
    assert terminal.end() == 130, terminal.text
    assert cursor_is_visible(terminal.text)
    left = "\n".join(terminal.scrolled())
    assert "loadgen: interrupted; drained early" in left, "a notice stays above the table"
    assert "holding" not in left
    assert "INCOMPLETE   interrupted; drained early" in left
    assert "0 lost" in left
    assert "killed" not in left
