"""Memory shared by the processes of a run: an array of records, one for each process.

An anonymous memory file (memfd_create(2)) has no name, so nothing is left to clean up, and a killed process leaves its
record behind. Each process writes its own record only and readers read at any time, so no lock is needed.
"""

from __future__ import annotations

import mmap
import os

import numpy as np
from numpy.typing import NDArray

from loadgen import shortage


class Blocks:
    """A shared array of equal records, one for each process.

    `records` is a numpy structured array (count,). Each record starts on a page of its own, so that
    two processes never write to one cache line.
    """

    def __init__(self, fd: int, dtype: np.dtype[np.void], count: int) -> None:
        self.fd = fd
        padding = -dtype.itemsize % mmap.PAGESIZE
        padded = np.dtype([*dtype.descr, ("", f"V{padding}")]) if padding else dtype
        size = padded.itemsize * count
        with shortage.needing("memory that processes share (ftruncate(), mmap())"):
            if os.fstat(fd).st_size < size:
                os.ftruncate(fd, size)
            shared = mmap.mmap(fd, size)
        self.records: NDArray[np.void] = np.frombuffer(shared, dtype=padded, count=count)

    @classmethod
    def create(cls, name: str, dtype: np.dtype[np.void], count: int) -> Blocks:
        """Return new zeroed blocks; `name` only shows in /proc/<pid>/maps. Raises: HostError."""
        return cls(shortage.memory_file(name), dtype, count)

    def close(self) -> None:
        """Release the memory, unless a caller still holds `records`; harmless when repeated."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd, self.records = -1, self.records[:0].copy()
