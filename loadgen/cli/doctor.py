"""`loadgen doctor`: this host's limits, judged for a number of connections."""

from __future__ import annotations

import math
import sys

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, show
from loadgen.errors import ExitCode
from loadgen.model import CloseMode

#: Judged where no number is given.
_CONNECTIONS = 100_000


def _rate(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    from loadgen.scenario import units

    try:
        rate = None if text is None else units.rate_per_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if rate == 0:
        raise click.BadParameter("write a rate above 0, or leave --rate out")
    return rate


def _services(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[int, ...]:
    from loadgen.kernel import sysctl

    try:
        ports = {port for text in texts for port in sysctl.parse_ports(text)}
    except ValueError as error:
        raise click.BadParameter(f"{error}; write 8500,38151 or 9000-9010") from None
    if 0 in ports:
        raise click.BadParameter("port 0 is none that a service can have; write 8500,38151 or 9000-9010")
    return tuple(sorted(ports))


@click.command(epilog=EPILOG)
@click.option(
    "--connections",
    type=click.IntRange(1, 1_000_000_000),
    help=f"Target number of concurrent connections (default: {_CONNECTIONS:,}; with --rate those of one second).",
)
@click.option(
    "--pairs",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Pairs of source address and destination that share the connections.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Processes of the program that opens them; loadgen itself starts as many as it takes.",
)
@click.option(
    "--rate",
    metavar="RATE",
    callback=_rate,
    help="Target number of new connections: 331/s, 5000/min.",
)
@click.option(
    "--close",
    type=click.Choice([mode.value for mode in CloseMode]),
    default=CloseMode.FIN.value,
    show_default=True,
    help="With --rate: how a connection ends. fin: closed here first; rst: reset; target: closed there first.",
)
@click.option(
    "--services",
    metavar="PORTS",
    multiple=True,
    callback=_services,
    help="TCP ports that services of this host need, listening now or not: 8500,38151; repeatable.",
)
@options.netns("Judge")
@click.option("--commands", is_flag=True, help="Show below each limit the commands that change it.")
@click.option("--fail-if-wall", is_flag=True, help="Exit with 3 when a limit is below that number.")
@options.as_json("The findings")
def doctor(
    connections: int | None,
    pairs: int,
    processes: int,
    rate: float | None,
    close: str,
    services: tuple[int, ...],
    netns: int | str | None,
    commands: bool,
    fail_if_wall: bool,
    as_json: bool,
) -> None:
    """Show this host's limits, what each allows, how to change it.

    Nothing is changed.

    \b
    Examples:
      loadgen doctor
      loadgen doctor --connections 1000000 --pairs 20 --commands
      loadgen doctor --connections 20000 --fail-if-wall --json
      loadgen doctor --rate 331/s --close fin       # new connections, closed again
      loadgen doctor --services 8500,38151          # may outgoing connections take these ports
      loadgen doctor --netns 4711                   # the network namespace of a container
    """
    if netns is not None:  # before there are threads
        from loadgen.watch import netns as namespaces

        namespaces.enter(netns)
    from loadgen.doctor import checkup
    from loadgen.doctor.finding import Purpose
    from loadgen.views.text import doctor as view

    if connections is None:
        connections = _CONNECTIONS if rate is None else max(math.ceil(rate), 1)
    purpose = Purpose(connections, pairs, rate, CloseMode(close), services, processes)
    findings = checkup.take(purpose, _named(netns))
    show(findings.to_json(), lambda console: view.render(findings, console, commands=commands), as_json=as_json)
    if fail_if_wall and findings.walls:
        sys.exit(ExitCode.HOST)


def _named(netns: int | str | None) -> str:
    """Return the words for a network namespace; "" for that of this process."""
    if netns is None:
        return ""
    return f"process {netns}" if isinstance(netns, int) else netns
