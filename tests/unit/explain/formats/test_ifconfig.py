"""ifconfig of net-tools and of BusyBox."""

from __future__ import annotations

from hypothesis import given, settings

from loadgen.explain.formats.ifconfig import IFCONFIG
from tests.explained import captured, evidence_of, lines_accounted_for, wrecked

#: Modelled on net-tools 1.60 as CentOS 6 has it.
OLD = """\
eth0      Link encap:Ethernet  HWaddr 02:42:AC:11:00:02
          inet addr:172.17.0.2  Bcast:172.17.255.255  Mask:255.255.0.0
          inet6 addr: fe80::42:acff:fe11:2/64 Scope:Link
          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1
          RX packets:8 errors:0 dropped:0 overruns:0 frame:0
          TX packets:9 errors:0 dropped:0 overruns:0 carrier:0
          collisions:0 txqueuelen:0
          RX bytes:648 (648.0 b)  TX bytes:738 (738.0 b)
"""
MACOS = """\
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\toptions=400<CHANNEL_IO>
\tinet 192.168.1.20 netmask 0xffffff00 broadcast 192.168.1.255
"""


def test_the_form_of_today() -> None:
    found = captured("ip/ifconfig-a.txt")
    assert [(one.address, one.prefix, one.device) for one in found.addresses if "." in one.address] == [
        ("127.0.0.1", 8, "lo"),
        ("10.0.0.5", 24, "veth0"),
        ("10.9.0.1", 32, "veth1"),
    ]
    assert {one.address for one in found.addresses} >= {"::1", "2001:db8::5"}
    assert not any(one.shows_flags for one in found.addresses)
    assert {link.device: "UP" in link.flags for link in found.links} == {"lo": True, "veth0": True, "veth1": True}


def test_the_old_form() -> None:
    found = evidence_of(OLD)
    assert [(one.address, one.prefix, one.device) for one in found.addresses] == [
        ("172.17.0.2", 16, "eth0"),
        ("fe80::42:acff:fe11:2", 64, "eth0"),
    ]
    assert found.links[0].flags == {"UP", "BROADCAST", "RUNNING", "MULTICAST"}
    assert found.unread == []


def test_an_interface_that_is_up_and_does_not_run_has_no_carrier() -> None:
    found = captured("ip/busybox-ifconfig.txt")
    assert {link.device: "NO-CARRIER" in link.flags for link in found.links} == {"d0": True, "d1": False, "lo": False}


def test_another_system_is_left_unread() -> None:
    found = evidence_of(MACOS)
    assert (found.addresses, found.links, len(found.unread)) == ([], [], 1)


@settings(max_examples=60)
@given(wrecked("ip/ifconfig-a.txt", "ip/busybox-ifconfig.txt"))
def test_any_text_is_read_or_left(text: str) -> None:
    assert lines_accounted_for(text, evidence_of(text, [IFCONFIG]))
