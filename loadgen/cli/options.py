"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, Final

import click

from loadgen.cli import completion

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


def _place(_context: click.Context, _option: click.Parameter, text: str | None) -> int | str | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    if "/" not in text:
        raise click.BadParameter("write a pid, or the path of a namespace such as /run/netns/NAME")
    return text


def netns(verb: str) -> Callable[[Command], Command]:
    """Return the option --netns, a pid or a path."""
    return click.option(
        "--netns",
        metavar="PID|PATH",
        callback=_place,
        help=f"{verb} the network namespace of this process, or at this path; needs CAP_SYS_ADMIN.",
    )
