"""Options that several commands have, each written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
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
    help="Override a key of the scenario, dotted path; repeatable.",
)

#: What a person permits and no scenario can.
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
        help="Together with --allow: targets with global addresses are mine to load.",
    ),
    click.option(
        "--allow-port-blocking",
        "port_blocking",
        is_flag=True,
        help="Permit strategy explicit to close ports of ip_local_port_range to the other processes of this host.",
    ),
)


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """The options as one decorator, in help in the order given here."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


permissions: Final = all_of(*_PERMISSIONS)


def as_json(what: str) -> Callable[[Command], Command]:
    """--json, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=f"{what} as JSON on stdout, and nothing else there.")
