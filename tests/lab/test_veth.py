"""A veth lab: two namespaces, a cable, and connections across it from any number of source addresses."""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from errno import EADDRNOTAVAIL
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.errors import HostError, LabForbiddenError
from loadgen.kernel import host, sockstat, sysctl
from loadgen.lab import namespace, veth
from loadgen.model import Endpoint, Topology
from loadgen.processes.fleet import Fleet
from loadgen.processes.shared_memory import Blocks
from loadgen.sink import counts, sink

from .support import PATIENCE_S, PROC_NET, accept_all, in_child, listen, until
from .test_namespace import become_ordinary, members, name_of, named

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

V4: Final = ("198.18.0.1", "198.18.0.2"), Endpoint("198.19.0.1", 9000)
V6: Final = ("fd00::1", "fd00::2"), Endpoint("fd00:1::1", 9000)

Lay = Callable[..., None]


@pytest.fixture
def lay(_lab: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lay]:
    """Move the test into the clients' namespace of a veth lab: `lay(sources, targets, sysctl=value)`."""

    def make(sources: Sequence[str], targets: Sequence[str], **sysctls: str) -> None:
        namespace.enter({name.replace("__", "."): value for name, value in sysctls.items()}, Topology.VETH)
        in_child(lambda: veth.connect(sources, targets))

    monkeypatch.setattr(namespace, "_sinks_fd", -1)
    yield make
    if namespace.sinks_fd() >= 0:
        os.close(namespace.sinks_fd())


@contextmanager
def with_the_sinks() -> Iterator[None]:
    """Be in the sinks' namespace for a moment; a socket stays in the one it was made in."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespace.enter_sinks()
    try:
        yield
    finally:
        assert _LIBC.setns(before, _CLONE_NEWNET) == 0
        os.close(before)


def listen_there(target: Endpoint) -> socket.socket:
    """A listener at the other end."""
    with with_the_sinks():
        return listen(target)


def connect(target: Endpoint, source: str = "") -> socket.socket:
    """A connection across the cable; without a source the kernel chooses it."""
    with ExitStack() as stack:
        client = stack.enter_context(socket.socket(target.family, socket.SOCK_STREAM))
        client.settimeout(PATIENCE_S)
        if source:
            client.bind((source, 0))
        client.connect(target.sockaddr)
        stack.pop_all()
    return client


def time_waits() -> int:
    """Sockets in TIME-WAIT, in the namespace we are in."""
    return sockstat.read(PROC_NET)["tcp_tw"]


def expanded(network: str) -> list[str]:
    """Every address of a network, the first and the last of it too."""
    return [str(address) for address in ipaddress.ip_network(network)]


@pytest.mark.parametrize(("sources", "target"), [V4, V6], ids=["IPv4", "IPv6"])
def test_a_connection_crosses_the_cable(lay: Lay, keep: ExitStack, sources: tuple[str, ...], target: Endpoint) -> None:
    """The sinks' side sees the very source address and port, and what is written arrives."""
    lay(sources, [target.address])
    listener = keep.enter_context(listen_there(target))
    for source in sources:
        client = keep.enter_context(connect(target, source))
        (accepted,) = accept_all(listener, 1)
        keep.enter_context(accepted)
        assert client.getsockname()[0] == source
        assert accepted.getpeername()[:2] == client.getsockname()[:2]
        accepted.sendall(b"x")
        assert client.recv(10) == b"x"


def test_both_families_share_a_cable(lay: Lay, keep: ExitStack) -> None:
    lay([*V6[0], *V4[0]], [V4[1].address, V6[1].address])
    for sources, target in (V4, V6):
        keep.enter_context(listen_there(target))
        sock = keep.enter_context(connect(target, sources[1]))
        assert (sock.getsockname()[0], sock.getpeername()[:2]) == (sources[1], target.sockaddr)


