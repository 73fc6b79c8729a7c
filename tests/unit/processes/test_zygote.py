"""Messages between the orchestrator and its zygote, in files of memory."""

from __future__ import annotations

import errno
import os

import pytest

from loadgen.errors import HostError
from loadgen.processes.zygote import in_memory, read


def test_a_message_is_whole_though_the_kernel_takes_parts_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    with in_memory({"text": "x" * 100}) as fd:
        assert read(os.dup(fd)) == {"text": "x" * 100}


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EPIPE, errno.EIO, errno.ENOSPC, errno.ENOMEM])
def test_a_message_that_cannot_be_written_is_a_matter_of_the_host(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(_fd: int, _data: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(HostError), in_memory({"text": "x"}):
        pytest.fail("it was written")


@pytest.mark.parametrize("number", [errno.EINTR, errno.EIO])
def test_a_message_is_whole_though_its_file_cannot_be_closed(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, in_memory({"text": "x"}) as fd:
        patch.setattr(os, "close", refuse)
        assert read(fd) == {"text": "x"}
