"""Finds calls of loadgen in pages and scripts, and checks that the commands and options in them exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

import click

from loadgen.cli import main

FENCED: Final = re.compile(r"^( *)```(\w*)[^`\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def of_line(line: str) -> list[list[str]]:
    """The words behind each `loadgen` in a line, up to what the shell makes of it, or another program does."""
    found = []
    for call in re.findall(r"(?:^(?:[$#] )?|\| |&& |lab-7 )(?:\.venv/bin/)?loadgen ([a-z-].*)", line):
        words = shlex.split(call.replace("\\|", "|"), comments=True)
        end = next((n for n, word in enumerate(words) if re.fullmatch(r"[|&;]+|\d?>.*|--", word)), len(words))
        found.append(words[:end])
    return found


def of_page(text: str) -> list[list[str]]:
    """Those in the code of a Markdown page."""
    code = [line for _, _, block in FENCED.findall(text) for line in block.splitlines()]
    code += re.findall(r"`(loadgen [^`]+)`", FENCED.sub("", text))
    return [call for line in code for call in of_line(line)]


def of_script(text: str) -> list[list[str]]:
    """Those in a script of the shell, with its continued lines."""
    return [call for line in text.replace("\\\n", " ").splitlines() for call in of_line(line.strip())]


def assert_exists(call: Sequence[str]) -> None:
    """That the command of a call exists and has the options used."""
    name, *words = call
    assert name in main.cli.commands, f"loadgen {name}"
    command = main.cli.commands[name]
    if isinstance(command, click.Group) and words:
        name = f"{name} {words[0]}"
        assert words[0] in command.commands, f"loadgen {name}"
        command = command.commands[words[0]]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= options, f"loadgen {name}"