def test_nobody_listens_at_the_clients_end(lay: Lay, keep: ExitStack) -> None:
    """A listener with the clients is not what a target is, and a target is not theirs to bind."""
    sources, target = V4
    lay(sources, [target.address])
    keep.enter_context(listen(Endpoint("0.0.0.0", target.port)))
    with pytest.raises(ConnectionRefusedError):
        connect(target)
    with socket.socket() as sock, pytest.raises(OSError, match=os.strerror(EADDRNOTAVAIL)):
        sock.bind((target.address, 0))


@pytest.mark.parametrize(("network", "target"), [("198.18.0.0/16", V4[1]), ("fd00::/112", V6[1])], ids=["IPv4", "IPv6"])
def test_a_pool_of_65536_sources(lay: Lay, keep: ExitStack, network: str, target: Endpoint) -> None:
    pool = expanded(network)
    assert len(pool) == 65_536
    lay(pool, [target.address])
    listener = keep.enter_context(listen_there(target))
    for source in (pool[0], pool[32_768], pool[-1]):
        keep.enter_context(connect(target, source))
        (accepted,) = accept_all(listener, 1)
        assert keep.enter_context(accepted).getpeername()[0] == source


def test_a_pool_with_gaps_has_exactly_its_addresses(lay: Lay, keep: ExitStack) -> None:
    """Every second address of 32,768: no two are neighbours, and those in between are not ours."""
    whole = expanded("198.18.0.0/17")
    lay(whole[1::2], [V4[1].address])
    keep.enter_context(listen_there(V4[1]))
    for source in (whole[1], whole[-1]):
        keep.enter_context(connect(V4[1], source))
    with pytest.raises(OSError, match=os.strerror(EADDRNOTAVAIL)):
        connect(V4[1], whole[-2])


def test_a_pool_needs_one_neighbour(lay: Lay, keep: ExitStack) -> None:
    """However many sources have connected, each end knows the other's hardware address, for good, and no more."""
    pool = expanded("198.18.0.0/26")
    lay(pool, [V4[1].address])
    keep.enter_context(listen_there(V4[1]))
    for source in pool:
        keep.enter_context(connect(V4[1], source))

    def flags() -> list[str]:
        return [line.split()[2] for line in Path("/proc/self/net/arp").read_text().splitlines()[1:]]

    assert flags() == ["0x6"]  # linux/if_arp.h: ATF_COM | ATF_PERM
    with with_the_sinks():
        assert flags() == ["0x6"]


def test_nothing_is_tentative(lay: Lay) -> None:
    """No address waits to be found free of duplicates (RFC 4862 5.4), and none is on the cable at all."""
    lay(V6[0], [V6[1].address])

    def addresses() -> set[tuple[str, bool]]:
        rows = [line.split() for line in Path("/proc/self/net/if_inet6").read_text().splitlines()]
        return {(row[5], bool(int(row[4], 16) & 0x40)) for row in rows}  # linux/if_addr.h: IFA_F_TENTATIVE

    assert addresses() == {("lo", False)}
    with with_the_sinks():
        assert addresses() == {("lo", False)}


def test_connect_alone_takes_the_first_source_of_its_family(lay: Lay, keep: ExitStack) -> None:
    """The plan is told so, and so it is. A pool is in the order in which the scenario names it."""
    sources = ["198.18.7.9", "198.18.0.1", "fd00::9", "fd00::1"]
    lay(sources, [V4[1].address, V6[1].address])
    facts = host.read(sources, [V4[1], V6[1]])
    assert facts.default_sources == ("198.18.7.9", "fd00::9")
    assert not facts.missing_sources
    for target, source in zip((V4[1], V6[1]), facts.default_sources, strict=True):
        keep.enter_context(listen_there(target))
        assert keep.enter_context(connect(target)).getsockname()[0] == source


