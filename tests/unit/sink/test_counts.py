"""Totals over the blocks of several sink processes."""

from __future__ import annotations

import errno
import os
import ssl
from array import array

from loadgen.processes.shared_memory import Blocks
from loadgen.sink.counts import PORTS, SinkCounter, SurvivedFailures, block_dtype, by_source, failures, publish, totals
from tests.unit.killed import Stores, at_every_store

NO_COUNTS = array("q", [0]) * len(SinkCounter)


def sinks(count: int, rows: int) -> Blocks:
    blocks = Blocks.create("test", block_dtype(rows), count)
    os.close(blocks.fd)
    return blocks


def fill(blocks: Blocks, index: int, row: int, address: str, accepted: int, *ports: int) -> None:
    record = blocks.records[index]
    record["addresses"][row] = address.encode()
    record["counts"]["accepted"][:, row] = accepted
    for port in ports:
        record["seen"][row][port // 8] |= 1 << port % 8


def test_totals_are_sums_over_all_processes() -> None:
    blocks = sinks(3, 2)
    for index, (accepted, opened) in enumerate(((5, 4), (7, 0), (0, 0))):
        counters = array("q", [0]) * len(SinkCounter)
        counters[SinkCounter.ACCEPTED], counters[SinkCounter.OPEN] = accepted, opened
        publish(blocks.records[index], counters, array("q", [0, 0]), SurvivedFailures())
    assert totals(blocks) == {"accepted": 12, "open": 4}


def test_a_source_is_counted_over_all_processes() -> None:
    """Its row may differ between processes; a source port that two sinks have seen is one port."""
    blocks = sinks(2, 3)
    fill(blocks, 0, 0, "127.0.0.2", 3, 1, 40_000, PORTS - 1)
    fill(blocks, 0, 1, "127.0.0.3", 1, 40_000)
    fill(blocks, 1, 0, "127.0.0.3", 2, 40_000, 40_001)
    assert by_source(blocks) == [
        {"source": "127.0.0.2", "accepted": 3, "source_ports": 3},
        {"source": "127.0.0.3", "accepted": 3, "source_ports": 2},
    ]


def test_the_row_without_an_address_counts_all_others() -> None:
    blocks = sinks(1, 2)
    fill(blocks, 0, 1, "", 4, 1, 2)
    assert by_source(blocks) == [{"source": "others", "accepted": 4, "source_ports": 2}]
    assert by_source(sinks(2, 2)) == []


def test_the_longest_address_fits_into_a_row() -> None:
    longest = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%interface-15-ch"
    blocks = sinks(1, 1)
    fill(blocks, 0, 0, longest, 1, 1)
    assert by_source(blocks)[0]["source"] == longest


def test_failures_are_counted_by_place_and_reason_over_all_processes() -> None:
    blocks = sinks(2, 1)
    for record in blocks.records:
        survived = SurvivedFailures()
        survived.add("accept4", OSError(errno.ENOBUFS, "no buffers"))
        survived.add("tls", ssl.SSLError(1, "[SSL] reason unknown"))
        survived.add("connection", ValueError("text"))
        survived.add("accept4", OSError(errno.ENOBUFS, "no buffers"))
        publish(record, NO_COUNTS, array("q", [0]), survived)
    assert failures(blocks) == {"accept4 ENOBUFS": 4, "tls SSLError": 2, "connection ValueError": 2}
    assert failures(sinks(2, 1)) == {}


def test_a_client_that_goes_is_no_failure() -> None:
    blocks, survived = sinks(1, 1), SurvivedFailures()
    for number in (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT):
        survived.add("read", OSError(number, ""))
        survived.add("write", OSError(number, ""))
    publish(blocks.records[0], NO_COUNTS, array("q", [0]), survived)
    assert failures(blocks) == {}


def test_kinds_of_failures_beyond_the_table_are_counted_together() -> None:
    blocks, survived = sinks(1, 1), SurvivedFailures()
    for number in range(100):
        survived.add("tls", f"REASON_{number}" * 9)
    publish(blocks.records[0], NO_COUNTS, array("q", [0]), survived)
    found = failures(blocks)
    assert (len(found), sum(found.values()), found["other failures"]) == (32, 100, 69)


def test_a_sink_that_is_killed_at_any_store_leaves_sums_that_hold() -> None:
    """What it accepted is the sum over its sources, and every failure has its kind."""
    blocks = sinks(1, 3)
    record = blocks.records[0]
    record["addresses"] = [b"127.0.0.2", b"127.0.0.3", b""]
    seen = []

    def serve(stores: Stores) -> None:
        survived, accepted, counters = SurvivedFailures(), array("q", [0, 0, 0]), NO_COUNTS[:]
        for n in range(1, 4):
            for row in range(3):
                accepted[row] += n
            counters[SinkCounter.ACCEPTED] = sum(accepted)
            survived.add("accept4", OSError(n, ""))
            publish(stores, counters, accepted, survived)

    for _ in at_every_store(record, serve):
        total = totals(blocks)["accepted"]
        assert sum(row["accepted"] for row in by_source(blocks)) == total
        assert sum(failures(blocks).values()) == len(failures(blocks)) == (0, 3, 9, 18).index(total)
        seen.append(total)
    assert seen == sorted(seen)
    assert set(seen) == {0, 3, 9, 18}
