"""The pages under docs/ name what exists: modules, pages, headings, commands, options; and the glossary is in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from loadgen.outcomes import LIMITS
from tests import listed_commands
from tests.listed_commands import FENCED

CHECKOUT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    [CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md"), *(CHECKOUT / "examples").rglob("*.md")]
)

#: `/1` behind a name is a version of a schema, and a path in front of it makes it a file.
_MODULE = re.compile(r"(?<![\w/.-])loadgen(?:\.[a-z_]+)+(?![\w/.-])")
_MODULE_PATH = re.compile(r"(?<![\w/.-])(?:loadgen|bench|tests)/[\w/.]+\.(?:py|js|c)\b")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


def named(page: Path) -> str:
    """An id of pytest for a page."""
    return str(page.relative_to(CHECKOUT))


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=named)


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, made as GitHub makes them."""
    text = FENCED.sub("", page.read_text())
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_page()
def test_modules_exist(page: Path) -> None:
    text = page.read_text()
    paths = [CHECKOUT / path for path in _MODULE_PATH.findall(text)]
    for module in _MODULE.findall(text):
        stem = CHECKOUT.joinpath(*module.split("."))
        paths.append(stem if stem.is_dir() else stem.with_suffix(".py"))
    assert [str(path) for path in paths if not path.exists()] == []


@each_page()
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for path, fragment in _LINK.findall(FENCED.sub("", page.read_text())):
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (fragment and fragment not in anchors(place)):
            broken.append(f"{path}#{fragment}")
    assert broken == []


@each_page()
def test_commands_and_their_options_exist(page: Path) -> None:
    for call in listed_commands.of_page(page.read_text()):
        if not call[0].startswith("-"):
            listed_commands.assert_exists(call)


def test_commands_are_found_at_all() -> None:
    """So that the test above has something to check."""
    text = "```console\n$ loadgen run a.yaml --set b=c | tee d\n```\n`loadgen plan a` \n"
    assert listed_commands.of_page(text) == [["run", "a.yaml", "--set", "b=c"], ["plan", "a"]]


def test_terms_of_the_glossary_are_in_alphabetical_order() -> None:
    lines = (CHECKOUT / "docs" / "glossary.md").read_text().splitlines()
    terms = [line.split("**")[1].strip("`").lower() for line in lines if line.startswith("- ")]
    assert len(terms) >= 50
    assert terms == sorted(set(terms))


def test_symptoms_lead_to_every_limit_of_a_host_or_its_network() -> None:
    """The others are of a protocol on open connections, or of the run itself, and their text says what to do."""
    page = (CHECKOUT / "docs" / "symptoms.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    named = {name for cells in rows for cell in cells[2:3] for name in re.findall(r"`([a-z-]+)`", cell)}
    own = {"lost", "tls", "unanswered", "wrong-reply", "other"}
    own |= {"in-flight", "interrupted", "incomplete", "paused", "generator", "none"}
    assert set(LIMITS) - own <= named
    assert named & own == set()


def test_the_reading_order_has_every_page() -> None:
    linked = {path for path, _ in _LINK.findall((CHECKOUT / "docs" / "README.md").read_text())}
    assert {path.name for path in (CHECKOUT / "docs").glob("*.md")} - {"README.md"} <= linked


def first_screen() -> str:
    """README.md to its first heading of a section."""
    return (CHECKOUT / "README.md").read_text().partition("\n## ")[0]


def test_the_first_screen_of_the_readme_is_read_in_a_minute() -> None:
    """200 words of prose, and at 100 columns with a picture of its own 45 lines."""
    text = first_screen()
    prose = re.sub(r"\]\([^)]*\)", "]", FENCED.sub("", text))
    assert len(re.findall(r"[\w'`_-]+", prose)) <= 200
    assert sum(max(-(-len(line) // 100), 1) for line in text.splitlines()) <= 45


def test_the_first_screen_has_one_picture_one_command_and_one_verdict() -> None:
    text = first_screen()
    assert re.findall(r"!\[([^]]{30,})\]\(([^)]*)\)", text) == re.findall(r"!\[([^]]*)\]\(([^)]*)\)", text)
    assert len(re.findall(r"!\[", text)) == 1
    assert re.findall(r"^\$ (.*?)(?:  .*)?$", text, re.MULTILINE) == ["make run"]
    assert text.count("no limit was met") + text.count("no\nlimit was met") == 1