@pytest.mark.parametrize("first", ["clients", "sinks"])
@pytest.mark.parametrize(("sources", "target"), [V4, V6], ids=["IPv4", "IPv6"])
def test_time_wait_stays_with_whoever_closed_first(
    lay: Lay, keep: ExitStack, sources: tuple[str, ...], target: Endpoint, first: str
) -> None:
    lay(sources, [target.address])
    listener = keep.enter_context(listen_there(target))
    for _ in range(3):
        client = connect(target, sources[0])
        (accepted,) = accept_all(listener, 1)
        accepted.settimeout(PATIENCE_S)
        begins, follows = (client, accepted) if first == "clients" else (accepted, client)
        begins.close()
        assert follows.recv(1) == b""
        follows.close()

    def there() -> int:
        with with_the_sinks():
            return time_waits()

    expected = (3, 0) if first == "clients" else (0, 3)
    until(lambda: (time_waits(), there()) == expected)


def test_settings_are_made_at_both_ends(lay: Lay) -> None:
    lay(*_ends(V4), net__ipv4__tcp_tw_reuse="1")
    expected = {"net.core.somaxconn": "65535", "net.ipv4.tcp_tw_reuse": "1"}
    assert sysctl.read_all(expected) == expected
    with with_the_sinks():
        assert sysctl.read_all(expected) == expected


def test_a_refused_setting_is_named_with_the_reason(lay: Lay) -> None:
    with pytest.raises(HostError, match=r"net\.ipv4\.tcp_tw_reuse to '3': Invalid argument$"):
        lay(*_ends(V4), net__ipv4__tcp_tw_reuse="3")


def test_what_the_kernel_refuses_of_the_cable_is_said(lay: Lay) -> None:
    """Here: it is there already."""
    lay(*_ends(V4))
    with pytest.raises(HostError, match=r"^cannot connect the namespaces of the lab: EEXIST \(File exists\)$"):
        in_child(lambda: veth.connect(*_ends(V4)))


def test_without_a_veth_lab_there_is_no_other_end() -> None:
    def body() -> None:
        namespace.enter({})
        namespace.enter_sinks()

    with pytest.raises(OSError, match="setns"):
        in_child(body)


@pytest.mark.usefixtures("_user_namespaces")
def test_an_ordinary_user_lays_a_cable_too() -> None:
    def body() -> tuple[str, str]:
        import pyroute2  # noqa: F401  # while we may read it, wherever it is installed

        become_ordinary()
        sources, target = V6
        namespace.enter({"net.ipv4.tcp_tw_reuse": "0"}, Topology.VETH)
        in_child(lambda: veth.connect([*sources, *V4[0]], [target.address, V4[1].address]))
        with listen_there(target), listen_there(V4[1]), connect(target, sources[0]) as six, connect(V4[1]) as four:
            return six.getsockname()[0], four.getsockname()[0]

    assert in_child(body) == (V6[0][0], V4[0][0])


@pytest.mark.usefixtures("_user_namespaces")
def test_a_host_that_allows_only_one_namespace_allows_no_cable() -> None:
    """The error is that of a lab, with the call that failed: the second."""

    def body() -> None:
        uid, gid = os.geteuid(), os.getegid()
        assert _LIBC.unshare(_CLONE_NEWUSER) == 0
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        Path("/proc/sys/user/max_net_namespaces").write_text("1")
        namespace.enter({}, Topology.VETH)

    with pytest.raises(LabForbiddenError, match=r": unshare\(CLONE_NEWNET\): ENOSPC "):
        in_child(body)


async def crew(fleet: Fleet, blocks: Blocks) -> tuple[str, str]:
    """A veth lab with a sink in it, as a run makes it; the names of the clients' and the sinks' namespace."""
    sources, target = V4
    await fleet.zygote.call("loadgen.lab.namespace:enter", {}, Topology.VETH)
    answer = await fleet.ask(
        "loadgen.lab.veth:main", sources, [target.address], enough=lambda: False, timeout_s=PATIENCE_S
    )
    assert answer == {"report": "done"}
    (member,) = await fleet.start(
        "sink",
        "loadgen.lab.namespace:in_sinks",
        [sink.SinkShard((target,), 0, 1, 4, 100)],
        "loadgen.sink.sink:main",
        blocks_fd=blocks.fd,
        timeout_s=PATIENCE_S,
    )
    return name_of(fleet.zygote.pid), name_of(member.pid)


