"""Addresses with their ports, as ss and netstat print them: "10.0.0.1:80", "[::1]:443", "::1:443", "*:*".

Sources: inet_addr_print() in misc/ss.c of iproute2, before and after version 4.16, which put IPv6 addresses into
brackets; addr_do_one() in netstat.c of net-tools; netstat.c of BusyBox.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Final

import numpy as np

#: Family of "*", which ss prints for all addresses: before 4.16 those of IPv4, since then those of both families.
ANY_FAMILY: Final = 255
#: An endpoint: port 0 for "*"; an IPv4 address is the first four bytes of its sixteen, as in `SOCKET`.
ENDPOINT: Final = np.dtype([("family", "u1"), ("unused", "u1"), ("address", "u1", 16), ("port", ">u2")])
_PACK: Final = struct.Struct("Bx16s").pack
#: Endpoints, and addresses, that are remembered; a listing repeats most of them.
_KNOWN_MAX: Final = 100_000

NAMES: Final = "names instead of addresses"
PORT_NAMES: Final = "a name instead of a port, which means different ports on different systems"
CUT: Final = "the row is cut off, or has other columns"

#: Names of ports that /etc/services of Debian and of Red Hat have in common, or that only one of them has: "http-alt"
#: is 8080 in one and 8008 in the other, so it is not here. ss prints ports of the ephemeral range as numbers always.
SERVICES: Final = {
    name: int(port)
    for name, port in re.findall(
        r"(?<!\S)(\S+) (\d+)",
        """
        afs3-fileserver 7000 amqp 5672 amqps 5671 auth 113 bgp 179 bootpc 68 bootps 67 chargen 19 commplex-main 5000
        cslistener 9000 daytime 13 dhcpv6-client 546 dhcpv6-server 547 discard 9 distcc 3632 domain 53 domain-s 853
        echo 7 epmd 4369 finger 79 ftp 21 ftp-data 20 ftps 990 git 9418 http 80 https 443 imap2 143 imap 143 imaps 993
        ipp 631 ipsec-nat-t 4500 isakmp 500 iscsi-target 3260 kerberos 88 kpasswd 464 ldap 389 ldaps 636 login 513
        mdns 5353 memcache 11211 microsoft-ds 445 ms-sql-m 1434 ms-sql-s 1433 ms-wbt-server 3389 munin 4949 mysql 3306
        nbd 10809 netbios-dgm 138 netbios-ns 137 netbios-ssn 139 nfs 2049 nntp 119 nrpe 5666 ntp 123 openvpn 1194
        pcsync-https 8443 pop3 110 pop3s 995 postgres 5432 postgresql 5432 printer 515 puppet 8140 radius 1812
        radius-acct 1813 redis 6379 rsync 873 rtsp 554 shell 514 sieve 4190 sip 5060 sip-tls 5061 sips 5061 smtp 25
        smtps 465 snmp 161 snmp-trap 162 snmptrap 162 socks 1080 squid 3128 ssh 22 submission 587 submissions 465
        sunrpc 111 svn 3690 syslog 514 syslog-tls 6514 tacacs 49 telnet 23 telnets 992 tftp 69 time 37 tproxy 8081
        webcache 8080 webmin 10000 whois 43 x11 6000 xmpp-client 5222 xmpp-server 5269 zabbix-agent 10050
        zabbix-trapper 10051
        """,
    )
}
_HOST_NAME: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Endpoints(dict[str, bytes]):
    """Text of endpoints to records of ENDPOINT, made once each; b"" for what is none.

    bracketed, unbracketed: whether the style of ss since 4.16, or of older ones, was seen: [::1]:80 and 0.0.0.0:80, or
    ::1:80.
    """

    def __init__(self) -> None:
        self.bracketed = self.unbracketed = False
        self._addresses: dict[str, bytes] = {}
        self._ports: dict[str, bytes] = {}

    def __missing__(self, text: str) -> bytes:
        if len(self) >= _KNOWN_MAX:
            self.clear()
        address, colon, port = text.rpartition(":")
        # Most pairs of address and port are new; their parts are not.
        host = self._addresses.get(address) or self._host(address)
        number = self._ports.get(port) or self._port(port)
        found = self[text] = host + number if host and number and colon else b""
        return found

    def _host(self, text: str) -> bytes:
        if text == "*":
            packed = _PACK(ANY_FAMILY, bytes(16))
        else:
            address, _, zone = text.partition("%")
            inside = address.startswith("[") and (address.endswith("]") or zone.endswith("]"))
            bare = address.strip("[]") if inside else address
            family = socket.AF_INET6 if ":" in bare else socket.AF_INET
            try:
                packed = _PACK(family, socket.inet_pton(family, bare))
            except (OSError, ValueError):
                return b""
            self.bracketed |= inside or bare == "0.0.0.0"
            self.unbracketed |= family == socket.AF_INET6 and not inside
        if len(self._addresses) >= _KNOWN_MAX:
            self._addresses.clear()
        self._addresses[text] = packed
        return packed

    def _port(self, text: str) -> bytes:
        number = 0 if text == "*" else SERVICES[text] if text in SERVICES else decimal(text, 0xFFFF)
        if number < 0:
            return b""
        if len(self._ports) >= _KNOWN_MAX:
            self._ports.clear()
        packed = self._ports[text] = number.to_bytes(2, "big")
        return packed


class Numbers(dict[str, int]):
    """Decimal text to numbers of 32 bits, made once each; -1 for what is none."""

    def __missing__(self, text: str) -> int:
        if len(self) >= _KNOWN_MAX:
            self.clear()
        found = self[text] = decimal(text)
        return found


def decimal(text: str, most: int = 0xFFFF_FFFF) -> int:
    """Return a number of decimal digits; -1 if it is none, or larger than `most`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return -1
    number = int(text)
    return number if number <= most else -1


def why_not(*texts: str) -> str:
    """Return the reason why one of these is no endpoint for `Endpoints`."""
    known = Endpoints()
    for text in texts:
        if not known[text]:
            address, colon, port = text.rpartition(":")
            if not (colon and port):
                return CUT
            if _HOST_NAME.fullmatch(address.strip("[]")):
                return NAMES
            if _HOST_NAME.fullmatch(port) and known[f"{address}:0"]:
                return PORT_NAMES
    return CUT
