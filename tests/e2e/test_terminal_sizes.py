"""Every view on terminals of every size: what a person sees while it goes on, and what is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import IN_LAB, Loadgen, Namespace
from .terminal import Terminal

SIZES: Final = [(40, 12), (80, 24), (200, 50)]
#: Becomes `loadgen` in a lab in which fifty addresses have connections to one destination.
_AMONG_FIFTY: Final = """
import signal, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 9000), backlog=100)
kept = []
for number in range(1, 51):
    kept.append(socket.create_connection(("127.0.0.1", 9000), source_address=(f"127.0.1.{number}", 0)))
    kept.append(listener.accept()[0])
signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the command
sys.exit(subprocess.call(sys.argv[1:]))
"""


def fifty_sources(loadgen: Loadgen, **changes: Any) -> Path:
    return loadgen.scenario(sources={"addresses": "127.0.1.1-127.0.1.50"}, **changes)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_run_from_fifty_sources_fits(loadgen: Loadgen, width: int, height: int) -> None:
    """Nothing scrolls while it goes on, each row is a line, and at its end the verdict is on the screen."""
    terminal = Terminal(loadgen, fifty_sources(loadgen, hold="1s"), width=width, height=height)
    lines = terminal.whole_frame(lambda lines: bool(lines) and lines[0].startswith("small  holding"))
    assert len(terminal.screen.history.top) == 0
    assert len(lines) < height
    assert "200 of 200" in lines[2]
    rows = [line for line in lines if line.startswith("127.0.1.")]
    assert rows
    assert all("%" in row for row in rows), "the share is never cut"
    more = [line for line in lines if line.split()[:1] == ["and"] and "more" in line]
    assert len(rows) == 50 or more or height == 12
    if height > 12:
        shown = len(rows) + (int(more[0].split()[1]) if more else 0)
        assert shown == 50

    assert terminal.end() == 0, terminal.text
    left = " ".join(terminal.lines())
    assert "200 of 200 connections" in left
    assert "no limit" in left
    assert not any("holding" in line or "closing" in line for line in terminal.scrolled())


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24)])
def test_a_matrix_and_a_search_leave_their_verdict(loadgen: Loadgen, width: int, height: int) -> None:
    cells = {"matrix": {"connections": [20, 30, 40]}}
    terminal = Terminal(loadgen, fifty_sources(loadgen, connections=20, **cells), width=width, height=height)
    assert terminal.end() == 0, terminal.text
    first = terminal.scrolled()
    assert not any(line.startswith("small  ") and line.endswith(" s") for line in first), "no frame is left behind"
    (verdict,) = [line for line in first if line.startswith("What differs most")]
    assert "What differs most" in " ".join(terminal.lines()), verdict

    command = ["find", str(loadgen.scenario(expect=["outcomes.failed == 0"]))]
    options = ["--vary", "connections", "--from", "10", "--to", "20"]
    terminal = Terminal(
        loadgen, None, command=[*loadgen.command, *command, *options], width=width, height=height, LOADGEN_PROGRESS=""
    )
    assert terminal.end() == 0, terminal.text
    assert "20" in " ".join(terminal.lines())
    assert not any("holding" in line and line.startswith("small  ") for line in terminal.scrolled())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_watch_among_fifty_sources_fits(loadgen: Loadgen, width: int, height: int) -> None:
    command = [*IN_LAB, sys.executable, "-c", _AMONG_FIFTY, *loadgen.command, "watch", "--interval", "100ms"]
    terminal = Terminal(loadgen, None, command=command, width=width, height=height)
    lines = terminal.whole_frame(lambda lines: any("groups less full" in line for line in lines))
    assert len(terminal.screen.history.top) == 0
    assert len(lines) < height
    rows = [line for line in lines if "%" in line]
    assert len(rows) >= 3
    assert all("127.0.1." in row and "127.0.0.1" in row for row in rows)
    terminal.type(b"\x03")
    assert terminal.end() == 0, terminal.text
    left = terminal.scrolled()
    assert len(left) <= height, "Ctrl-C meets the frame that was just written, and it is not drawn again"


def test_watch_on_a_terminal_that_redraws_nothing_is_block_after_block(loadgen: Loadgen) -> None:
    command = [*IN_LAB, sys.executable, "-c", _AMONG_FIFTY, *loadgen.command, "watch", "--count", "2"]
    terminal = Terminal(
        loadgen, None, command=[*command, "--interval", "100ms"], width=80, height=24, TERM="dumb", NO_COLOR="1"
    )
    assert terminal.end() == 0, terminal.text
    assert "\x1b" not in terminal.text
    assert sum("usable ports for each" in line for line in terminal.scrolled()) == 2


@pytest.mark.parametrize("style", ["live", "plain"])
def test_occupy_on_a_narrow_terminal_keeps_to_its_line(loadgen: Loadgen, namespace: Namespace, style: str) -> None:
    """It asks, says what it holds on a line that is drawn over, and gives its account."""
    subprocess.run(
        [*namespace.enter, "sh", "-c", "echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range"], check=True
    )
    command = [*namespace.enter, *loadgen.command, "occupy", "--leave", "2", "--for", "2s", "--progress", style]
    terminal = Terminal(loadgen, None, command=command, width=60, height=30)
    terminal.read_until(lambda text: "Take them?" in text)
    asked = len(terminal.scrolled())
    terminal.type(b"y\n")
    terminal.read_until(lambda text: "8 taken" in text or "8 ports" in text[text.index("Take them?") :])
    drawn_over = "\r\x1b[K" in terminal.text
    assert drawn_over is (style == "live")
    assert terminal.end() == 0, terminal.text
    held = terminal.text.split("\r\x1b[K")[1:-1]
    assert all(len(part) < 60 and "\n" not in part for part in held)
    assert len(terminal.scrolled()) > asked


def test_questions_fit_a_tiny_terminal(loadgen: Loadgen) -> None:
    """Each question is asked once, its default is taken by Enter, and the file is there."""
    terminal = Terminal(loadgen, None, command=[*loadgen.command, "init", "web"], width=40, height=12)
    for question in ("Target, HOST:PORT", "in a lab?", "(empty: hold", "Connections to hold", "(empty: as fast"):
        terminal.read_until(lambda _, question=question: question in "".join(terminal.lines()))  # type: ignore[misc]
        terminal.type(b"\n")
    assert terminal.end() == 0, terminal.text
    assert (loadgen.home / "web.yaml").exists()
    assert "loadgen run web.yaml" in "".join(terminal.lines())


def test_facts_read_well_on_80_columns(loadgen: Loadgen) -> None:
    """Rows of the list fold between words, and no column is cut."""
    terminal = Terminal(loadgen, None, command=[*loadgen.command, "facts", "--list"], width=80, height=24)
    assert terminal.end() == 0, terminal.text
    lines = terminal.scrolled()
    assert lines[0].startswith("1.1 ")
    assert not any("…" in line for line in lines)


def test_a_terminal_that_is_resized_to_and_fro_is_left_clean(loadgen: Loadgen) -> None:
    terminal = Terminal(loadgen, fifty_sources(loadgen, hold="30s"), width=80, height=24)
    terminal.whole_frame(lambda lines: bool(lines) and lines[0].startswith("small  holding"))
    for width, height in ((200, 50), (40, 12), (80, 24)):
        terminal.resize(width, height)
        terminal.next_frame()
        frame = terminal.next_frame().splitlines()
        assert len(frame) < height
        assert max(map(len, frame)) <= width
    terminal.type(b"\x03")
    assert terminal.end() == 130, terminal.text
    left = terminal.lines()
    assert not any(line.startswith("small  ") for line in left)
    assert "interrupted" in " ".join(left)
