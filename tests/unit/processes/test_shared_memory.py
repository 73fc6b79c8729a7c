"""Memory that processes share: records on pages of their own, which outlive their writer."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from loadgen.processes.shared_memory import Blocks


@pytest.mark.parametrize("numbers", [1, 511, 512, 1000])
def test_each_record_begins_on_a_page_of_its_own_and_is_zero(numbers: int) -> None:
    blocks = Blocks.create("test", np.dtype([("numbers", "i8", (numbers,))]), 3)
    size = os.fstat(blocks.fd).st_size
    os.close(blocks.fd)
    assert blocks.records.dtype.itemsize % mmap.PAGESIZE == 0
    assert size == 3 * blocks.records.dtype.itemsize
    assert not any(blocks.records.tobytes())


def test_a_layout_that_fills_its_pages_gets_no_padding() -> None:
    blocks = Blocks.create("test", np.dtype([("page", "u1", (mmap.PAGESIZE,))]), 2)
    os.close(blocks.fd)
    assert blocks.records.dtype.itemsize == mmap.PAGESIZE


def test_numbers_written_through_another_mapping_of_the_descriptor_are_seen_and_stay() -> None:
    """The orchestrator reads the counts of a worker, also when the worker is gone."""
    dtype = np.dtype([("count", "i8")])
    ours = Blocks.create("test", dtype, 2)
    theirs = Blocks(ours.fd, dtype, 2)
    os.close(ours.fd)
    theirs.records["count"][1] = 7
    del theirs
    assert ours.records["count"].tolist() == [0, 7]


def test_closing_lets_go_of_the_descriptor_and_may_be_repeated() -> None:
    blocks = Blocks.create("test", np.dtype([("count", "i8")]), 2)
    fd = blocks.fd
    blocks.close()
    blocks.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert len(blocks.records) == 0
