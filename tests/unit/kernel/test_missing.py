"""Why a source address cannot be used, from a made-up list of addresses, routes and settings."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from loadgen.kernel import missing, netlink, route
from loadgen.kernel.missing import Looker, Missing, MissingReason

UP, RUNNING = 0x1, 0x40
NODAD, OPTIMISTIC, DADFAILED, TENTATIVE, PERMANENT = 0x02, 0x04, 0x08, 0x40, 0x80

Make = Callable[..., Looker]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """A looker on lo and eth0: flags of the addresses on eth0, interfaces without IPv6, and their own flags."""

    def looker(
        addresses: Mapping[str, int] = {},
        *,
        off: tuple[str, ...] = (),
        flags: Mapping[str, int] = {},
        local: tuple[str, ...] = (),
        ipv6: bool = True,
    ) -> Looker:
        entries: dict[bytes, list[Any]] = {
            ipaddress.ip_address(text).packed: [missing._Entry(2, 64, flag)] for text, flag in addresses.items()
        }
        monkeypatch.setattr(missing, "_addresses", lambda: entries)
        monkeypatch.setattr(missing, "has_ipv6", lambda: ipv6)
        monkeypatch.setattr(missing, "_flags", lambda name: flags.get(name, UP | RUNNING))
        monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
        monkeypatch.setattr(route, "not_local", lambda asked: [text for text in asked if text not in local])
        monkeypatch.setattr(missing, "_IPV6_CONF", tmp_path)
        for name in ("lo", "eth0"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "disable_ipv6").write_text("1\n" if name in off else "0\n")
        return Looker()

    return looker


@pytest.mark.parametrize(
    ("address", "how", "reason", "interface"),
    [
        ("10.0.0.1", {}, "absent", "lo"),
        ("fd00::1", {}, "absent", "lo"),
        ("fd00::1", {"off": ("lo",)}, "absent", "eth0"),  # where it can be added
        ("fe80::1%eth0", {}, "absent", "eth0"),
        ("fd00::1", {"local": ("fd00::1",)}, "needs-freebind", "lo"),
        ("fd00::1", {"off": ("lo", "eth0")}, "ipv6-off", "all"),
        ("::1", {"off": ("lo", "eth0")}, "ipv6-off", "lo"),
        ("::1", {"off": ("lo",)}, "ipv6-off", "lo"),
        ("::1", {"off": ("eth0",)}, "absent", "lo"),
        ("fe80::1%eth0", {"off": ("eth0",)}, "ipv6-off", "eth0"),
        ("10.0.0.1", {"off": ("lo", "eth0")}, "absent", "lo"),
        ("fd00::1", {"ipv6": False}, "no-ipv6", "lo"),
        ("10.0.0.1", {"ipv6": False}, "absent", "lo"),
        ("::1", {"flags": {"lo": 0}}, "interface-down", "lo"),
    ],
)
def test_an_address_on_no_interface(make: Make, address: str, how: Any, reason: str, interface: str) -> None:
    found = make(**how).missing(address, freebind=False)
    assert found == Missing(address, MissingReason(reason), interface, 128 if ":" in address else 32)


@pytest.mark.parametrize(
    ("bits", "interface", "reason"),
    [
        (TENTATIVE, UP | RUNNING, "tentative"),
        (TENTATIVE | PERMANENT, UP, "interface-down"),  # no carrier: detection cannot end
        (TENTATIVE | PERMANENT, 0, "interface-down"),
        (TENTATIVE | DADFAILED, UP | RUNNING, "duplicate"),
        (PERMANENT, 0, "interface-down"),
        (TENTATIVE | OPTIMISTIC, UP | RUNNING, None),
        (PERMANENT, UP | RUNNING, None),  # detection has ended since bind() was refused
    ],
)
@pytest.mark.parametrize("freebind", [False, True])
def test_an_address_on_an_interface(
    make: Make, bits: int, interface: int, reason: str | None, *, freebind: bool
) -> None:
    found = make({"fd00::1": bits}, flags={"eth0": interface}).missing("fd00::1", freebind=freebind)
    assert found == (Missing("fd00::1", MissingReason(reason), "eth0", 64) if reason else None)


def test_an_address_of_another_zone_is_another_address(make: Make) -> None:
    looker = make({"fe80::1": TENTATIVE})
    assert looker.missing("fe80::1%eth0", freebind=False) == Missing(
        "fe80::1%eth0", MissingReason.TENTATIVE, "eth0", 64
    )
    assert looker.missing("fe80::1%lo", freebind=False) == Missing("fe80::1%lo", MissingReason.ABSENT, "lo", 128)


def test_what_is_bound_freely_needs_a_route(make: Make) -> None:
    for address in ("fd00::1", "10.0.0.1"):
        found = make().missing(address, freebind=True)
        assert found
        assert found.reason is MissingReason.NOT_ROUTED
    off = make(off=("lo", "eth0")).missing("fd00::1", freebind=True)
    assert off
    assert off.reason is MissingReason.IPV6_OFF


def test_messages_of_the_kernel_are_told_apart_and_read() -> None:
    def body(flags: int, *attributes: bytes) -> bytes:
        return struct.pack("=BBBBI", socket.AF_INET6, 64, flags, 0, 3) + b"".join(attributes)

    address = ipaddress.ip_address("fd00::1").packed
    own = netlink.attribute(1, address)
    buffer = netlink.message(20, 2, body(TENTATIVE, own)) + netlink.message(netlink.NLMSG_DONE, 2, bytes(4))
    (kind, payload), (last, _) = missing.messages(buffer)
    assert (kind, last) == (20, netlink.NLMSG_DONE)
    assert missing.parse(payload) == (address, (3, 64, TENTATIVE))
    # Flags of 32 bits win over their lower 8, and the local address over that of the peer.
    peer = netlink.attribute(1, ipaddress.ip_address("fd00::9").packed)
    wide = netlink.attribute(8, struct.pack("=I", 0x840))
    assert missing.parse(body(TENTATIVE, peer, netlink.attribute(2, address), wide)) == (address, (3, 64, 0x840))


def test_without_a_missing_address_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "Looker", lambda: pytest.fail("asked"))
    assert missing.reasons((), freebind=False) == ()


@pytest.mark.parametrize(
    "buffer",
    [
        netlink.message(20, 2, bytes(8))[:-1],
        struct.pack("=IHHII", 15, 20, 0, 0, 0),
        bytes(9),
        netlink.message(20, 2, bytes(7)),
        netlink.message(20, 2, bytes(8)),
    ],
    ids=["cut off", "length below a header", "half a header", "half a body", "no address"],
)
def test_a_message_that_is_none_of_the_kernels_is_an_error(buffer: bytes) -> None:
    with pytest.raises(ValueError, match="a message"):
        [missing.parse(payload) for _, payload in missing.messages(buffer)]
