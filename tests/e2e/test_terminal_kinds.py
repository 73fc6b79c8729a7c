"""Terminals without colours or box characters, streams that are none, and the log of a CI job."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.terminals import coloured, plain

from .conftest import Loadgen
from .terminal import Terminal

#: A bare line feed apart, which a terminal precedes with a carriage return.
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_MOVES: Final = re.compile(r"\x1b\[[\d?;]*[^m\d?;]")
_LINE: Final = re.compile(r"^ *\d+\.\d s  (?:opening|holding|closing|done) +[\d,]+ open of 200, ", re.MULTILINE)
_VERDICT: Final = "200 of 200 connections opened"


@pytest.fixture
def failing(loadgen: Loadgen) -> Path:
    """A run with something to colour."""
    return loadgen.scenario(hold="500ms", expect=["outcomes.failed == 1"])


def test_locale_c_gets_bars_of_ascii(loadgen: Loadgen) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="500ms"), width=80, height=24, LC_ALL="C")
    assert terminal.end() == 0, terminal.text
    assert terminal.text.isascii()
    assert re.search(r"127\.0\.1\.1 +#-+ ", plain(terminal.text)), "a bar"
    assert "small  holding" in plain(terminal.text)
    assert _VERDICT in terminal.lines()[0]


def test_a_utf_8_locale_gets_boxes(loadgen: Loadgen) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="500ms"), LC_ALL="C.UTF-8")
    assert terminal.end() == 0, terminal.text
    assert re.search(r"127\.0\.1\.1 +━─+ ", plain(terminal.text)), "a bar"


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({"TERM": "vt100"}, False),
        ({"TERM": "xterm-mono"}, False),
        ({"TERM": "xterm"}, True),
        ({"TERM": "screen"}, True),
        ({"TERM": "linux"}, True),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1", "COLORTERM": "truecolor"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
    ids=lambda value: " ".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_colours_where_the_terminal_has_them_and_nobody_minds(
    loadgen: Loadgen, failing: Path, environ: dict[str, str], colours: bool
) -> None:
    """no-color.org; terminfo(5) for types without colours. The table is drawn over itself in all of them."""
    terminal = Terminal(loadgen, failing, width=80, height=24, stdout=None, stderr=None, **environ)
    assert terminal.end() == 99, terminal.text
    assert _MOVES.search(terminal.text)
    assert coloured(terminal.text) is colours
    assert _VERDICT in terminal.lines()[0]
    assert any("FAIL" in line for line in terminal.lines()), "the word is there in any case"


def is_a_log(text: str) -> None:
    """Lines and nothing else; each with the words that grep looks for."""
    assert not _CONTROL.search(text.replace("\r\n", "\n")), text
    assert _LINE.search(text)
    assert _VERDICT in text


@pytest.mark.parametrize("variables", [{}, {"CI": "true"}, {"CI": "true", "GITHUB_ACTIONS": "true"}])
def test_a_log_has_lines_and_nothing_else(loadgen: Loadgen, failing: Path, variables: dict[str, str]) -> None:
    """Not a terminal: no carriage return, no escape sequence; the verdict comes last."""
    done = loadgen("run", failing, preexec=None, **variables)
    assert done.code == 99
    is_a_log(done.err + done.out)
    assert _VERDICT in done.out.splitlines()[0]
    assert len(done.err.splitlines()) < 12


def test_a_ci_job_with_a_pseudo_terminal_is_a_log_too(loadgen: Loadgen, failing: Path) -> None:
    terminal = Terminal(loadgen, failing, width=80, height=24, CI="true")
    assert terminal.end() == 99
    is_a_log(terminal.text)


def test_a_log_gets_colours_from_who_forces_them_and_never_a_moving_cursor(loadgen: Loadgen, failing: Path) -> None:
    done = loadgen("run", failing, FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b" not in done.err
    assert coloured(done.out)
    assert not _MOVES.search(done.out)


@pytest.mark.parametrize(("args", "variable"), [(("--progress", "plain"), ""), ((), "plain")])
def test_lines_on_a_terminal_for_a_screen_reader(loadgen: Loadgen, args: tuple[str, ...], variable: str) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="500ms"), *args, LOADGEN_PROGRESS=variable)
    assert terminal.end() == 0, terminal.text
    assert not _MOVES.search(terminal.text)
    assert _LINE.search(plain(terminal.text))


def test_no_progress_at_all(loadgen: Loadgen) -> None:
    terminal = Terminal(loadgen, loadgen.scenario(hold="500ms"), "--progress", "none")
    assert terminal.end() == 0, terminal.text
    assert plain(terminal.text).startswith(_VERDICT)


def test_a_table_where_none_can_be_is_refused_before_any_load(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(), "--progress", "live")
    assert done.code == 2
    assert done.err == (
        "loadgen: --progress live: stderr is no terminal that can be drawn over; leave it out, or write plain\n"
    )
    assert not done.results.exists()


@pytest.mark.parametrize("redirected", ["stdout", "stderr"])
def test_one_stream_may_be_a_file(loadgen: Loadgen, failing: Path, redirected: str) -> None:
    """stderr alone decides on the table, and stdout alone on the colours of the summary."""
    path = loadgen.home / "file"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        stdout, stderr = (descriptor if redirected == name else None for name in ("stdout", "stderr"))
        terminal = Terminal(loadgen, failing, width=80, height=24, stdout=stdout, stderr=stderr)
    finally:
        os.close(descriptor)
    assert terminal.end() == 99, terminal.text
    text = path.read_text()
    assert not _CONTROL.search(text)
    if redirected == "stdout":
        assert "small  holding" in plain(terminal.text)
        assert text.startswith(_VERDICT)
        assert terminal.lines() == [], "the table is gone, and the summary is in the file"
    else:
        assert _LINE.search(text)
        assert coloured(terminal.text)
        assert terminal.lines()[0].startswith(_VERDICT)


def in_shell(loadgen: Loadgen, scenario: Path, rest: str) -> Terminal:
    """`loadgen run scenario REST`, as typed into a shell."""
    script = f"{shlex.join(loadgen.command)} run {shlex.quote(str(scenario))} {rest}"
    return Terminal(loadgen, None, command=["sh", "-c", script], width=80, height=24, LESS="")


def test_a_summary_goes_through_tee(loadgen: Loadgen) -> None:
    terminal = in_shell(loadgen, loadgen.scenario(hold="500ms"), "| tee kept.txt")
    assert terminal.end() == 0, terminal.text
    kept = (loadgen.home / "kept.txt").read_text()
    assert kept.startswith(_VERDICT)
    assert not _CONTROL.search(kept)
    assert "small  holding" in plain(terminal.text)
    shown = terminal.lines()
    assert any(line.startswith("report ") for line in shown)
    # On a busy machine the verdict has more to say than the screen has lines.
    assert shown == kept.splitlines()[-len(shown) :]


@pytest.mark.skipif(shutil.which("less") is None, reason="needs less; apt install less")
def test_a_summary_is_paged_by_less(loadgen: Loadgen) -> None:
    """The table, while less waits for its first line; then the first screen of the summary."""
    terminal = in_shell(loadgen, loadgen.scenario(hold="500ms"), "| less")
    terminal.read_until(lambda text: "report.html" in text)
    terminal.read_until(lambda _: any(line.startswith(_VERDICT) for line in terminal.lines()))
    assert terminal.lines()[0].startswith(_VERDICT), terminal.lines()
    terminal.type(b"q")
    assert terminal.end() == 0, terminal.text
