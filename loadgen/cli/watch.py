"""`loadgen watch`: how full each destination is, look after look."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count as numbers
from time import monotonic, sleep
from types import FrameType
from typing import TYPE_CHECKING

import click

from loadgen.cli.streams import EPILOG, complain, console, reader_may_leave
from loadgen.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from loadgen.views.text.watch import Screen
    from loadgen.watch.conditions import Condition, Violation
    from loadgen.watch.filters import Network
    from loadgen.watch.snapshot import Look, Watcher

_INTERVAL_MIN_S, _INTERVAL_MAX_S = 0.1, 3600.0
#: A file has no width; on this many columns hardly anything folds.
_FILE_WIDTH = 160


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


def _conditions(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[Condition]:
    from loadgen.watch.conditions import Condition

    with _as_bad_parameter():
        return [Condition.parse(text) for text in texts]


@contextmanager
def _as_bad_parameter() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(epilog=EPILOG)
@click.option(
    "--interval", metavar="DURATION", default="1s", show_default=True, callback=_interval, help="Time between looks."
)
@click.option("--once", is_flag=True, help="One look, then end.")
@click.option("--count", "looks", metavar="N", type=click.IntRange(1), help="N looks, then end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each look on stdout, each on one line.")
@click.option("--pid", metavar="PID", type=click.IntRange(1), help="Only sockets of this process.")
@click.option(
    "--netns",
    metavar="PID",
    type=click.IntRange(1),
    help="Look into the network namespace that this process lives in; takes CAP_SYS_ADMIN.",
)
@click.option("--source", metavar="ADDR", callback=_source, help="Only from this address or CIDR.")
@click.option(
    "--destination",
    metavar="ADDR[:PORT]",
    callback=_destination,
    help="Only to this address or CIDR and port; either may be left out, 10.0.0.0/8 or :443.",
)
@click.option("--inbound", is_flag=True, help="List connections that came in, too.")
@click.option(
    "--top", metavar="N", type=click.IntRange(1), help="So many groups; by default what the terminal holds, else 10."
)
@click.option(
    "--fail-if",
    "conditions",
    metavar="CONDITION",
    multiple=True,
    callback=_conditions,
    help="End with exit code 99 as soon as a look meets it, 'used > 80%'; repeatable. Names: used, free, in_use, "
    "time_wait, exhausts_in, bound.",
)
def watch(
    interval: float,
    once: bool,
    looks: int | None,
    as_json: bool,
    pid: int | None,
    netns: int | None,
    source: Network | None,
    destination: tuple[Network | None, int],
    inbound: bool,
    top: int | None,
    conditions: list[Condition],
) -> None:
    """Watch how full each destination is, on any Linux host, until Ctrl-C.

    For each source address and destination: four-tuples in use, in TIME-WAIT and free, how fast they
    grow, when they are used up, and whose they are. Nothing is changed, and nothing sent. Ctrl-C is
    the normal end, with exit code 0; a condition of --fail-if that is met ends it with 99.

    \b
    Examples:
      loadgen watch
      loadgen watch --destination 10.0.0.7:443 --interval 5s
      loadgen watch --once --json | jq .groups[0]
      loadgen watch --count 3 --fail-if 'used > 80%' --fail-if 'exhausts_in < 60s'
      loadgen watch --netns 4711                 the namespace of a container or a lab
    """
    if once and looks is not None:
        raise click.UsageError("--once is --count 1; leave one of them out")
    looks = 1 if once else looks
    if looks == 1 and any(condition.name == "exhausts_in" for condition in conditions):
        raise click.UsageError("exhausts_in is known from the second look on; use --count 3 or more")
    with _until_interrupted(), reader_may_leave(), ExitStack() as stack:
        _go_to(netns, pid)

        from loadgen.watch.filters import Ends
        from loadgen.watch.snapshot import Watcher

        watcher = stack.enter_context(Watcher(Ends(source, *destination), pid=pid or 0, inbound=inbound))
        show = _show_json(top) if as_json else stack.enter_context(_screen(top, once=looks == 1)).show
        violation = _watch(watcher, show, conditions, interval, looks)
        stack.close()  # so that the complaint stands below the table
        if violation:
            complain(violation)
            sys.exit(ExitCode.EXPECTATION)


def _go_to(netns: int | None, pid: int | None) -> None:
    """Into the namespace of a process, while there are no threads yet. Raises: HostError, UsageError."""
    from loadgen.watch import netns as namespaces

    if netns is not None:
        namespaces.enter(netns)
    if pid is not None and not namespaces.same(pid):
        raise UsageError(f"process {pid} lives in another network namespace; add --netns {pid}")


def _watch(
    watcher: Watcher, show: Callable[[Look], None], conditions: list[Condition], interval_s: float, looks: int | None
) -> Violation | None:
    """Look after look; the first violation, or None after the last look."""
    due_s = monotonic()
    for number in numbers(1):
        look = watcher.look()
        show(look)
        for condition in conditions:
            if violation := condition.violation(look):
                return violation
        if number == looks:
            break
        due_s = max(due_s + interval_s, monotonic())  # whoever is late does not catch up
        sleep(max(due_s - monotonic(), 0))
    return None


def _show_json(top: int | None) -> Callable[[Look], None]:
    from loadgen.watch.snapshot import TOP, as_json

    return lambda look: click.echo(json.dumps(as_json(look, top or TOP)))


def _screen(top: int | None, *, once: bool) -> Screen:
    from loadgen.views.text.watch import screen_for

    made = console()
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _FILE_WIDTH
    return screen_for(made, top, once=once)


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM end it well."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
