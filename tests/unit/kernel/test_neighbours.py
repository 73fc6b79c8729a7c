"""The tables of neighbours, from files as the kernel writes them."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from loadgen.kernel import neighbours, route
from loadgen.kernel.route import Route

HEADER = "entries  allocs   destroys hash_grows lookups  hits     res_failed unresolved_discards table_fulls\n"
CORE = "{:08x} 000002af 000002bc 00000001   0000076f 00000000 00000000   00000000            {:08x}\n"


def write(proc_net: Path, file: str, entries: int, *fulls: int) -> None:
    (proc_net / "stat").mkdir(exist_ok=True)
    (proc_net / "stat" / file).write_text(HEADER + "".join(CORE.format(entries, full) for full in fulls))


def test_what_was_refused_since_is_counted_for_both_families(tmp_path: Path) -> None:
    write(tmp_path, "arp_cache", 2, 5, 0)
    write(tmp_path, "ndisc_cache", 4, 0, 0)
    before = neighbours.read(tmp_path)
    assert before.gauges == {"neigh.entries": 2, "neigh6.entries": 4}
    assert before.delta(before) == {}
    write(tmp_path, "arp_cache", 1024, 5, 9)
    after = neighbours.read(tmp_path)
    assert before.delta(after) == {"neigh.table_fulls": 9}
    assert after.gauges == {"neigh.entries": 1024, "neigh6.entries": 4}


@pytest.mark.parametrize("text", [None, "entries  allocs\n00000002 00000005\n"])
def test_elsewhere_and_on_old_kernels_nothing_is_refused(tmp_path: Path, text: str | None) -> None:
    """The files are those of the initial namespace, and table_fulls came later."""
    if text:
        (tmp_path / "stat").mkdir()
        (tmp_path / "stat" / "arp_cache").write_text(text)
    found = neighbours.read(tmp_path)
    assert found.gauges == ({"neigh.entries": 2} if text else {})
    assert found.delta(found) == {}


def neighbour(family: int, index: int, state: int) -> bytes:
    """An RTM_NEWNEIGH message with an attribute behind it."""
    body = struct.pack("=B3xiHBB", family, index, state, 0, 1) + struct.pack("=HHI", 8, 1, 7)
    return struct.pack("=IHHII", 16 + len(body), 28, 2, 0, 0) + body


class Netlink:
    """A socket that gives these answers."""

    def __init__(self, *answers: bytes) -> None:
        self.sent: list[bytes] = []
        self._answers = iter(answers)

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def recv(self, _: int) -> bytes:
        return next(self._answers)


def test_neighbours_that_count_are_counted_by_family() -> None:
    """Not permanent ones (0x80), nor those of lo, nor of other families; over as many answers as it takes."""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    first = neighbour(v4, 2, 2) + neighbour(v4, 3, 4) + neighbour(v4, 1, 0x40) + neighbour(v4, 2, 0x80)
    second = neighbour(v6, 2, 0x40) + neighbour(7, 2, 2)
    done = struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)
    sock: Any = Netlink(first, second, done)
    assert neighbours.counted(sock) == {"neigh": 2, "neigh6": 1}
    assert struct.unpack("=IHHII", sock.sent[0][:16]) == (28, 30, 0x301, 0, 0)


def test_an_answer_that_is_none_is_refused() -> None:
    cut: Any = Netlink(neighbour(socket.AF_INET, 2, 2)[:18])
    with pytest.raises(ValueError, match="too short"):
        neighbours.counted(cut)


def test_a_live_list_ends() -> None:
    with neighbours.open_socket() as sock:
        assert set(neighbours.counted(sock)) == {"neigh", "neigh6"}


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Route]:
    """Routes by address, on interfaces of which only tun0 resolves nothing."""
    routes: dict[str, Route] = {}
    monkeypatch.setattr(route, "to", lambda addresses: [routes[address] for address in addresses])
    monkeypatch.setattr(neighbours, "_resolves", lambda device: device != "tun0")
    return routes


def test_the_next_hop_is_the_address_or_its_gateway(routed: dict[str, Route]) -> None:
    routed |= {
        "10.0.0.2": Route("unicast", "eth0"),
        "10.1.0.2": Route("unicast", "eth0", "10.0.0.254"),
        "10.2.0.2": Route("unicast", "tun0"),
        "10.0.0.1": Route("local", "lo"),
        "10.3.0.2": Route("", reason="Network is unreachable"),
    }
    assert neighbours.next_hops(list(routed)) == ("10.0.0.2", "10.0.0.254", "", "", "")


def test_loopback_has_no_next_hop() -> None:
    assert neighbours.next_hops(["127.0.0.1", "127.1.2.3"]) == ("", "")
    assert neighbours.next_hops([]) == ()
    assert not neighbours._resolves("lo")
    assert not neighbours._resolves("no-such-device")


def test_without_netlink_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> list[Route]:
        raise OSError(1, os.strerror(1))

    monkeypatch.setattr(route, "to", refuse)
    assert neighbours.next_hops(["10.0.0.2"]) == ()
