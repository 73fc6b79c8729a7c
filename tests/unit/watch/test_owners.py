"""Owners of sockets, from a /proc made for the test."""

from __future__ import annotations

import errno
import io
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from loadgen.errors import HostError
from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState
from loadgen.watch import owners
from loadgen.watch.owners import Owner, Ownership

Clock = Callable[[], float]


def standing() -> float:
    """A clock that stands still."""
    return 0.0


def ticking() -> Clock:
    """A clock that advances by a second at each reading."""
    ticks: Iterator[int] = count()
    return lambda: float(next(ticks))


@pytest.fixture
def proc(tmp_path: Path) -> Callable[[Mapping[int, tuple[str, list[str]]]], Path]:
    """Make processes: {pid: (name, links of its descriptors)}."""

    def make(processes: Mapping[int, tuple[str, list[str]]]) -> Path:
        (tmp_path / "self").mkdir()
        for pid, (name, links) in processes.items():
            (tmp_path / str(pid) / "fd").mkdir(parents=True)
            (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
            for number, link in enumerate(links):
                os.symlink(link, tmp_path / str(pid) / "fd" / str(number))
        return tmp_path

    return make


def table(*rows: tuple[int, int, TcpState]) -> Sockets:
    """Return sockets from 127.0.0.1 to itself, given inode, destination port and state."""
    sockets = np.zeros(len(rows), SOCKET)
    for record, (inode, port, state) in zip(sockets, rows, strict=True):
        record["family"], record["state"], record["inode"] = socket.AF_INET, state, inode
        record["destination_port"] = port
        record["source"][:4] = record["destination"][:4] = list(ip_address("127.0.0.1").packed)
    return sockets


def test_a_scan_finds_sockets_and_nothing_else(proc: Callable[..., Path]) -> None:
    links = ["/dev/null", "socket:[70]", "pipe:[70]", "socket:[71]"]
    root = proc({7: ("proxy", links), 30: ("idle", ["anon_inode:[eventpoll]"])})
    found = owners.scan(1, standing, root)
    assert (found.inodes.tolist(), found.pids.tolist(), found.forbidden, found.complete) == ([70, 71], [7, 7], 0, True)
    assert owners.inodes_of(7, root).tolist() == [70, 71]


def test_an_inherited_socket_belongs_to_the_lowest_pid(proc: Callable[..., Path]) -> None:
    root = proc({100: ("child", ["socket:[5]"]), 20: ("parent", ["socket:[5]"])})
    assert owners.scan(1, standing, root).pids.tolist() == [20]


def test_a_scan_ends_in_time(proc: Callable[..., Path]) -> None:
    root = proc({pid: ("many", [f"socket:[{pid}]"]) for pid in range(1, 9)})
    found = owners.scan(3.5, ticking(), root)
    assert not found.complete
    assert found.pids.tolist() == [1, 2, 3, 4]
    assert found.why_unknown == "not read in time"


def test_processes_of_this_namespace_come_first(proc: Callable[..., Path]) -> None:
    root = proc({pid: ("some", [f"socket:[{pid}]"]) for pid in (3, 5, 7, 9)})
    (root / "ours").touch()
    (root / "other").touch()
    for process, namespace in (("thread-self", "ours"), ("3", "other"), ("5", "other"), ("7", "ours")):
        (root / process / "ns").mkdir(parents=True)
        os.link(root / namespace, root / process / "ns" / "net")
    assert owners.scan(1.5, ticking(), root).pids.tolist() == [3, 7]  # by inode; 3 of the others, after 7


def test_owners_of_each_group(proc: Callable[..., Path]) -> None:
    root = proc({7: ("proxy", ["socket:[70]", "socket:[71]", "socket:[72]"]), 8: ("cache", ["socket:[80]"])})
    established = TcpState.ESTABLISHED
    sockets = table(
        (80, 9000, established),
        (70, 9000, established),
        (71, 9000, TcpState.SYN_SENT),
        (72, 9001, established),
        (99, 9001, established),
        (0, 9001, TcpState.TIME_WAIT),
        (0, 9002, TcpState.FIN_WAIT1),
    )
    socket_owners = owners.scan(1, standing, root)
    assert owners.by_group(sockets, socket_owners, root) == {
        ("127.0.0.1", "127.0.0.1", 9000): Ownership((Owner(7, "proxy", 2), Owner(8, "cache", 1))),
        ("127.0.0.1", "127.0.0.1", 9001): Ownership((Owner(7, "proxy", 1),), 1, "no process found"),
    }
    assert owners.of_all(sockets, socket_owners, root) == Ownership(
        (Owner(7, "proxy", 3), Owner(8, "cache", 1)), 1, "no process found"
    )


def test_beyond_the_maximum_the_smallest_processes_are_unknown(
    proc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "PROCESSES_MAX", 1)
    root = proc({7: ("small", ["socket:[70]"]), 8: ("large", ["socket:[80]", "socket:[81]"])})
    sockets = table(*((inode, 9000, TcpState.ESTABLISHED) for inode in (70, 80, 81)))
    (found,) = owners.by_group(sockets, owners.scan(1, standing, root), root).values()
    assert (found.owners, found.unknown) == ((Owner(8, "large", 2),), 1)


def test_without_a_scan_every_owner_is_unknown(proc: Callable[..., Path]) -> None:
    root = proc({})
    sockets = table((70, 9000, TcpState.ESTABLISHED))
    (found,) = owners.by_group(sockets, owners.scan(1, standing, root), root).values()
    assert found == Ownership((), 1, "no process found")
    assert owners.of_all(sockets[:0], owners.scan(1, standing, root), root) == Ownership()
    assert owners.command_of(7, root) == ""


def test_a_name_that_cannot_be_read_is_no_exited_process(
    proc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_nothing(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    root = proc({7: ("proxy", [])})
    monkeypatch.setattr(io, "open", open_nothing)
    with pytest.raises(OSError, match="open files"):
        owners.command_of(7, root)


def test_forbidden_processes_are_counted(proc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = proc({7: ("secret", []), 8: ("open", ["socket:[80]"])})
    really = os.listdir

    def listdir(path: str) -> list[str]:
        if path == f"{root}/7/fd":
            raise PermissionError(13, "Permission denied")
        return really(path)

    monkeypatch.setattr(os, "listdir", listdir)
    found = owners.scan(1, standing, root)
    assert (found.pids.tolist(), found.forbidden, found.why_unknown) == ([8], 1, "not permitted")
    with pytest.raises(HostError, match="may not see the sockets of process 7"):
        owners.inodes_of(7, root)


def test_a_process_that_has_exited(proc: Callable[..., Path]) -> None:
    with pytest.raises(HostError, match="there is no process 7"):
        owners.inodes_of(7, proc({}))
