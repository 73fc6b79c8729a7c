"""`loadgen sink`: the listening side on its own, for a load that comes from somewhere else."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

from loadgen import sink
from loadgen.errors import IncompleteError
from loadgen.kernel import sysctl
from loadgen.launch.fleet import Fleet, Member, how_it_ended
from loadgen.metrics.recorder import Blocks
from loadgen.model import Endpoint

#: Source addresses told apart; later ones are counted together as "others".
_SOURCES: Final = 1024
_READY_TIMEOUT_S: Final = 30.0
_INTERVAL_S: Final = 1.0


async def serve(endpoints: Sequence[Endpoint], workers: int | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Listen on `endpoints` with `workers` processes (default: one per core) until SIGINT or SIGTERM.

    say: called with a line when the counts have changed, once per second.

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
    blocks = Blocks.create("loadgen-sinks", sink.block_dtype(_SOURCES), count)
    fleet = Fleet(on_lost)
    try:
        await fleet.zygote.call("loadgen.sink:require_free", tuple(endpoints))
        shards = [sink.SinkShard(tuple(endpoints), index, count, _SOURCES, descriptors) for index in range(count)]
        await fleet.start("sink", "loadgen.sink:main", shards, blocks_fd=blocks.fd, timeout_s=_READY_TIMEOUT_S)
        say(
            f"listening on {', '.join(map(str, endpoints))} with {count} processes, room for "
            f"{count * (descriptors - 16):,} connections, accept queue {accept_queue():,} each; Ctrl-C ends it"
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