def test_a_sink_lives_at_the_other_end(run: Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]) -> None:
    """It listens on the target although nobody with the clients could."""

    async def body() -> None:
        fleet, blocks = Fleet(lambda _: None), Blocks.create("test-sinks", counts.block_dtype(4), 1)
        try:
            clients, sinks = await crew(fleet, blocks)
            assert len({clients, sinks, name_of()}) == 3
            (member,) = fleet.alive("sink")
            expected = {fleet.zygote.pid}, {member.pid}  # once the process that laid the cable has ended
            assert await asyncio.to_thread(until, lambda: (members(clients), members(sinks)) == expected)
        finally:
            await fleet.stop()
            os.close(blocks.fd)

    run(body)


def test_nothing_is_left_of_it_after_sigkill(run: Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]) -> None:
    """The zygote dies, and with it the sink, both namespaces, and what was in them."""
    before = named()

    async def body() -> tuple[str, str]:
        fleet, blocks = Fleet(lambda _: None), Blocks.create("test-sinks", counts.block_dtype(4), 1)
        names = await crew(fleet, blocks)
        fleet.kill()
        assert await asyncio.to_thread(until, lambda: not any(members(name) for name in names))
        await fleet.stop()
        os.close(blocks.fd)
        return names

    assert len(set(run(body))) == 2
    assert named() == before


def test_a_run_counts_both_ends(tmp_path: Path) -> None:
    """The clients close first and keep TIME-WAIT; the series tells the two ends apart, to the end.

    A delayed ACK that the sinks' FIN has overtaken is answered out of TIME-WAIT, and the reset that earns
    would end it early (RFC 1337), but for the setting.
    """
    scenario = tmp_path / "veth.yaml"
    scenario.write_text(
        "name: both-ends\n"
        "lab: {topology: veth, sysctls: {net.ipv4.tcp_rfc1337: 1}}\n"
        "sources: {addresses: [198.18.0.1-4, fd00::1-fd00::4]}\n"
        'targets: [{address: "198.19.0.1:80", sink: true}, {address: "[fd00:1::1]:80", sink: true}]\n'
        "connections: 200\n"
        "close: fin\n"
        "workers: 1\n"
        "expect: [outcomes.established == 200]\n"
    )
    command = [sys.executable, "-m", "loadgen", "run", str(scenario), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "out").iterdir()
    lines = [json.loads(line)["kernel"] for line in (directory / "series.jsonl").read_text().splitlines()]
    assert lines[-1]["now"]["sockstat.tcp_tw"] == 200
    assert lines[-1]["delta"]["Tcp.ActiveOpens"] == 200
    assert lines[-1]["sink"]["now"]["sockstat.tcp_tw"] == 0
    assert lines[-1]["sink"]["delta"]["Tcp.PassiveOpens"] == 200
    assert "Tcp.ActiveOpens" not in lines[-1]["sink"]["delta"]
    assert "softnet.processed" not in lines[-1]["sink"]["delta"]  # it is the host's
    assert lines[-1]["delta"]["softnet.processed"] > 0
    host_json = json.loads((directory / "host.json").read_text())
    assert host_json["sysctls"]["net.ipv6.ip_nonlocal_bind"] == "1"
    assert json.loads((directory / "summary.json").read_text())["sink"]["agrees"]


def _ends(ends: tuple[tuple[str, ...], Endpoint]) -> tuple[tuple[str, ...], list[str]]:
    sources, target = ends
    return sources, [target.address]
