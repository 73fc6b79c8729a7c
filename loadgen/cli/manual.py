"""Manual pages made from the commands' help, so that the two agree: man-pages(7), groff_man(7).

Help is written in paragraphs. One that begins with \\b keeps its lines; where its first line ends with a colon it
is a section of that name (Examples). The exit codes below each help become the section EXIT STATUS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Final

import click

_EXIT_CODES: Final = "Exit codes:"
#: Characters that groff replaces with typographical ones, which cannot be copied into a shell (groff_man_style(7)).
_AS_TYPED: Final = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})
#: Longer than any sentence of a help: click would cut it.
_SENTENCE_MAX: Final = 500


def pages(root: click.Command, name: str, version: str) -> dict[str, str]:
    """Return each page of a program by file name: loadgen.1, and loadgen-run.1 for its command run."""
    context = click.Context(root, info_name=name, **root.context_settings)
    commands = dict(sorted(root.commands.items())) if isinstance(root, click.Group) else {}
    titles = [name, *(f"{name}-{command}" for command in commands)]
    made = {f"{name}.1": _page(context, titles, version, commands)}
    for title, command in commands.items():
        below = click.Context(command, info_name=title, parent=context)
        made[f"{name}-{title}.1"] = _page(below, titles, version, {})
    return made


def _page(context: click.Context, titles: list[str], version: str, commands: dict[str, click.Command]) -> str:
    command, words = context.command, context.command_path.split()
    title = "-".join(words)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{_typed(title.upper())}" 1 "" "{_typed(f"{words[0]} {version}")}" "{_typed(f"{words[0]} manual")}"',
        ".SH NAME",
        rf"{_typed(title)} \- {_typed(_summary(command))}",
        ".SH SYNOPSIS",
        f"{_bold(context.command_path)} {_typed(usage)}",
        ".SH DESCRIPTION",
        *_body(command.help or ""),
    ]
    if commands:
        lines.append(".SH COMMANDS")
        for name, below in commands.items():
            lines += [".TP", f"{_bold(f'{title}-{name}')}(1)", _typed(_summary(below))]
    elif isinstance(command, click.Group):
        lines += [".SH COMMANDS", *_subcommands(context, command)]
    lines += [".SH OPTIONS", *_options(context), *_body(command.epilog or ""), ".SH SEE ALSO"]
    lines.append(", ".join(f"{_bold(other)}(1)" for other in titles if other != title))
    return "\n".join(lines) + "\n"


def _subcommands(context: click.Context, group: click.Group) -> Iterator[str]:
    """Yield the commands of a group, which have no pages of their own; their examples are the group's."""
    for name, command in sorted(group.commands.items()):
        below = click.Context(command, info_name=name, parent=context)
        yield f".SS {_typed(' '.join([below.command_path, *command.collect_usage_pieces(below)]))}"
        yield from _body((command.help or "").partition("\b\n")[0].rstrip())
        yield from _options(below)


def _summary(command: click.Command) -> str:
    """Return the first sentence of the help as NAME wants it: no capital, no full stop."""
    text = command.get_short_help_str(_SENTENCE_MAX).removesuffix(".")
    return text[:1].lower() + text[1:]


def _options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record:  # a hidden one has none
            yield from (".TP", _bold(record[0]), _typed(record[1]))


def _body(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help or an epilog; a section for each that has a heading."""
    for number, paragraph in enumerate(re.split(r"\n{2,}", cleandoc(text))):
        kept = paragraph.startswith("\b\n")
        lines = paragraph.removeprefix("\b\n").splitlines()
        if kept and lines[0].startswith(_EXIT_CODES):
            yield from _exit_status(" ".join(lines).removeprefix(_EXIT_CODES))
        elif kept and lines[0].endswith(":"):
            yield f".SH {_typed(lines[0].removesuffix(':').upper())}"
            yield from _as_it_stands(lines[1:])
        elif kept:
            yield from _as_it_stands(lines)
        else:
            yield from [".PP"] * (number > 0)
            yield _typed(" ".join(line.strip() for line in lines))


def _as_it_stands(lines: list[str]) -> Iterator[str]:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    yield from (".PP", ".nf", ".RS 4", *(_typed(line[margin:]) for line in lines), ".RE", ".fi")


def _exit_status(text: str) -> Iterator[str]:
    """Yield `0 fine, 1 a bug in loadgen.` as a list."""
    yield ".SH EXIT STATUS"
    for code, meaning in re.findall(r"(?<![0-9])([0-9]+) ([^,]+?)(?=,|\.?$)", text.strip()):
        yield from (".TP", _bold(code), _typed(meaning))


def _bold(text: str) -> str:
    return rf"\fB{_typed(text)}\fR"


def _typed(text: str) -> str:
    r"""Return the text with roff's escapes and requests disabled, a first dot protected by \&."""
    escaped = text.translate(_AS_TYPED).replace('"', r"\(dq")
    escaped = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in escaped)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped
