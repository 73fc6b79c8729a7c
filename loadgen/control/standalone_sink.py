"""`loadgen sink`: sink processes without a run, for a load that comes from another host."""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from loadgen import shortage
from loadgen.capacity import RESERVED_DESCRIPTORS
from loadgen.control.watching import LOOK_S, Watch
from loadgen.errors import HostError, IncompleteError, InterruptedRunError, UsageError
from loadgen.kernel import sysctl
from loadgen.model import Endpoint, SinkBehaviour
from loadgen.processes.fleet import Fleet, Member, how_it_was_lost
from loadgen.processes.shared_memory import Blocks
from loadgen.sink import counts, sink
from loadgen.sink.accept_queues import BACKLOG
from loadgen.sink.certificates import Certificates, issue

#: Maximum source addresses counted separately; later ones are counted together as "others".
_SOURCES: Final = 1024
_READY_TIMEOUT_S: Final = 30.0
#: Looks at the sinks between two lines of counts, which come once per second.
_LOOKS_PER_LINE: Final = round(1 / LOOK_S)
#: Time for the sinks to end when they are told to.
_END_TIMEOUT_S: Final = 5.0

#: {accepted, open, sources, failures}
Counts = dict[str, Any]


class Stop:
    """Ends `serve`. event: set when it is to end. at_once: kills its processes."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.at_once: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        """Once: let the processes end by themselves. Twice: kill them. Safe from a signal handler of the loop."""
        if self.event.is_set():
            self.at_once()
        self.event.set()


async def serve(
    endpoints: Sequence[Endpoint],
    workers: int | None,
    say: Callable[[str], None],
    behaviour: SinkBehaviour | None = None,
    certificates: Certificates | None = None,
    *,
    stop: Stop,
) -> Counts:
    """Listen on `endpoints` with `workers` processes (default: one per core) until `stop`.

    say: called at most once per second with a line, when the counts have changed.
    behaviour: of all endpoints; None: a plain echo. certificates: for a behaviour with TLS.

    Returns: {accepted, open, sources, failures} at the end.
    Raises: HostError if an address cannot be listened on; IncompleteError if a process was lost; InterruptedRunError
        after a second signal before it listens.
    """
    lost: list[Member | str] = []

    def on_lost(what: Member | str) -> None:
        lost.append(what)
        stop.event.set()

    count = workers or len(os.sched_getaffinity(0))
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = descriptors - RESERVED_DESCRIPTORS - len(endpoints)
    if room <= 0:
        raise HostError(shortage.descriptors())
    blocks = Blocks.create("loadgen-sinks", counts.block_dtype(_SOURCES), count)
    fleet = Fleet(on_lost, on_lost)
    watch = Watch(fleet, {"sink": partial(counts.heartbeats, blocks)}, lambda _kind, text, _at=None, **_more: say(text))
    stop.at_once = fleet.kill
    try:
        shards = [
            sink.SinkShard(
                tuple(endpoints),
                index,
                count,
                _SOURCES,
                descriptors,
                behaviours=dict.fromkeys(endpoints, behaviour or SinkBehaviour()),
                certificates=certificates,
            )
            for index in range(count)
        ]
        try:
            await _start(fleet, shards, blocks)
        except IncompleteError as error:
            if stop.event.is_set() and not lost:
                raise InterruptedRunError("interrupted before it listened") from error
            raise
        say(
            f"listening on {', '.join(map(str, endpoints))} with {count} processes, room for "
            f"{count * room:,} connections, accept queue {accept_queue():,} each; Ctrl-C ends it"
        )
        previous = ""
        looks = 0
        while not stop.event.is_set():
            current = _line(blocks)
            if looks % _LOOKS_PER_LINE == 0 and current != previous:
                say(current)
                previous = current
            try:
                await asyncio.wait_for(stop.event.wait(), LOOK_S)
            except TimeoutError:
                looks += 1
                watch.look(may_give_up=True)
        if lost:
            raise IncompleteError(f"{await _cause(fleet, lost)}; start it again")
        if stalled := watch.stalled("sink"):
            raise IncompleteError(f"{stalled[0]} gives no sign of life, so its counts are not final")
        fleet.tell("sink", do="stop")
        await fleet.wait(lambda: not fleet.alive("sink"), _END_TIMEOUT_S)
        if left := fleet.alive("sink"):
            raise IncompleteError(f"{left[0]} did not end within {_END_TIMEOUT_S:.0f} s, so its counts are not final")
    finally:
        await fleet.stop()
    return {**counts.totals(blocks), "sources": counts.by_source(blocks), "failures": counts.failures(blocks)}


async def _start(fleet: Fleet, shards: Sequence[sink.SinkShard], blocks: Blocks) -> None:
    endpoints, certificates = shards[0].endpoints, shards[0].certificates
    await fleet.zygote.call("loadgen.sink.binding:require_free", endpoints)
    if certificates:
        await fleet.zygote.call("loadgen.sink.behaviour.tls:prepare", certificates)
    await fleet.start("sink", "loadgen.sink.sink:main", shards, blocks_fd=blocks.fd, timeout_s=_READY_TIMEOUT_S)


async def _cause(fleet: Fleet, lost: Sequence[Member | str]) -> str:
    """Return the sentence on what was lost: the zygote, or else the first sink."""
    first = lost[0]
    if isinstance(first, Member):
        await fleet.exit_code_of(first)
    sentences = (text for text in lost if isinstance(text, str))
    return next(sentences, f"{first} {how_it_was_lost(first)}" if isinstance(first, Member) else first)


def _line(blocks: Blocks) -> str:
    current, failures = counts.totals(blocks), counts.failures(blocks)
    survived = f", {sum(failures.values()):,} failures survived" if failures else ""
    return f"{current['accepted']:,} accepted, {current['open']:,} open{survived}"


def behaviour_of(flags: Mapping[str, object]) -> SinkBehaviour:
    """Return the behaviour given by command-line flags; each is a key of `sink` in a scenario.

    Raises: UsageError that names the flag.
    """
    from pydantic import ValidationError

    from loadgen.scenario.messages import first_mistake
    from loadgen.scenario.sinks import SinkSpec

    if not flags:
        return SinkBehaviour()
    try:
        return SinkSpec.model_validate(flags).behaviour
    except ValidationError as error:
        key, message = first_mistake(error, ("targets", "sink"))
        raise UsageError(f"--{key.replace('_', '-')}: {message}") from None


@contextmanager
def certified(
    endpoints: Sequence[Endpoint],
    behaviour: SinkBehaviour,
    certificate: Path | None,
    key: Path | None,
    ca_out: Path | None,
    say: Callable[[str], None],
) -> Iterator[Certificates | None]:
    """Yield the certificate for a behaviour with TLS, read from these files or issued for the endpoints; else None.

    ca_out: where to write the authority of an issued certificate; None: a temporary file, removed at the end.
    say: called with a line that names the file.
    Raises: UsageError for flags that do not go together and for malformed files; HostError if ca_out cannot be
    written.
    """
    for flag, path, partner, needed in (
        ("--certificate", certificate, "--tls", behaviour.tls),
        ("--key", key, "--tls", behaviour.tls),
        ("--ca-out", ca_out, "--tls", behaviour.tls),
        ("--certificate", certificate, "--key", key),
        ("--key", key, "--certificate", certificate),
    ):
        if path and not needed:
            raise UsageError(f"{flag} goes with {partner}; add it, or leave {flag} out")
    if ca_out and certificate:
        raise UsageError("--ca-out applies to a certificate that loadgen issues, not to --certificate; leave it out")
    if not behaviour.tls:
        yield None
    elif certificate and key:
        yield _read_certificate(certificate, key, behaviour)
    else:
        issued = issue(["localhost", *dict.fromkeys(endpoint.address for endpoint in endpoints)])
        with _written(issued.ca_pem, ca_out) as path:
            say(f"clients have to trust {path}")
            yield issued


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


def _read_certificate(certificate: Path, key: Path, behaviour: SinkBehaviour) -> Certificates:
    from loadgen.sink.behaviour.tls import server_context

    try:
        certificates = Certificates("", certificate.read_text(), key.read_text())
        server_context(certificates, behaviour.speaks)
    except (OSError, UnicodeDecodeError, ssl.SSLError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
        raise UsageError(
            f"{certificate} and {key} are not a certificate and its key in PEM ({reason}); give other files, or leave "
            "both flags out and let loadgen issue one"
        ) from error
    return certificates


def accept_queue() -> int:
    """Return the maximum length of the accept queue: the backlog asked for, cut to net.core.somaxconn."""
    return min(BACKLOG, int(sysctl.read("net.core.somaxconn") or BACKLOG))


def describe(result: Counts) -> str:
    """Return the final counts as text: a line for all connections, one for each source address and kind of failure."""
    lines = [f"accepted {result['accepted']:,}, still open {result['open']:,}"]
    lines += [
        f"  {row['source']:<40} {row['accepted']:>12,} connections, {row['source_ports']:>6,} source ports"
        for row in result["sources"]
    ]
    lines += [f"  {kind:<40} {times:>12,} failures survived" for kind, times in result["failures"].items()]
    return "\n".join(lines)
