"""`loadgen watch --exporter`: its options, the socket that it listens on, and the snapshots as metrics."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from click.core import ParameterSource

from loadgen.cli import options
from loadgen.cli.streams import complain
from loadgen.errors import UsageError
from loadgen.model import Endpoint

if TYPE_CHECKING:
    from loadgen.watch.snapshot import Snapshot

#: Time between snapshots if none is given.
INTERVAL_S: Final = 5.0
#: Share of the time that snapshots may take.
SHARE: Final = 1 / 20
#: Options that have no meaning with --exporter.
_OTHER_OUTPUTS: Final = ("once", "as_json", "inbound")

given: Final = options.all_of(
    click.option(
        "--exporter",
        metavar="ADDR:PORT",
        help="Serve the snapshots as Prometheus metrics, and print none: by default every 5 s, with the 20 fullest "
        "pairs and sources (--top).",
    ),
    click.option(
        "--exporter-public",
        is_flag=True,
        help="Permit --exporter to listen on an address that other machines can reach, unencrypted.",
    ),
)


class Timing(NamedTuple):
    """How long a snapshot took, and the time from its beginning to that of the next."""

    took_s: float
    interval_s: float


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Show:
    """The use of a snapshot, and, before stderr says why, of one that could not be taken."""

    snapshot: Callable[[Snapshot, Timing], None]
    failure: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket that listens, and where it was asked to."""

    at: Endpoint
    listener: socket.socket


def listening(address: str | None, *, public: bool) -> Listening | None:
    """Return the socket of --exporter ADDR:PORT; None without.

    It is made before another network namespace is entered, so that the metrics are where the command was called.

    Raises: UsageError, HostError.
    """
    if address is None:
        if public:
            raise UsageError("--exporter-public says where --exporter may listen; add --exporter ADDR:PORT")
        return None
    context = click.get_current_context()
    for name in _OTHER_OUTPUTS:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = next(option for option in context.command.params if option.name == name)
            raise click.UsageError(f"--exporter serves metrics until Ctrl-C; leave out {option.opts[0]}")
    from loadgen.views.dashboard.address import EXPORTER, listen_at, listener_at

    at = listen_at(address, public=public, option=EXPORTER)
    return Listening(at, listener_at(at, EXPORTER))


@contextmanager
def serving(found: Listening, top: int | None) -> Iterator[Show]:
    """Serve metrics in this context, and say where."""
    from loadgen.views.exporter.metrics import TOP, Watching, exposition
    from loadgen.views.exporter.server import Exporter

    watching = Watching(top or TOP)
    with Exporter(found.listener, found.at) as exporter:

        def snapshot(look: Snapshot, timing: Timing) -> None:
            first = watching.look is None
            watching.update(look, took_s=timing.took_s, pause_s=timing.interval_s, at_s=time() - timing.took_s)
            exporter.publish(exposition(watching))
            if first:
                complain(f"metrics at {exporter.url}")

        def failure() -> None:
            watching.failures += 1
            exporter.publish(exposition(watching))

        yield Show(snapshot, failure)
