"""The table on a terminal: drawn over itself in one write, gone at the end, right after a change of size."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from loadgen.model import Plan
from loadgen.results.schema.line import Line
from loadgen.views.live import LiveTable, draw

from .samples import CHURN, CONTROL, CROWD, PLAN, TROUBLE, Tty, churning, line, terminal

COLOURS = re.compile(r"(?:^|;)(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;|$)")


def emptied(file: Tty) -> str:
    """What was written since the last time."""
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return text


def drawn(lines: list[Line], plan: Plan = PLAN, width: int = 80, height: int = 40, **environment: str) -> str:
    """What the last of these lines sends to the terminal, escape sequences included."""
    console, file = terminal(width, height, **environment)
    with LiveTable(console) as view:
        for part in lines:
            emptied(file)
            view.update(plan, part)
        return file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("height", [3, 20, 40])
def test_what_is_written_keeps_within_the_terminal(width: int, height: int) -> None:
    for plan, found in ((PLAN, line(**TROUBLE)), (CHURN, churning(**TROUBLE)), (CROWD, line(**TROUBLE))):
        rows = CONTROL.sub("", drawn([found], plan, width, height)).split("\n")
        assert 1 <= len(rows) < height
        assert max(map(cell_len, rows)) <= width


def test_a_frame_is_one_write() -> None:
    """A terminal that shows a half of one flickers."""

    class Counting(Tty):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    file = Counting()
    console = Console(file=file, width=80, height=40, force_terminal=True, _environ={"TERM": "xterm-256color"})
    with LiveTable(console) as view:
        for t_s in (1.0, 2.0, 3.0):
            before = file.writes
            view.update(PLAN, line(t_s))
            assert file.writes == before + 1


def test_each_frame_takes_back_the_lines_of_the_one_before() -> None:
    console, file = terminal()
    with LiveTable(console) as view:
        emptied(file)
        view.update(PLAN, line())
        rows = len(emptied(file).split("\n"))
        view.update(PLAN, line(2.0, **TROUBLE))
        second = emptied(file)
        assert second.count("\x1b[1A\x1b[2K") == rows - 1
        view.notice("a word")
        third = emptied(file)
        assert third.count("\x1b[1A\x1b[2K") == len(second.split("\n")) - 1
        assert "loadgen: a word\n" in CONTROL.sub("", third)
    assert "\x1b[?25h" in file.getvalue(), "the cursor stayed hidden"


def test_a_terminal_that_was_made_narrower_has_its_wrapped_lines_taken_back() -> None:
    console, file = terminal(80)
    with LiveTable(console) as view:
        emptied(file)
        view.update(PLAN, line())
        rows = CONTROL.sub("", emptied(file)).split("\n")
        console.width = 30
        view.update(PLAN, line(2.0))
        wrapped = sum(-(-cell_len(row) // 30) for row in rows)
        assert wrapped > len(rows)
        assert emptied(file).count("\x1b[1A") == wrapped - 1
        view.update(PLAN, line(3.0))
        assert emptied(file).count("\x1b[1A") == len(rows) - 1


def test_a_terminal_that_was_made_lower_gets_a_lower_frame() -> None:
    console, file = terminal(80, 40)
    with LiveTable(console) as view:
        view.update(PLAN, line())
        emptied(file)
        console.height = 6
        view.update(PLAN, line(2.0))
        assert len(emptied(file).split("\n")) < 6


def test_without_colours_there_are_none() -> None:
    """no-color.org: bold is no colour."""

    def coloured(text: str) -> list[str]:
        return [codes for codes, kind in CONTROL.findall(text) if kind == "m" and COLOURS.search(codes)]

    assert coloured(drawn([line(**TROUBLE)]))
    assert not coloured(drawn([line(**TROUBLE)], NO_COLOR="1"))


def test_a_name_cannot_drive_the_terminal() -> None:
    text = drawn([line()], replace(PLAN, name="a\x1b[2J\nb\rc"))
    assert "\x1b[2J" not in text
    assert "a\\x1b[2J b c  opening" in CONTROL.sub("", text)


def test_an_exception_leaves_the_cursor_visible() -> None:
    console, file = terminal()

    def interrupted() -> None:
        with LiveTable(console) as view:
            view.update(PLAN, line())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = file.getvalue()
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0


def test_one_frame_can_be_drawn_for_a_picture() -> None:
    console = Console(file=io.StringIO(), record=True, width=80, height=24, force_terminal=True, _environ={})
    draw(console, PLAN, [line(0.5, established=20_000), line(1.0)])
    text = console.export_text(clear=False)
    assert "past-64k  opening" in text
    assert "10,000/s" in text, "the rate is that since the line before"
    assert len(text.splitlines()) < 24
    assert "past-64k" in console.export_svg(title="loadgen run")
    draw(console, PLAN, [])
    assert console.export_text() == ""
