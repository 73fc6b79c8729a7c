"""Which view fits where, the quiet one, and the one that outlives its terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadgen.errors import UsageError
from loadgen.views.live import DetachableView, LiveTable, NoticesOnly, PlainLines, view_for
from loadgen.views.progress import ProgressStyle

from .samples import CONTROL, PLAN, line, terminal


@pytest.fixture(autouse=True)
def _term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


def test_the_view_fits_where_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(view_for(terminal()[0], ProgressStyle.AUTO).view) is LiveTable
    assert type(view_for(terminal(TERM="dumb")[0], ProgressStyle.AUTO).view) is PlainLines
    assert type(view_for(Console(file=io.StringIO()), ProgressStyle.AUTO).view) is PlainLines
    monkeypatch.setenv("TERM", "")
    assert type(view_for(terminal()[0], ProgressStyle.AUTO).view) is PlainLines


def test_the_view_is_the_one_that_is_asked_for() -> None:
    assert type(view_for(terminal()[0], ProgressStyle.LIVE).view) is LiveTable
    assert type(view_for(terminal()[0], ProgressStyle.PLAIN).view) is PlainLines
    assert type(view_for(terminal()[0], ProgressStyle.NONE).view) is NoticesOnly
    with pytest.raises(UsageError, match="--progress live: stderr is no terminal"):
        view_for(Console(file=io.StringIO()), ProgressStyle.LIVE)


def test_who_asks_for_colours_makes_no_terminal_of_a_file() -> None:
    console = Console(file=io.StringIO(), _environ={"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert console.is_terminal
    view = view_for(console, ProgressStyle.AUTO)
    assert type(view.view) is PlainLines
    view.update(PLAN, line())
    assert isinstance(console.file, io.StringIO)
    assert "\x1b" not in console.file.getvalue()


def test_a_view_that_nobody_reads_any_more_falls_silent() -> None:
    """A closed pipe or a full disk behind stderr costs the words and nothing else."""

    class Full(io.StringIO):
        tries = 0

        def write(self, text: str) -> int:
            Full.tries += 1
            raise OSError(28, "No space left on device", text)

    with view_for(Console(file=Full()), ProgressStyle.AUTO) as view:
        for _ in range(3):
            view.update(PLAN, line())
            view.notice("a word")
    assert Full.tries == 1


def test_a_view_that_is_heard_is_told_everything() -> None:
    file = io.StringIO()
    with DetachableView(NoticesOnly(Console(file=file))) as view:
        view.notice("a word")
    assert file.getvalue() == "loadgen: a word\n"


@pytest.mark.parametrize("width", [40, 80])
def test_a_quiet_view_has_notices_only_each_on_a_line(width: int) -> None:
    file = io.StringIO()
    sentence = "worker 3 was killed by SIGKILL in phase hold while it held 16,667 connections"
    with NoticesOnly(Console(file=file, width=width)) as view:
        view.update(PLAN, line())
        view.notice(sentence)
    assert file.getvalue() == f"loadgen: {sentence}\n"


@pytest.mark.parametrize("name", ["[red]x[/]", "[/]", "[link=x]y", "\\[b]", "x\\"])
def test_a_notice_that_looks_like_markup_stays_text(name: str) -> None:
    console, file = terminal()
    NoticesOnly(console).notice(f"lost {name}")
    assert f"loadgen: lost {name}" in CONTROL.sub("", file.getvalue())


def test_a_notice_cannot_drive_the_terminal() -> None:
    console, file = terminal()
    NoticesOnly(console).notice("lost \x1b[2Jx")
    assert "loadgen: lost \\x1b[2Jx" in file.getvalue()
