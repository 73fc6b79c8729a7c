"""`loadgen occupy`: take source ports of a namespace, so that a real service there runs out of them."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

import click

from loadgen.cli import interrupts, options
from loadgen.cli.streams import EPILOG, complain, console, reader_may_leave
from loadgen.errors import ExitCode, InterruptedRunError, UsageError
from loadgen.views.progress import ProgressStyle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadgen.model import Endpoint
    from loadgen.occupy.occupation import OccupyStatus
    from loadgen.occupy.outcome import OccupyOutcome
    from loadgen.occupy.prospect import Prospect
    from loadgen.occupy.reading import PortReader
    from loadgen.occupy.request import OccupyRequest

#: Time between two lines about the state, where they do not go to a terminal.
_LINE_S: Final = 10.0


@click.command(epilog=EPILOG)
@options.netns("Take ports of")
@click.option("--leave", metavar="N", required=True, type=click.IntRange(0, 65_535), help="Ports to leave.")
@click.option(
    "--source", metavar="ADDR", help="Take ports of this address only (default: of all, or the one that routing picks)."
)
@click.option(
    "--for", "for_", metavar="DURATION", default="60s", show_default=True, help="Time to hold the ports, at most 1h."
)
@click.option(
    "--by",
    type=click.Choice(["bind", "connections", "time-wait"]),
    help="Take ports by sockets that are bound only, by connections to --target, or by their TIME-WAIT "
    "(default: bind; with --target connections).",
)
@click.option("--target", metavar="HOST:PORT", help="Destination whose four-tuples are taken; it must accept as many.")
@click.option(
    "--transport",
    type=click.Choice(["tcp", "udp"]),
    default="tcp",
    show_default=True,
    help="Ports of TCP or, by bind, of UDP.",
)
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal to answer from.")
@options.reach
@options.as_json("Print the result")
@options.shown
def occupy(
    netns: int | str | None,
    leave: int,
    source: str | None,
    for_: str,
    by: str | None,
    target: str | None,
    transport: str,
    yes: bool,
    allow: tuple[str, ...],
    authorized: bool,
    as_json: bool,
    progress: ProgressStyle,
) -> None:
    """Take source ports of a namespace: a service there runs out.

    Takes them until N are left for automatic choice, and keeps that number.

    For a staging container: real programs then meet EADDRINUSE from bind() and EADDRNOTAVAIL from connect(), as in
    production. It says first which processes that will hurt, and asks. Listeners and sockets of other programs are
    never touched. Every port is given back at the end, on Ctrl-C (exit code 130) and when loadgen is killed; only
    TIME-WAIT stays for a minute.

    \b
    Examples:
      loadgen occupy --netns 4711 --leave 0               # the namespace of a container, for 60 s
      loadgen occupy --netns staging --leave 100 --for 5m --yes
      loadgen occupy --netns 4711 --leave 0 --target 10.0.0.7:5432 --allow 10.0.0.7/32
      loadgen occupy --netns 4711 --leave 5 --source 10.0.0.5 --yes --json
    """
    request = _request(leave, source, for_, by, target, transport, allow, authorized=authorized)
    line = _LiveLine(progress)
    _go_to(netns)

    from loadgen.occupy import holders, prospect, reading

    place = "this namespace" if netns is None else f"the namespace {'of process ' * isinstance(netns, int)}{netns}"
    room = holders.room_of_one()
    address = prospect.source_of(request)
    with ExitStack() as stack:
        reader = reading.PortReader(request, address)
        stack.callback(reader.close)
        ahead = prospect.ahead(request, reader, address, room)
        _ask(ahead, place, yes=yes)
        outcome = _held(ahead, reader, line)
    _show(outcome, netns, as_json=as_json)
    if outcome.interrupted:
        sys.exit(ExitCode.INTERRUPTED)


def _request(
    leave: int,
    source: str | None,
    for_: str,
    by: str | None,
    target: str | None,
    transport: str,
    allowed: Sequence[str],
    *,
    authorized: bool,
) -> OccupyRequest:
    """Return the checked request. Raises: click.UsageError, UsageError; HostError for a name without an address."""
    from loadgen.control import allowlist
    from loadgen.model import Transport, family_of
    from loadgen.occupy.request import FOR_MAX_S, FOR_MIN_S, OccupyRequest, OccupyWay
    from loadgen.scenario import units

    way = OccupyWay(by or ("connections" if target else "bind"))
    if way is OccupyWay.BIND and target:
        raise click.UsageError("--by bind takes ports for every destination; leave out --target")
    if way is not OccupyWay.BIND and not target:
        raise click.UsageError(f"--by {way} connects; add --target HOST:PORT")
    if way is not OccupyWay.BIND and transport == "udp":
        raise click.UsageError(f"--by {way} is for TCP; with --transport udp use --by bind")
    try:
        for_s = units.duration_s(for_)
        if not FOR_MIN_S <= for_s <= FOR_MAX_S:
            raise ValueError("write a duration from 1s to 1h")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--for'") from None
    address = _source(source) if source else ""
    end = _target(target, address) if target else None
    if end:
        allowlist.check(end.address, allowed=allowed, authorized=authorized)
        if address and family_of(address) != family_of(end.address):
            raise click.UsageError(f"--source {address} and --target {end} are of different families; use one")
    return OccupyRequest(leave, way, for_s, address, end, Transport(transport))


def _source(text: str) -> str:
    from loadgen.scenario import units

    try:
        return units.endpoint(f"[{text}]:1" if ":" in text else f"{text}:1").address
    except ValueError as error:
        raise click.BadParameter(f"{error}", param_hint="'--source'") from None


def _target(text: str, source: str) -> Endpoint:
    """Return the target with an address. A name is resolved here, outside of the namespace of the service."""
    from loadgen.model import Endpoint, family_of
    from loadgen.scenario import units

    try:
        destination = units.destination(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--target'") from None
    if len(destination.ports) > 1:
        raise click.BadParameter("write one port", param_hint="'--target'")
    if destination.address:
        return Endpoint(destination.address, destination.ports.low)

    import asyncio

    from loadgen.control import name_resolution

    found = asyncio.run(name_resolution.look_up([destination.name]))[destination.name].addresses
    fitting = [address for address in found if not source or family_of(address) == family_of(source)]
    if not fitting:
        raise UsageError(f"{destination.name} is {', '.join(found)}, and --source {source} is of the other family")
    return Endpoint(fitting[0], destination.ports.low)


def _go_to(netns: int | str | None) -> None:
    """Enter the namespace, before there are threads. Raises: HostError."""
    from loadgen.watch import netns as namespaces

    if netns is not None:
        namespaces.enter(netns)


def _ask(ahead: Prospect, place: str, *, yes: bool) -> None:
    """Say what will be done, and let the user agree. Raises: UsageError, InterruptedRunError.

    A namespace bears no mark of who made it, and one that looks like a lab may be the container of a service: so it
    takes agreement everywhere.
    """
    from loadgen.views.text import occupy as view

    _tell(view.notice(ahead, place))
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("nothing was taken: there is no terminal to ask; add --yes if those programs may fail")
    if not click.confirm("Take them?", err=True):
        raise InterruptedRunError("nothing was taken")


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        complain(line, head="")


def _held(ahead: Prospect, reader: PortReader, line: _LiveLine) -> OccupyOutcome:
    """Hold the ports for their time or until an interrupt. Raises: HostError, IncompleteError, InterruptedRunError."""
    from loadgen.occupy import outcome
    from loadgen.occupy.holders import PortHolders
    from loadgen.occupy.occupation import Occupation

    before = outcome.counters()
    occupation, began_s, ended_s, interrupted = None, 0.0, 0.0, False
    try:
        with PortHolders(ahead.request, ahead.processes, ahead.room) as holders:
            taking = Occupation(ahead.request, reader, holders)
            line.show(taking.begin(), ahead.request.for_s)
            occupation, began_s = taking, time.monotonic()
            try:
                occupation.hold(line.show)
            finally:
                ended_s = time.monotonic()
    except KeyboardInterrupt:
        interrupts.seen()
        interrupted = True
    finally:
        line.end()
    if occupation is None:
        those = "are given back" if ahead.request.can_give_back else "stay in TIME-WAIT for a minute"
        raise InterruptedRunError(f"interrupted before all ports were taken; those that were {those}")
    return outcome.after(ahead, occupation, reader, before, held_s=max(ended_s - began_s, 0.0), interrupted=interrupted)


class _LiveLine:
    """The state while ports are held: one line of a terminal, or a line now and then.

    Raises: UsageError when one line is asked for where it cannot be drawn over.
    """

    def __init__(self, style: ProgressStyle) -> None:
        from loadgen.views import terminal

        self._console = console(stderr=True, style=style)
        can = terminal.redraws(self._console)
        if style is ProgressStyle.LIVE and not can:
            raise UsageError("--progress live: stderr is no terminal that can be drawn over; leave it out")
        self._on_terminal = can and style is not ProgressStyle.PLAIN
        self._shown = False
        self._due_s = 0.0

    def show(self, status: OccupyStatus, remains_s: float) -> None:
        """Show the state, on a terminal over the one before."""
        from loadgen.views.text import occupy as view

        text = view.live(status, remains_s)
        if self._on_terminal:
            with suppress(OSError):
                # As much as a line holds: what wraps is not drawn over.
                click.echo(f"\r\x1b[K{text[: max(self._console.width - 1, 1)]}", err=True, nl=False)
        elif time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _LINE_S
            complain(text, head="")
        self._shown = True

    def end(self) -> None:
        """Leave the line where it is, and let others follow below."""
        if self._shown and self._on_terminal:
            with suppress(OSError):
                click.echo(err=True)


def _show(outcome: OccupyOutcome, netns: int | str | None, *, as_json: bool) -> None:
    from loadgen.occupy import plain
    from loadgen.views.text import occupy as view

    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(plain.as_json(outcome, netns), indent=2))
            return
        for line in view.report(outcome):
            click.echo(line)
