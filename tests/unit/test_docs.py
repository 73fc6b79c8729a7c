"""The pages under docs/ name what exists: modules, pages, headings, commands, options; and the glossary is in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click
import pytest

from loadgen.cli import main
from loadgen.outcomes import LIMITS

CHECKOUT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")])

#: `/1` behind a name is a version of a schema, and a path in front of it makes it a file.
_MODULE = re.compile(r"(?<![\w/.-])loadgen(?:\.[a-z_]+)+(?![\w/.-])")
_MODULE_PATH = re.compile(r"(?<![\w/.-])(?:loadgen|bench|tests)/[\w/.]+\.(?:py|js|c)\b")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    """An id of pytest for a page."""
    return str(page.relative_to(CHECKOUT))


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=named)


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, made as GitHub makes them."""
    text = _FENCED.sub("", page.read_text())
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def command_lines(text: str) -> list[list[str]]:
    """The words behind each `loadgen` in code, up to what the shell makes of the line, or another program does."""
    code = [line for _, _, block in _FENCED.findall(text) for line in block.splitlines()]
    code += re.findall(r"`(loadgen [^`]+)`", _FENCED.sub("", text))
    found = []
    for line in code:
        for call in re.findall(r"(?:^(?:[$#] )?|\| |&& |lab-7 )(?:\.venv/bin/)?loadgen ([a-z-].*)", line):
            words = shlex.split(call.replace("\\|", "|"), comments=True)
            end = next((n for n, word in enumerate(words) if re.fullmatch(r"[|&;]+|\d?>.*|--", word)), len(words))
            found.append(words[:end])
    return found


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
    for path, fragment in _LINK.findall(_FENCED.sub("", page.read_text())):
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (fragment and fragment not in anchors(place)):
            broken.append(f"{path}#{fragment}")
    assert broken == []


@each_page()
def test_commands_and_their_options_exist(page: Path) -> None:
    for name, *words in command_lines(page.read_text()):
        if name.startswith("-"):
            continue
        assert name in main.cli.commands, f"loadgen {name}"
        command = main.cli.commands[name]
        if isinstance(command, click.Group) and words:
            name = f"{name} {words[0]}"
            assert words[0] in command.commands, f"loadgen {name}"
            command = command.commands[words[0]]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= options, f"loadgen {name}"


def test_commands_are_found_at_all() -> None:
    """So that the test above has something to check."""
    text = "```console\n$ loadgen run a.yaml --set b=c | tee d\n```\n`loadgen plan a` \n"
    assert command_lines(text) == [["run", "a.yaml", "--set", "b=c"], ["plan", "a"]]


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
