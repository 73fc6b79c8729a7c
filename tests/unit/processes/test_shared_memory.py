"""Blocks are one record per process, on pages of their own, until they are closed."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from loadgen.processes.shared_memory import Blocks


@pytest.mark.parametrize("size", [8, mmap.PAGESIZE, mmap.PAGESIZE + 8])
def test_each_record_begins_on_a_page_of_its_own(size: int) -> None:
    blocks = Blocks.create("test", np.dtype([("bytes", "u1", (size,))]), 3)
    assert blocks.records.shape == (3,)
    assert blocks.records.dtype.itemsize % mmap.PAGESIZE == 0
    assert not blocks.records["bytes"].any()
    blocks.close()


def test_two_mappings_of_one_descriptor_share_the_records() -> None:
    dtype = np.dtype([("count", "i8")])
    writer = Blocks.create("test", dtype, 2)
    reader = Blocks(os.dup(writer.fd), dtype, 2)
    writer.records["count"][1] = 7
    assert reader.records["count"].tolist() == [0, 7]
    for blocks in (writer, reader):
        blocks.close()


def test_closing_releases_descriptor_and_memory_and_can_be_repeated() -> None:
    blocks = Blocks.create("test", np.dtype([("count", "i8")]), 1)
    fd = blocks.fd
    for _ in range(2):
        blocks.close()
    assert (blocks.fd, blocks.records.size) == (-1, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
