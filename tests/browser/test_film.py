"""The animated picture of the live view: small, complete in itself, with words, and still for who wants it so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser

from tests.browser import film
from tests.terminals import PseudoTerminal

from .conftest import CHECKOUT

PICTURE: Final = CHECKOUT / "docs" / "images" / "live.svg"
BYTES_MAX: Final = 300_000
_SVG: Final = "{http://www.w3.org/2000/svg}"
#: Draws three lines, then one of them anew, in bold red.
_DRAWS: Final = """
import sys, time
print("one <&>\\ntwo\\nthree", end="", flush=True)
sys.stdin.readline()
print("\\r\\x1b[1A\\x1b[2K\\x1b[1;31mTWO\\x1b[0m and more", end="", flush=True)
sys.stdin.readline()
"""


def test_a_picture_has_the_screens_of_its_terminal(tmp_path: Path) -> None:
    """Every screen once, each row that two screens share once, and special characters escaped."""
    terminal = PseudoTerminal([sys.executable, "-c", _DRAWS], cwd=tmp_path, env={"TERM": "xterm"}, width=20, height=5)
    frames: list[film.FilmFrame] = []
    for shown in ("three", "more"):
        terminal.read_until(lambda text, shown=shown: shown in text)  # type: ignore[misc]
        frames.append(film.FilmFrame(float(len(frames)), tuple(film.rows(terminal.screen))))
        terminal.type(b"\n")
    assert terminal.end() == 0
    svg = film.svg(frames, columns=20, lines=5, still=1, title="A & B", description="words")
    root = ElementTree.fromstring(svg)
    assert [root.findtext(f"{_SVG}title"), root.findtext(f"{_SVG}desc")] == ["A & B", "words"]
    texts = ["".join(text.itertext()) for text in root.iter(f"{_SVG}text")]
    assert texts.count("one <&>") == 1
    assert {"two", "three", "TWO", "and more"} <= set(texts)
    (loud,) = [text for text in root.iter(f"{_SVG}text") if text.text == "TWO"]
    assert loud.get("class") == "b red"
    assert (root.get("width"), root.get("height")) == ("196", "139"), "whatever it shows"


def test_a_command_is_recorded_to_its_last_screen(tmp_path: Path) -> None:
    script = "import time\nfor n in range(4): print(n, flush=True); time.sleep(0.3)"
    terminal = PseudoTerminal([sys.executable, "-c", script], cwd=tmp_path, env={"TERM": "xterm"}, width=20, height=5)
    frames = film.record(terminal)
    assert terminal.end() == 0
    assert [text for row in frames[-1].rows for _, text, _ in row] == ["0", "1", "2", "3"]
    assert frames[0].at_s == 0
    assert [frame.at_s for frame in frames] == sorted(frame.at_s for frame in frames)


def test_the_picture_of_the_documentation_is_small_and_whole() -> None:
    svg = PICTURE.read_text()
    assert PICTURE.stat().st_size < BYTES_MAX
    root = ElementTree.fromstring(svg)
    description = root.findtext(f"{_SVG}desc") or ""
    assert len(description.split()) > 30
    assert root.get("role") == "img"
    assert "<script" not in svg
    assert set(re.findall(r"https?://[^\"\s]+", svg)) == {"http://www.w3.org/2000/svg"}, "it loads nothing"
    assert "@import" not in svg
    assert not re.search(r"url\((?!#)", svg)
    used = {use.get("href", "")[1:] for use in root.iter(f"{_SVG}use")}
    assert used == {group.get("id") for group in root.iter(f"{_SVG}g") if group.get("id")}
    assert "100,000 of 100,000 connections opened" in svg


@pytest.mark.parametrize(("motion", "name"), [("reduce", "none"), ("no-preference", "film")])
def test_nothing_moves_for_who_wants_it_so(browser: Browser, motion: str, name: str) -> None:
    """A frame from the middle of the run, with the table, stands in place of the film; which ends after two rounds."""
    page = browser.new_page(reduced_motion=motion)  # type: ignore[arg-type]
    page.goto(PICTURE.as_uri())
    style = "getComputedStyle(document.querySelector('.film'))"
    assert page.evaluate(f"{style}.animationName") == name
    if motion == "reduce":
        shown = page.evaluate(
            """() => [...document.querySelectorAll('use')].filter(use => {
                const box = use.getBoundingClientRect(); return box.left >= 0 && box.left < innerWidth && box.width;
            }).map(use => document.querySelector(use.getAttribute('href')).textContent).join('\\n')"""
        )
        assert "opening" in shown
        assert "127.0.1.1" in shown
    else:
        assert page.evaluate(f"{style}.animationIterationCount") == "2"
    page.close()
