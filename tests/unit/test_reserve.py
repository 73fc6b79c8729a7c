"""Descriptors that are free when they are needed."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen import reserve


@pytest.fixture
def _limited() -> Iterator[None]:
    """The reserve is taken, and this process may open no further file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserve.take()
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    yield
    reserve.release()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_limited")
def test_files_can_be_opened_once_it_is_released() -> None:
    with pytest.raises(OSError, match="Too many open files"):
        Path(__file__).read_text()
    reserve.release()
    reserve.release()
    with Path(__file__).open() as first, Path(__file__).open() as second:
        assert first.read() == second.read()


@pytest.mark.usefixtures("_limited")
def test_it_takes_what_there_is_and_keeps_what_it_has() -> None:
    before = list(reserve._held)
    reserve.take()
    assert reserve._held == before
    reserve.release()
    first, second = os.dup(0), os.dup(0)
    reserve.take()
    assert 0 < len(reserve._held) < len(before)
    os.close(first)
    os.close(second)
    reserve.take()
    assert len(reserve._held) == len(before)
