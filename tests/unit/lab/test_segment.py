"""An address on a segment as a netlink message."""

from __future__ import annotations

import ipaddress
import struct

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from loadgen.lab.segment import address_on


def test_an_address_is_one_message_that_pyroute2_reads() -> None:
    """It is alone in its prefix, is not looked for on the link first, and brings no route."""
    message = address_on(7, ipaddress.IPv6Address("fd00::5"))
    length, kind, flags = struct.unpack_from("=IHH", message)
    assert (length, kind) == (len(message), 20)  # linux/rtnetlink.h, RTM_NEWADDR
    assert flags == 0x601  # NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
    parsed = ifaddrmsg(message)
    parsed.decode()
    assert (parsed["family"], parsed["prefixlen"], parsed["index"]) == (10, 128, 7)
    assert parsed.get_attr("IFA_ADDRESS") == parsed.get_attr("IFA_LOCAL") == "fd00::5"
    assert parsed.get_attr("IFA_FLAGS") == 0x202  # linux/if_addr.h: IFA_F_NODAD | IFA_F_NOPREFIXROUTE
