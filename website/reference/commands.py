"""The commands and their options, from click: a page for each, and one that lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Final

import click

from loadgen.cli.main import cli
from website.reference.markdown import code, fenced, plain, table

_NAME: Final = "loadgen"
_FOLDER: Final = "reference/commands"
#: The page that lists the commands.
INDEX: Final = f"{_FOLDER}/index.md"
#: Longer than any sentence of a help: click would cut it.
_SENTENCE_MAX: Final = 500
_HEAD: Final = """\
# Commands

Made from the code; `loadgen COMMAND --help` and `man loadgen-COMMAND` say the same.
[Exit codes](../errors.md#exit-codes) are those of all commands. The examples are not run by the tests, because their
files and addresses stand for yours; the tests check that the commands and options in them exist.
"""


def index() -> str:
    """Return the page that lists the commands."""
    rows = [(f"[{code(f'{_NAME} {name}')}]({name}.md)", plain(_summary(below))) for name, below in _sorted(cli)]
    context = click.Context(cli, info_name=_NAME, **cli.context_settings)
    return f"{_HEAD}\n{table(('command', 'does'), rows)}\n## Options of all\n\n{_options(context)}"


def pages() -> dict[str, str]:
    """Return the page of each command by its place in the sources of the site."""
    root = click.Context(cli, info_name=_NAME, **cli.context_settings)
    return {f"{_FOLDER}/{name}.md": _page(click.Context(below, root, name)) for name, below in _sorted(cli)}


def _sorted(group: click.Command) -> list[tuple[str, click.Command]]:
    found = group.commands.items() if isinstance(group, click.Group) else ()
    return sorted((name, command) for name, command in found if not command.hidden)


def _page(context: click.Context) -> str:
    inner = [click.Context(below, context, name) for name, below in _sorted(context.command)]
    return f"# {context.command_path}\n\n{_command(context, '##')}" + "".join(
        f"\n## {below.command_path}\n\n{_command(below, '###')}" for below in inner
    )


def _command(context: click.Context, level: str) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [fenced(usage), *_body(command.help or "")]
    if options := _options(context):
        lines += [f"{level} Options\n" if level == "##" else "Options:\n", options]
    return "\n".join(lines)


def _summary(command: click.Command) -> str:
    text = command.get_short_help_str(_SENTENCE_MAX)
    return text[:1].lower() + text[1:].removesuffix(".")


def _options(context: click.Context) -> str:
    """Return the table of the options; "" for none."""
    rows = []
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record:  # a hidden one has none
            rows.append((code(record[0]), plain(record[1])))
    return table(("option", "meaning"), rows) if rows else ""


def _body(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help. One that begins with \\b keeps its lines; its first may be a heading."""
    for paragraph in re.split(r"\n{2,}", cleandoc(text)):
        lines = paragraph.removeprefix("\b\n").splitlines()
        if not paragraph.startswith("\b\n"):
            yield plain(" ".join(line.strip() for line in lines)) + "\n"
            continue
        if lines[0].endswith(":"):
            yield f"{plain(lines.pop(0))}\n"
        yield fenced(cleandoc("\n".join(["", *lines])))
