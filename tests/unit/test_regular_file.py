"""Only a regular file is opened, and nothing is waited for."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from loadgen import regular_file


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_what_is_no_regular_file_is_named(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    make(tmp_path / "f")
    gc.collect()  # what earlier tests have left open
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=f"is {kind} and no regular file"):
        regular_file.opened(tmp_path / "f").__enter__()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_is_read_and_closed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with regular_file.opened(tmp_path / "f") as file:
        assert file.read() == b"x"
    assert file.closed
    with pytest.raises(FileNotFoundError):
        regular_file.opened(tmp_path / "none").__enter__()
    with pytest.raises(ValueError, match="null"):
        regular_file.opened(tmp_path / "no\0ne").__enter__()
