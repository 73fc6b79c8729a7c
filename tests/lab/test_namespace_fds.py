"""What is seen through a window is what was opened, in the namespace of the load and in that of the sinks."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.errors import HostError, IncompleteError
from loadgen.kernel import conntrack, neighbours, sockdiag
from loadgen.kernel.sockdiag import Reader, count_states
from loadgen.lab import namespace, namespace_fds
from loadgen.lab.namespace_fds import NamespaceFds, send
from loadgen.model import Endpoint
from loadgen.processes.fleet import Fleet
from loadgen.processes.shared_memory import Blocks
from loadgen.sink import counts

from .support import PATIENCE_S, PROC_NET, accept_all, child, listen, until
from .test_veth import crew

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
SINK: Final = Endpoint("127.0.0.1", 9000)
SETTING: Final = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_syn_sent")


def through(entry: Callable[[int], None]) -> NamespaceFds:
    """The window that a child process opens where it is born."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.settimeout(PATIENCE_S)
        with child(lambda: entry(theirs.fileno())):
            theirs.close()
            return namespace_fds.receive(ours)


@pytest.fixture
def here(keep: ExitStack) -> NamespaceFds:
    """On the namespace of the test."""
    found = through(namespace_fds.send)
    keep.callback(found.close)
    return found


@pytest.mark.lab("40000 40999")
def test_descriptors_are_sent_when_there_is_memory_for_it() -> None:
    """Each of the two messages finds none at first."""

    def scarce(fd: int) -> None:
        sending, refusals = socket.send_fds, iter((0, 1, 0, 1))

        def refused_at_first(*message: Any) -> int:
            if not next(refusals):
                raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
            return sending(*message)

        socket.send_fds = refused_at_first  # type: ignore[assignment]  # of this child process
        send(fd)

    found = through(scarce)
    assert isinstance(found.states(PROC_NET), dict)
    found.close()


@pytest.mark.lab("40000 40999")
def test_neighbours_are_listed_where_the_kernel_lists_any(monkeypatch: pytest.MonkeyPatch, here: NamespaceFds) -> None:
    assert here.neighbours() == {"neigh": 0, "neigh6": 0}, "those of loopback do not count"

    def refused() -> socket.socket:
        raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))

    monkeypatch.setattr(neighbours, "open_socket", refused)
    without = through(namespace_fds.send)
    assert without.neighbours() == {}
    without.close()


@pytest.mark.lab("40000 40999")
def test_states_are_those_of_a_whole_list(here: NamespaceFds, keep: ExitStack) -> None:
    """Established connections are not listed, and counted all the same; CLOSE-WAIT is not counted with them."""
    listener = keep.enter_context(listen(SINK))
    six = keep.enter_context(listen(Endpoint("::1", 9000)))
    clients = []
    for target, count in ((listener, 12), (six, 3)):
        for _ in range(count):
            client = keep.enter_context(socket.socket(target.family))
            client.connect(target.getsockname())
            clients.append(client)
    accepted = [keep.enter_context(sock) for sock in (*accept_all(listener, 12), *accept_all(six, 3))]
    for client in clients[:4]:
        client.shutdown(socket.SHUT_WR)
    for client, other in zip(clients[4:6], accepted[4:6], strict=True):
        client.close()
        other.close()
    expected = {"established": 18, "fin_wait2": 4, "time_wait": 2, "close_wait": 4, "listen": 2}
    assert until(lambda: here.states(PROC_NET) == expected)
    with Reader() as reader:
        listed = count_states(reader.dump().sockets)
    assert {state.name.lower(): number for state, number in listed.items()} == expected


def test_an_empty_namespace_has_no_states(here: NamespaceFds) -> None:
    assert here.states(PROC_NET) == {}


def test_a_tracking_table_is_seen_from_outside(keep: ExitStack) -> None:
    """/proc/sys shows everybody his own namespace, but a file that is open stays with its own."""
    if not SETTING.exists():
        pytest.skip("needs connection tracking, here: modprobe nf_conntrack")

    def elsewhere(channel: int) -> None:
        namespace.enter({"net.netfilter.nf_conntrack_tcp_timeout_syn_sent": "77"})
        conntrack._SETTINGS = {"count": str(SETTING)}  # type: ignore[misc]  # in the child alone
        namespace_fds.send(channel)

    found = through(elsewhere)
    keep.callback(found.close)
    assert found.conntrack() == {"count": 77}
    assert SETTING.read_text() != "77\n"


def test_the_table_of_a_namespace_that_tracks_nothing_is_empty(here: NamespaceFds) -> None:
    seen = here.conntrack()
    if not seen:
        pytest.skip("needs connection tracking, here: modprobe nf_conntrack")
    assert seen["count"] == 0
    assert seen["max"] == int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())


def test_both_namespaces_of_a_veth_lab(run: Run) -> None:
    """The sink's listener is in its own alone."""

    async def body() -> None:
        fleet, blocks = Fleet(lambda _: None), Blocks.create("test-sinks", counts.block_dtype(4), 1)
        try:
            await crew(fleet, blocks)
            clients, sinks = (
                await namespace_fds.open_fds(fleet.zygote),
                await namespace_fds.open_fds(fleet.zygote, "send_from_sinks"),
            )
            (member,) = fleet.alive("sink")
            assert sinks.states(Path(f"/proc/{member.pid}/net")) == {"listen": 1}
            assert clients.states(Path(f"/proc/{fleet.zygote.pid}/net")) == {}
            clients.close()
            sinks.close()
        finally:
            await fleet.stop()
            os.close(blocks.fd)

    run(body)


def test_a_kernel_without_netlink_sockets_says_so_when_asked(keep: ExitStack) -> None:
    def unable(channel: int) -> None:
        sockdiag._NETLINK_SOCK_DIAG = 31  # type: ignore[misc]  # a protocol nobody has
        namespace_fds.send(channel)

    found = through(unable)
    keep.callback(found.close)
    with pytest.raises(HostError, match=r"cannot list sockets: socket .* EPROTONOSUPPORT .*modprobe inet_diag"):
        found.states(PROC_NET)


def test_a_process_that_ends_early() -> None:
    with pytest.raises(IncompleteError, match="was lost"):
        through(os.close)


def test_a_process_that_is_no_longer_waited_for_ends_in_silence() -> None:
    """The orchestrator may have failed meanwhile, and says why itself."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    send(theirs.detach())
