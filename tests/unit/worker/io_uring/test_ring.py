"""Why there is no ring, in words; the rings themselves are in tests/lab/test_uring.py."""

from __future__ import annotations

from errno import EAGAIN, EBUSY, EFAULT, EINTR, EINVAL, EMFILE, ENOSYS, EPERM
from pathlib import Path

import pytest

from loadgen.errors import HostError
from loadgen.worker.io_uring import ring
from loadgen.worker.io_uring.abi import Op
from loadgen.worker.io_uring.ring import why_no_operation, why_no_ring


@pytest.mark.parametrize(
    ("number", "disabled", "words"),
    [
        (EPERM, "2", "sysctl -w kernel.io_uring_disabled=0"),
        (EPERM, "1", "kernel.io_uring_disabled is 1"),
        (EPERM, "0", "seccomp"),
        (EPERM, "", "seccomp"),
        (ENOSYS, "", "no io_uring"),
        (EINVAL, "0", "Linux 6.11"),
        (EMFILE, "0", "Too many open files"),
    ],
)
def test_each_errno_of_setup_has_its_reason(number: int, disabled: str, words: str) -> None:
    assert words in why_no_ring(number, disabled)


def test_the_sysctl_is_not_blamed_for_another_errno() -> None:
    assert "disabled" not in why_no_ring(ENOSYS, "2")


def test_a_missing_operation_is_named_with_its_version() -> None:
    everything = frozenset(Op)
    assert why_no_operation(everything) == ""
    assert why_no_operation(frozenset(range(64))) == ""
    for op, version in ((Op.BIND, "6.11"), (Op.FIXED_FD_INSTALL, "6.8"), (Op.SOCKET, "5.19")):
        reason = why_no_operation(everything - {op})
        assert f"no {op.name}" in reason
        assert version in reason


def test_a_host_that_forbids_it_is_told_before_and_instead_of_a_ring(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbid(*_: object) -> int:
        raise PermissionError(EPERM, "Operation not permitted")

    sysctl = tmp_path / "io_uring_disabled"
    monkeypatch.setattr(ring, "_call", forbid)
    monkeypatch.setattr(ring, "_DISABLED", sysctl)
    assert "seccomp" in ring.available()
    sysctl.write_text("2\n")
    assert "kernel.io_uring_disabled is 2" in ring.available()
    with pytest.raises(HostError, match=r"io_uring: kernel\.io_uring_disabled is 2"):
        ring.Ring(entries=8, slots=8)


class Failing(ring.Ring):
    """A ring with this many submissions queued, whose io_uring_enter() fails so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, times: int, queued: int = 3) -> None:
        self._sq_tail = [0]  # type: ignore[assignment]
        self._tail, self._submitted, self._fd, self._no_mask = queued, 0, -1, ()  # type: ignore[assignment]
        self.pauses: list[float] = []
        self.left, self.number = times, number
        monkeypatch.setattr(ring, "_call", self.enter)
        monkeypatch.setattr(ring.time, "sleep", self.pauses.append)  # type: ignore[attr-defined]

    def enter(self, _call: int, _fd: int, queued: int, *_: object) -> int:
        if self.left:
            self.left -= 1
            raise OSError(self.number, "in words")
        return queued


@pytest.mark.parametrize("number", [EAGAIN, EBUSY, EINTR])
@pytest.mark.parametrize(("queued", "wait"), [(3, 0), (3, 1), (0, 1)])
def test_what_passes_is_submitted_again(monkeypatch: pytest.MonkeyPatch, number: int, queued: int, wait: int) -> None:
    """With pauses after the first tries, for a second in all; also where there is only something to wait for."""
    patient = Failing(monkeypatch, number, 1000, queued)
    patient.submit(wait)
    assert patient.left == patient.queued == 0
    assert 0.8 < sum(patient.pauses) < 1
    with pytest.raises(OSError, match="io_uring_enter: in words") as caught:
        Failing(monkeypatch, number, 2000, queued).submit(wait)
    assert caught.value.errno == number


def test_what_stays_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Failing(monkeypatch, EFAULT, 1)
    with pytest.raises(OSError, match="io_uring_enter: in words"):
        broken.submit()
    assert broken.pauses == []
