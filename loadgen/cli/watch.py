"""`loadgen watch`: how full each destination is, snapshot by snapshot."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count as numbers
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from loadgen import shortage
from loadgen.cli import interrupts, options, streams, watch_exporter
from loadgen.cli.streams import EPILOG, complain, console, reader_may_leave
from loadgen.cli.watch_exporter import Show, Timing
from loadgen.errors import ExitCode, HostError, UsageError
from loadgen.views.progress import ProgressStyle

if TYPE_CHECKING:
    from loadgen.views.text.watch import Screen
    from loadgen.watch.conditions import Violation, WatchCondition
    from loadgen.watch.filters import Network
    from loadgen.watch.snapshot import Watcher

_INTERVAL_MIN_S, _INTERVAL_MAX_S = 0.1, 3600.0
#: Width of a table that goes to a file: few lines fold.
_FILE_WIDTH = 160
#: Reading the descriptors of all processes may take that long.
_SCAN_LIMIT_S = 10.0


def _interval(_context: click.Context, _option: click.Parameter, text: str) -> float:
    from loadgen.scenario import units

    with _as_bad_parameter():
        interval_s = units.duration_s(text)
        if not _INTERVAL_MIN_S <= interval_s <= _INTERVAL_MAX_S:
            raise ValueError("write an interval from 100ms to 1h")
    return interval_s


def _source(_context: click.Context, _option: click.Parameter, text: str | None) -> Network | None:
    from loadgen.watch import filters

    with _as_bad_parameter():
        return filters.network(text) if text is not None else None


def _destination(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[Network | None, int]:
    from loadgen.watch import filters

    with _as_bad_parameter():
        return filters.destination(text) if text is not None else (None, 0)


def _conditions(texts: tuple[str, ...]) -> list[WatchCondition]:
    from loadgen.watch.conditions import WatchCondition

    try:
        return [WatchCondition.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--fail-if'") from None


@contextmanager
def _as_bad_parameter() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(epilog=EPILOG)
@click.option(
    "--interval",
    metavar="DURATION",
    default="1s",
    show_default=True,
    callback=_interval,
    help="Time between snapshots.",
)
@click.option("--once", is_flag=True, help="Take one snapshot, then exit.")
@click.option("--count", "looks", metavar="N", type=click.IntRange(1), help="Take N snapshots, then exit.")
@click.option("--json", "as_json", is_flag=True, help="Print each snapshot as one line of JSON on stdout.")
@click.option("--pid", metavar="PID", type=click.IntRange(1), help="Show only sockets of this process.")
@options.netns("Watch")
@click.option("--source", metavar="ADDR", callback=_source, help="Show only connections from this address or CIDR.")
@click.option(
    "--destination",
    metavar="ADDR[:PORT]",
    callback=_destination,
    help="Show only connections to this address or CIDR and port; either may be omitted: 10.0.0.0/8, :443.",
)
@click.option("--inbound", is_flag=True, help="Show accepted connections too.")
@click.option(
    "--port",
    "ports",
    metavar="PORT",
    multiple=True,
    type=click.IntRange(1, 65535),
    help="Say once who has this port, and whether a service could listen on it now; repeatable.",
)
@click.option(
    "--top", metavar="N", type=click.IntRange(1), help="Maximum groups shown (default: terminal height, else 10)."
)
@watch_exporter.given
@click.option(
    "--fail-if",
    "conditions",
    metavar="CONDITION",
    multiple=True,
    help="Exit with 99 as soon as a snapshot meets the condition: 'used > 80%'; repeatable. Names: used, free, in_use, "
    "time_wait, exhausts_in, source_used, bound. With --port: 'taken'.",
)
@options.shown
def watch(
    interval: float,
    once: bool,
    looks: int | None,
    as_json: bool,
    pid: int | None,
    netns: int | str | None,
    source: Network | None,
    destination: tuple[Network | None, int],
    inbound: bool,
    ports: tuple[int, ...],
    top: int | None,
    exporter: str | None,
    exporter_public: bool,
    conditions: tuple[str, ...],
    progress: ProgressStyle,
) -> None:
    """Watch how full each destination of this host is, until Ctrl-C.

    For each source address and destination: four-tuples in use, in TIME-WAIT and free, their growth, when they are
    exhausted, and the processes that own them. Works with any program's connections. Nothing is changed, and no
    packet sent. Ctrl-C is the normal end, with exit code 0; a --fail-if condition that is met ends it with 99.

    \b
    Examples:
      loadgen watch
      loadgen watch --destination 10.0.0.7:443 --interval 5s
      loadgen watch --once --json | jq .groups[0]
      loadgen watch --count 3 --fail-if 'used > 80%' --fail-if 'exhausts_in < 60s'
      loadgen watch --netns 4711                 # the namespace of a container or a lab
      loadgen watch --port 8500 --port 38151     # who has these ports
      loadgen watch --exporter 127.0.0.1:9435    # for Prometheus
    """
    if ports:
        _ask(ports, netns, as_json, conditions)
        return
    wanted = _conditions(conditions)
    if once and looks is not None:
        raise click.UsageError("--once is --count 1; leave one of them out")
    looks = 1 if once else looks
    served = watch_exporter.listening(exporter, public=exporter_public)
    if served and not _is_given("interval"):
        interval = watch_exporter.INTERVAL_S
    if looks == 1 and any(condition.name == "exhausts_in" for condition in wanted):
        raise click.UsageError("exhausts_in is known from the second snapshot on; use --count 3 or more")
    with interrupts.may_end_it(), reader_may_leave(), ExitStack() as stack:
        _go_to(netns, pid)

        from loadgen.watch.filters import GroupFilter
        from loadgen.watch.snapshot import Watcher

        watcher = stack.enter_context(Watcher(GroupFilter(source, *destination), pid=pid or 0, inbound=inbound))
        if served:
            show = stack.enter_context(watch_exporter.serving(served, top))
        elif as_json:
            show = _show_json(top)
        else:
            screen = stack.enter_context(_screen(top, progress, once=looks == 1))
            stack.enter_context(interrupts.before_stop(screen.hide, lambda stop: stop()))
            show = _show_on(screen)
        violation = _watch(
            watcher, show, wanted, SnapshotPace(interval, watch_exporter.SHARE if served else 1.0), looks
        )
        stack.close()  # so that the violation stands below the table
        if violation:
            complain(violation)
            sys.exit(ExitCode.EXPECTATION)


#: With --port a condition is this word alone.
_TAKEN: Final = "taken"
#: Options that select or repeat snapshots, of which --port takes none.
_OF_SNAPSHOTS: Final = ("interval", "looks", "pid", "source", "destination", "inbound", "top", "exporter", "progress")


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _ask(ports: tuple[int, ...], netns: int | str | None, as_json: bool, conditions: tuple[str, ...]) -> None:
    """Answer --port. Raises: HostError, UsageError; exits with 99 if a port is taken and that is a failure."""
    context = click.get_current_context()
    for name in _OF_SNAPSHOTS:
        if _is_given(name):
            option = next(option for option in context.command.params if option.name == name)
            raise click.UsageError(f"--port answers once, about one port; leave out {option.opts[0]}")
    if any(text.strip() != _TAKEN for text in conditions):
        raise click.BadParameter(f"with --port write '{_TAKEN}'", param_hint="'--fail-if'")
    _go_to(netns, None)

    from loadgen.views.text import ports as view
    from loadgen.watch import holders, owners

    answers = holders.ask(tuple(dict.fromkeys(ports)), owners.scan(_SCAN_LIMIT_S, monotonic))
    streams.show(holders.as_json(answers), lambda made: view.render(answers, made), as_json=as_json)
    taken = [answer.port for answer in answers if answer.taken]
    if conditions and taken:
        complain(f"--fail-if {_TAKEN}: {', '.join(map(str, taken))}")
        sys.exit(ExitCode.EXPECTATION)


def _go_to(netns: int | str | None, pid: int | None) -> None:
    """Enter the namespace of a process, before there are threads. Raises: HostError, UsageError."""
    from loadgen.watch import netns as namespaces

    if netns is not None:
        namespaces.enter(netns)
    if pid is not None and not namespaces.same(pid):
        raise UsageError(f"process {pid} lives in another network namespace; add --netns {pid}")


@dataclass(frozen=True, slots=True)
class SnapshotPace:
    """Time between snapshots. share: of the time that snapshots may take; longer ones are taken less often."""

    interval_s: float
    share: float = 1.0

    def after(self, took_s: float) -> float:
        """Return the seconds from the beginning of a snapshot that took so long to that of the next."""
        return max(self.interval_s, took_s / self.share)


def _watch(
    watcher: Watcher,
    show: Show,
    conditions: list[WatchCondition],
    pace: SnapshotPace,
    looks: int | None,
) -> Violation | None:
    """Show snapshot after snapshot; return the first violation, or None after the last snapshot.

    Without an end, one that cannot be taken is passed over: what the host lacks now it may have later.
    """
    due_s, failures = monotonic(), 0
    for number in numbers(1):
        began_s = monotonic()
        try:
            look = watcher.snapshot()
        except (OSError, MemoryError, HostError) as error:
            if number == 1 or looks or watcher.has_lost_its_process():
                raise
            show.failure()
            if not failures:
                complain(f"no snapshot: {shortage.behind(error) or error}; trying again")
            failures += 1
            interval_s = pace.interval_s
        else:
            if failures:
                complain(f"snapshots again, after {failures:,} that could not be taken")
            failures = 0
            took_s = monotonic() - began_s
            interval_s = pace.after(took_s)
            show.snapshot(look, Timing(took_s, interval_s))
            for condition in conditions:
                if violation := condition.violation(look):
                    return violation
        if number == looks:
            break
        due_s = max(due_s + interval_s, monotonic())  # a snapshot that is late shifts those after it
        sleep(max(due_s - monotonic(), 0))
    return None


def _show_json(top: int | None) -> Show:
    from loadgen.watch.plain import TOP, as_json

    return Show(lambda look, _timing: click.echo(json.dumps(as_json(look, top or TOP))))


def _show_on(screen: Screen) -> Show:
    return Show(lambda look, _timing: screen.show(look), screen.hide)


def _screen(top: int | None, style: ProgressStyle, *, once: bool) -> Screen:
    from loadgen.views.text.watch import screen_for

    made = console(style=style)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _FILE_WIDTH
    return screen_for(made, top, style, once=once)
