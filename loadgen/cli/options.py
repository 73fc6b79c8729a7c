"""Options shared by several commands."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from loadgen.cli import completion
from loadgen.errors import UsageError
from loadgen.views.progress import ProgressStyle

Command = Callable[..., Any]

settings: Final = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completion.settings,
    help="Override a key of the scenario, given by its dotted path; repeatable.",
)

#: Permissions, which only the command line can give, not the scenario.
_PERMISSIONS: Final = (
    click.option(
        "--allow",
        metavar="CIDR",
        multiple=True,
        help="Permit targets in this network beyond loopback; repeatable.",
    ),
    click.option(
        "--i-am-authorized",
        "authorized",
        is_flag=True,
        help="With --allow: confirm that you may load targets with global addresses.",
    ),
    click.option(
        "--allow-port-blocking",
        "port_blocking",
        is_flag=True,
        help="Permit strategy explicit to block ports of ip_local_port_range for other processes of this host.",
    ),
)


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return the options as one decorator; the help lists them in this order."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


permissions: Final = all_of(*_PERMISSIONS)
#: Those that permit a target, for commands that choose no ports of their own.
reach: Final = all_of(*_PERMISSIONS[:2])


#: Of commands that make a run.
out: Final = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Directory in which the run directory is made.",
)
junit: Final = click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a JUnit report: each expectation is a test case.",
)

#: The environment variable for the same style with every command.
PROGRESS: Final = "LOADGEN_PROGRESS"


def progress(command: Command) -> Command:
    """Give a command that makes runs --progress and --quiet, passed as `progress`: a ProgressStyle."""

    @functools.wraps(command)
    def merged(*args: Any, quiet: bool, progress: ProgressStyle, **others: Any) -> Any:
        if quiet and click.get_current_context().get_parameter_source("progress") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--quiet is --progress none; leave one of them out")
        return command(*args, progress=ProgressStyle.NONE if quiet else progress, **others)

    return all_of(
        _progress(tuple(ProgressStyle), "How a run is shown on stderr: drawn over itself, line after line, or not."),
        click.option("--quiet", is_flag=True, help="Print no progress on stderr, only errors: --progress none."),
    )(merged)


def _progress(styles: tuple[ProgressStyle, ...], text: str) -> Callable[[Command], Command]:
    def style(_context: click.Context, _option: click.Parameter, value: str | None) -> ProgressStyle:
        if value is not None:
            return ProgressStyle(value)
        named = os.environ.get(PROGRESS, "")
        try:
            wanted = ProgressStyle(named or ProgressStyle.AUTO)
        except ValueError:
            known = ", ".join(ProgressStyle)
            raise UsageError(f"environment variable {PROGRESS}: write one of {known}; got {named!r}") from None
        return wanted if wanted in styles else ProgressStyle.AUTO

    return click.option(
        "--progress",
        type=click.Choice([style.value for style in styles]),
        callback=style,
        help=f"{text} (default: ${PROGRESS}, else auto)",
    )


#: Of commands whose output is what they show: these cannot be without it.
shown: Final = _progress(
    (ProgressStyle.AUTO, ProgressStyle.LIVE, ProgressStyle.PLAIN), "Draw over what was shown before, or below it."
)
force: Final = click.option(
    "--force",
    is_flag=True,
    help="Run although the plan predicts that four-tuples or the workers' descriptors run out.",
)

certificates: Final = click.option(
    "--certs",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of ca.pem and this host's certificate and key, as `loadgen cluster certs` writes them.",
)


#: How the agents of a run on several hosts are reached.
reached: Final = (
    click.option(
        "--listen",
        metavar="ADDR:PORT",
        help="Address of this host that agents connect to (default: 127.0.0.1:9786).",
    ),
    certificates,
    click.option(
        "--dask",
        metavar="ADDR",
        help="Use the workers of this scheduler of dask.distributed instead: tls://HOST:PORT.",
    ),
    click.option(
        "--wait",
        metavar="DURATION",
        default="60s",
        show_default=True,
        help="Time in which the agents have to be there.",
    ),
)


def wait_s(text: str) -> float:
    """Return the value of --wait in seconds. Raises: click.BadParameter."""
    from loadgen.scenario import units

    try:
        return units.duration_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--wait") from None


def split_by_commas(text: str) -> tuple[str, ...]:
    """Return the parts of a list of an option, without those that are empty."""
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def as_json(what: str) -> Callable[[Command], Command]:
    """Return the option --json, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=f"{what} as JSON on stdout, and nothing else there.")


#: Where ip-netns(8) keeps the namespaces that have a name; names that begin with a digit or "-" need the path.
_NAMED: Final = "/run/netns"
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")


def _place(_context: click.Context, _option: click.Parameter, text: str | None) -> int | str | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    if "/" not in text:
        if not _NAME.fullmatch(text):
            raise click.BadParameter("write a pid, the name of a namespace as `ip netns list` shows it, or its path")
        return f"{_NAMED}/{text}"
    return text


def netns(verb: str) -> Callable[[Command], Command]:
    """Return the option --netns: a pid, the name that a namespace has by ip-netns(8), or a path."""
    return click.option(
        "--netns",
        metavar="PID|NAME|PATH",
        callback=_place,
        help=f"{verb} the network namespace of this process, of this name, or at this path; needs CAP_SYS_ADMIN.",
    )
