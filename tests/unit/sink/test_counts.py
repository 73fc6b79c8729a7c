"""Totals over the blocks of several sink processes."""

from __future__ import annotations

import os

from loadgen.processes.shared_memory import Blocks
from loadgen.sink.counts import PORTS, SinkCounter, block_dtype, by_source, totals


def sinks(count: int, rows: int) -> Blocks:
    blocks = Blocks.create("test", block_dtype(rows), count)
    os.close(blocks.fd)
    return blocks


def fill(blocks: Blocks, index: int, row: int, address: str, accepted: int, *ports: int) -> None:
    record = blocks.records[index]
    record["addresses"][row] = address.encode()
    record["accepted"][row] = accepted
    for port in ports:
        record["seen"][row][port // 8] |= 1 << port % 8


def test_totals_are_sums_over_all_processes() -> None:
    blocks = sinks(3, 2)
    for index, (accepted, opened) in enumerate(((5, 4), (7, 0), (0, 0))):
        blocks.records["counters"][index, SinkCounter.ACCEPTED] = accepted
        blocks.records["counters"][index, SinkCounter.OPEN] = opened
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
