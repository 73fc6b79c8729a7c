"""The sentences about a trace as a whole: what it could not see, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.trace.run import TraceRecord
from loadgen.trace.tables import SOCKETS_MAX


def notes_of(record: TraceRecord) -> Iterator[str]:
    """Yield a sentence for each thing that a reader of the ways has to know."""
    follower = record.follower
    for command in follower.rings:
        yield (
            f"{command} uses io_uring and made no TCP connection by a system call: strace does not see what a ring "
            "opens; `loadgen watch` counts the sockets"
        )
    if follower.moved:
        yield (
            f"the program moved into another network namespace ({follower.moved.text[:80]}): capacities are those of "
            "the namespace of this command; use --netns"
        )
    if follower.unplaced:
        yield (
            f"connect() on sockets opened before the trace began, or inherited: {follower.unplaced:,} times, and the "
            "way of these is unknown"
        )
    if follower.left_out:
        yield f"not followed: {follower.left_out:,} sockets, because at most {SOCKETS_MAX:,} at once are"
    if not follower.calls:
        return
    calls = f"{follower.calls:,} call{'s' * (follower.calls != 1)}"
    yield (
        f"strace stopped the program {2 * follower.calls:,} times for {calls}: it runs slower than "
        "without (docs/trace.md has figures), and its rates are not those of production"
    )
