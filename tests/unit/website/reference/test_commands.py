"""Every command and option has its place, with the text of its help."""

from __future__ import annotations

import click
import pytest

from loadgen.cli.main import cli
from website.check import of_host
from website.reference import commands

PAGES = commands.pages()
NAMES = sorted(name for name, command in cli.commands.items() if not command.hidden)


def test_every_command_is_listed_and_has_a_page() -> None:
    listed = commands.index()
    assert sorted(PAGES) == [f"reference/commands/{name}.md" for name in NAMES]
    assert all(f"| [`loadgen {name}`]({name}.md) | " in listed for name in NAMES)
    assert "| `--version` |" in listed


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_every_option(name: str) -> None:
    page = PAGES[f"reference/commands/{name}.md"]
    command = cli.commands[name]
    below = list(command.commands.values()) if isinstance(command, click.Group) else []
    for one in (command, *below):
        for parameter in one.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert max(parameter.opts, key=len) in page
    assert page.startswith(f"# loadgen {name}\n\n```\nloadgen {name} ")


def test_a_group_has_its_commands_as_sections() -> None:
    page = PAGES["reference/commands/cluster.md"]
    assert "\n## loadgen cluster certs\n" in page
    assert "| `--hosts" in page


def test_examples_keep_their_lines() -> None:
    page = PAGES["reference/commands/run.md"]
    assert "\nExamples:\n\n```\nloadgen run scenarios/past-64k.yaml\n" in page
    assert of_host(page).counts["pre"] >= 2
