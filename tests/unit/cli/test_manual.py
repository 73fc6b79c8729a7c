"""Manual pages: one for each command, with everything its help has, in roff that says what was typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from loadgen.cli import main, manual

CHECKOUT = Path(__file__).parents[3]
PAGES = manual.pages(main.cli, "loadgen", "0.1.0")
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"]


def sections(page: str) -> list[str]:
    return re.findall(r"^\.SH (.*)$", page, re.MULTILINE)


def as_read(page: str) -> str:
    """What a reader of the page sees, as far as these pages go."""
    for escape, character in ((r"\(aq", "'"), (r"\(dq", '"'), (r"\(ga", "`"), (r"\(ha", "^"), (r"\(ti", "~")):
        page = page.replace(escape, character)
    return re.sub(r"\\f[BR]|\\&", "", page).replace(r"\-", "-").replace(r"\e", "\\")


def test_every_command_has_a_page_and_each_names_the_others() -> None:
    assert list(PAGES) == ["loadgen.1", *(f"loadgen-{name}.1" for name in sorted(main.cli.commands))]
    for file, page in PAGES.items():
        others = as_read(page.partition(".SH SEE ALSO\n")[2])
        assert others.strip().split(", ") == [f"{name[:-2]}(1)" for name in PAGES if name != file]


@pytest.mark.parametrize("name", main.cli.commands)
def test_a_page_has_what_the_help_has(name: str) -> None:
    page, command = PAGES[f"loadgen-{name}.1"], main.cli.commands[name]
    assert [one for one in sections(page) if one in SECTIONS] == SECTIONS
    assert any(one in ("EXAMPLES", "EXAMPLE") for one in sections(page))
    read = as_read(page)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert f"\n{parameter.opts[0]}" in read
            assert str(parameter.help) in read
    assert f"\nloadgen {name}" in read.partition(".SH EXAMPLE")[2]
    assert "\n.TP\n\\fB99\\fR\nan expectation failed\n" in page
    assert "\n.TP\n\\fB\\-h, \\-\\-help\\fR\n" in page
    assert "\b" not in page


def test_the_first_page_lists_the_commands() -> None:
    assert "TAB COMPLETION" in sections(PAGES["loadgen.1"])
    listed = re.findall(r"^loadgen-([a-z]+)\(1\)$", as_read(PAGES["loadgen.1"]), re.MULTILINE)
    assert listed == sorted(main.cli.commands)


def test_the_page_of_a_group_has_its_commands_with_all_their_options() -> None:
    read, group = as_read(PAGES["loadgen-cluster.1"]), main.cli.commands["cluster"]
    assert isinstance(group, click.Group)
    for name, command in group.commands.items():
        _, found, section = read.partition(f"\n.SS loadgen cluster {name} [OPTIONS]\n")
        assert found
        for parameter in command.params:
            assert f"\n{parameter.opts[0]}" in section.partition("\n.S")[0]


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("--set 'a'", r"\-\-set \(aqa\(aq"),
        (".TH", r"\&.TH"),
        ("'br", r"\(aqbr"),
        (r"a\fBb", r"a\efBb"),
        ('"~`^', r"\(dq\(ti\(ga\(ha"),
        ("µs", r"\[u00B5]s"),
    ],
)
def test_text_reads_as_it_was_typed(text: str, roff: str) -> None:
    command = click.Command("c", help=f"A sentence.\n\n\b\n{text}\nend", epilog=text)
    page = manual.pages(click.Group("g", commands={"c": command}), "g", "1")["g-c.1"]
    assert f"\n{roff}\nend\n" in page
    assert page.count(f"\n{roff}\n") == 2


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff: apt install groff-base")
@pytest.mark.parametrize("file", PAGES)
def test_groff_has_nothing_to_say_about_it(file: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou"],
        input=PAGES[file].encode(),
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.stderr == b""
    assert b"NAME" in done.stdout


def test_the_pages_under_docs_are_those_of_the_commands() -> None:
    folder = CHECKOUT / "docs" / "man"
    kept = {path.name: path.read_text() for path in folder.iterdir()}
    assert kept.keys() == PAGES.keys(), "make schemas writes them anew, and deletes none"
    for name, page in kept.items():
        version = page.splitlines()[0].split('"')[5].removeprefix("loadgen ")
        assert page == manual.pages(main.cli, "loadgen", version)[name], "make schemas writes it anew"
