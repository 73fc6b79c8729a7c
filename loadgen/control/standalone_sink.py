"""`loadgen sink`: the listening side on its own, for a load that comes from somewhere else."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from loadgen.capacity import RESERVED_DESCRIPTORS
from loadgen.errors import HostError, IncompleteError, UsageError
from loadgen.kernel import sysctl
from loadgen.model import Endpoint, Manners
from loadgen.processes.fleet import Fleet, Member, how_it_ended
from loadgen.processes.shared_memory import Blocks
from loadgen.sink import sink
from loadgen.sink.certificates import Certificates, issue

#: Source addresses told apart; later ones are counted together as "others".
_SOURCES: Final = 1024
_READY_TIMEOUT_S: Final = 30.0
_INTERVAL_S: Final = 1.0


async def serve(
    endpoints: Sequence[Endpoint],
    workers: int | None,
    say: Callable[[str], None],
    manners: Manners | None = None,
    certificates: Certificates | None = None,
) -> dict[str, Any]:
    """Listen on `endpoints` with `workers` processes (default: one per core) until SIGINT or SIGTERM.

    say: called with a line when the counts have changed, once per second.
    manners: of all endpoints; None: the plain ones. certificates: where they include TLS.

    Returns: {accepted, open, sources}, as of the end.
    Raises: HostError when an address cannot be listened on; IncompleteError when a process was lost.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    lost: list[Member] = []

    def on_lost(member: Member) -> None:
        lost.append(member)
        stop.set()

    count = workers or len(os.sched_getaffinity(0))
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = max(descriptors - RESERVED_DESCRIPTORS - len(endpoints), 0)
    blocks = Blocks.create("loadgen-sinks", sink.block_dtype(_SOURCES), count)
    fleet = Fleet(on_lost)
    try:
        await fleet.zygote.call("loadgen.sink.sink:require_free", tuple(endpoints))
        if certificates:
            await fleet.zygote.call("loadgen.sink.behaviour.tls:prepare", certificates)
        shards = [
            sink.SinkShard(
                tuple(endpoints),
                index,
                count,
                _SOURCES,
                descriptors,
                manners=dict.fromkeys(endpoints, manners or Manners()),
                certificates=certificates,
            )
            for index in range(count)
        ]
        await fleet.start("sink", "loadgen.sink.sink:main", shards, blocks_fd=blocks.fd, timeout_s=_READY_TIMEOUT_S)
        say(
            f"listening on {', '.join(map(str, endpoints))} with {count} processes, room for "
            f"{count * room:,} connections, accept queue {accept_queue():,} each; Ctrl-C ends it"
        )
        said: dict[str, int] = {}
        while not stop.is_set():
            now = sink.totals(blocks)
            if now != said:
                say(f"{now['accepted']:,} accepted, {now['open']:,} open")
                said = now
            try:
                await asyncio.wait_for(stop.wait(), _INTERVAL_S)
            except TimeoutError:
                pass
        if lost:
            await fleet.exit_code_of(lost[0])
            raise IncompleteError(f"{lost[0]} was {how_it_ended(lost[0])}")
        fleet.expect_ends()
        fleet.tell("sink", do="stop")
        await fleet.wait(lambda: not fleet.alive("sink"), _READY_TIMEOUT_S)
    finally:
        await fleet.stop()
    return {**sink.totals(blocks), "sources": sink.by_source(blocks)}


def manners_of(flags: Mapping[str, object]) -> Manners:
    """The manners that flags of the command line say: each is a key of `sink` in a scenario.

    Raises: UsageError that names the flag.
    """
    from pydantic import ValidationError

    from loadgen.scenario.messages import first_problem
    from loadgen.scenario.sinks import SinkSpec

    if not flags:
        return Manners()
    try:
        return SinkSpec.model_validate(flags).manners
    except ValidationError as error:
        key, words = first_problem(error, ("targets", "sink"))
        raise UsageError(f"--{key.replace('_', '-')}: {words}") from None


@contextmanager
def certified(
    endpoints: Sequence[Endpoint],
    manners: Manners,
    certificate: Path | None,
    key: Path | None,
    ca_out: Path | None,
    say: Callable[[str], None],
) -> Iterator[Certificates | None]:
    """The certificate to show where the manners include TLS: of these files, or made for the endpoints now.

    ca_out: where to write the authority of one that is made; None: a file that is there for as long as the sink is.
    say: called with where that is. Raises: UsageError for files that cannot be meant; HostError when ca_out cannot
    be written.
    """
    for flag, path, partner, needed in (
        ("--certificate", certificate, "--tls", manners.tls),
        ("--key", key, "--tls", manners.tls),
        ("--ca-out", ca_out, "--tls", manners.tls),
        ("--certificate", certificate, "--key", key),
        ("--key", key, "--certificate", certificate),
    ):
        if path and not needed:
            raise UsageError(f"{flag} goes with {partner}; add it, or leave {flag} out")
    if ca_out and certificate:
        raise UsageError("--ca-out is for a certificate that is made, not for one of yours; leave it out")
    if not manners.tls:
        yield None
    elif certificate and key:
        yield _read_certificate(certificate, key, manners)
    else:
        made = issue(["localhost", *dict.fromkeys(endpoint.address for endpoint in endpoints)])
        with _written(made.ca_pem, ca_out) as path:
            say(f"clients have to trust {path}")
            yield made


@contextmanager
def _written(text: str, path: Path | None) -> Iterator[Path]:
    if path is None:
        with NamedTemporaryFile("w", prefix="loadgen-ca-", suffix=".pem") as file:
            file.write(text)
            file.flush()
            yield Path(file.name)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise HostError(f"{path} cannot be written ({error.strerror}); give another --ca-out") from error
    yield path


def _read_certificate(certificate: Path, key: Path, manners: Manners) -> Certificates:
    from loadgen.sink.behaviour.tls import server_context

    try:
        found = Certificates("", certificate.read_text(), key.read_text())
        server_context(found, manners.speaks)
    except (OSError, UnicodeDecodeError, ssl.SSLError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
        message = f"{certificate} and {key} are no certificate and its key in PEM ({reason}); give others, or leave "
        raise UsageError(message + "both out and have one made") from error
    return found


def accept_queue() -> int:
    """How many connections may wait to be accepted: the backlog asked for, cut to net.core.somaxconn."""
    return min(sink.BACKLOG, int(sysctl.read("net.core.somaxconn") or sink.BACKLOG))


def describe(counts: dict[str, Any]) -> str:
    """The final counts in lines: one for all, one for each source address."""
    lines = [f"accepted {counts['accepted']:,}, still open {counts['open']:,}"]
    lines += [
        f"  {row['source']:<40} {row['accepted']:>12,} connections, {row['source_ports']:>6,} source ports"
        for row in counts["sources"]
    ]
    return "\n".join(lines)
