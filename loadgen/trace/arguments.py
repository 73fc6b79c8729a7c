"""The arguments of system calls as strace prints them: split, and the values that a socket's life depends on.

Names are read where strace knows them, and numbers where it does not: an option that is younger than the strace that
printed it (`0x33 /* IP_??? */`), or -X raw and -X verbose. Anything else is None: not told.

Sources: strace(1); linux/in.h, linux/in6.h, linux/tcp.h, asm-generic/socket.h for the numbers (x86, arm, riscv).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from errno import errorcode
from typing import Final, NamedTuple

from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE

#: Pieces of a list of arguments; commas and brackets count outside of strings, comments and names of descriptors.
_PIECE: Final = re.compile(
    r'"(?:\\.|[^"\\])*+(?:"(?:\.\.\.)?|\\?$)|/\*[^*]{0,200}\*/|(?<=\d)<(?:->|[^<>]|<[^<>]*>)*>'
    r'|[\[\]{}(),]|[^"\[\]{}(),/<]+|.'
)
_DESCRIPTOR: Final = re.compile(r"\s*(?P<number>-?\d{1,10}|0x[0-9a-f]{1,8})(?:<(?P<what>.*)>)?\s*$")
_INODE: Final = re.compile(r"(?:socket|TCP|TCPv6|UDP|UDPv6|MPTCP|MPTCPv6):\[(?P<inode>\d{1,20})\]")
_PROTOCOL: Final = re.compile(r"(?P<protocol>TCP|UDP|MPTCP)(?P<six>v6)?:\[")
_PORT: Final = re.compile(r"htons\((?P<port>\d{1,5})\)")
_RAW_PORT: Final = re.compile(r'sin6?_port="(?P<port>(?:\\.|[^"\\])*)"')
_FOUR: Final = re.compile(r'inet_addr\("(?P<address>(?:\\.|[^"\\])*)"\)')
_RAW_FOUR: Final = re.compile(r'sin_addr="(?P<address>(?:\\.|[^"\\])*)"')
_SIX: Final = re.compile(r'inet_pton\(AF_INET6, "(?P<address>(?:\\.|[^"\\])*)"')
_RAW_SIX: Final = re.compile(r'sin6_addr="(?P<address>(?:\\.|[^"\\])*)"')
_ZONE: Final = re.compile(r'sin6_scope_id=if_nametoindex\("(?P<zone>(?:\\.|[^"\\])*)"\)')
_FAMILY: Final = re.compile(r"sa_family=(?P<family>\w{1,20})")
_COMMENT: Final = re.compile(r"/\*\s?(?P<said>[^*]{0,200}?)\s?\*/")
_NUMBER: Final = re.compile(r"0x[0-9a-f]{1,16}|-?\d{1,20}")
_ESCAPE: Final = re.compile(r"\\(x[0-9a-f]{2}|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE: Final = {"n": "\n", "t": "\t", "r": "\r", "v": "\v", "f": "\f", '"': '"', "\\": "\\"}
_LINGER: Final = re.compile(r"\{l_onoff=(?P<on>\d{1,10}), l_linger=(?P<seconds>-?\d{1,10})\}")


class Descriptor(NamedTuple):
    """A file descriptor. inode: of the socket, with -y; 0: not told. protocol: with -yy, "TCP"; "": not told."""

    number: int
    inode: int = 0
    protocol: str = ""


class SocketAddress(NamedTuple):
    """An address of AF_INET or AF_INET6, with its zone where it has one (fe80::1%eth0), and a port."""

    address: str
    port: int


class OptionSet(NamedTuple):
    """A socket option that was set. name: as the man pages write it. value: None: not a number. text: as printed."""

    name: str
    value: int | None
    text: str


def split(arguments: str) -> list[str]:
    """Return the arguments at the top level, without spaces around them."""
    found, current, depth = [], list[str](), 0
    for piece in _PIECE.findall(arguments):
        if piece in ("(", "[", "{"):
            depth += 1
        elif piece in (")", "]", "}"):
            depth -= 1
        elif piece == "," and depth <= 0:
            found.append("".join(current).strip())
            current = []
            continue
        current.append(piece)
    found.append("".join(current).strip())
    return found


def descriptor(argument: str) -> Descriptor | None:
    """Return a descriptor; None for what is none, such as AT_FDCWD or -1."""
    match = _DESCRIPTOR.match(argument)
    if not match:
        return None
    number = integer(match["number"])
    if number < 0:
        return None
    what = match["what"] or ""
    inode, protocol = _INODE.match(what), _PROTOCOL.match(what)
    return Descriptor(number, int(inode["inode"]) if inode else 0, protocol["protocol"] if protocol else "")


def integer(text: str) -> int:
    """Return a number as strace prints it, decimal or with 0x; a leading 0 means nothing."""
    return int(text, 16) if text.startswith("0x") else int(text)


def number(argument: str) -> int | None:
    """Return a number, decimal or hexadecimal, also one with a comment behind it or in brackets: [1], [1 /* ... */]."""
    match = _NUMBER.match(argument.strip().lstrip("["))
    return integer(match[0]) if match else None


def names(argument: str) -> frozenset[str]:
    """Return the names that are or-ed together, those in comments of -X verbose included."""
    return frozenset(re.findall(r"\b[A-Z][A-Z0-9_]{2,40}\b", argument))


def unquoted(text: str) -> str:
    """Return a string without its escapes; each byte is one character."""

    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "x" and len(code) == 3:
            return chr(int(code[1:], 16))
        return chr(int(code, 8) & 0xFF) if code[0] in "01234567" else _SIMPLE.get(code, code)

    return _ESCAPE.sub(plain, text)


def family(argument: str) -> str:
    """Return the address family of a sockaddr, "AF_INET"; "": not told."""
    match = _FAMILY.search(argument)
    if not match:
        return ""
    said = _COMMENT.search(argument)
    if match["family"].startswith("AF_"):
        return match["family"]
    if said and said["said"].startswith("AF_"):
        return said["said"]
    value = number(match["family"])
    return _FAMILIES.get(value, str(value)) if value is not None else ""


_FAMILIES: Final = {0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6"}


def sockaddr(argument: str) -> SocketAddress | None:
    """Return the address and port of a sockaddr, IPv4-mapped ones as IPv4.

    None where it is of another family, a pointer, or damaged.
    """
    port = _port(argument)
    if port is None:
        return None
    for form, packed in ((_FOUR, False), (_SIX, False), (_RAW_FOUR, True), (_RAW_SIX, True)):
        match = form.search(argument)
        if not match:
            continue
        text = unquoted(match["address"])
        try:
            if packed:
                text = str(ipaddress.ip_address(text.encode("latin-1")))
            given = ipaddress.ip_address(text)
        except ValueError:
            return None
        # On the wire it is IPv4, and uses the same four-tuples.
        address = str((given.ipv4_mapped if given.version == 6 else None) or given)
        zone = _ZONE.search(argument)
        return SocketAddress(f"{address}%{unquoted(zone['zone'])}" if zone else address, port)
    return None


def _port(argument: str) -> int | None:
    if match := _PORT.search(argument):
        port = int(match["port"])
        return port if port <= 65_535 else None
    if match := _RAW_PORT.search(argument):
        packed = unquoted(match["port"])
        return ord(packed[0]) << 8 | ord(packed[1]) if len(packed) == 2 else None
    return None


def error_name(argument: str) -> str:
    """Return the errno that getsockopt(SO_ERROR) read: "ECONNREFUSED", "" for none; also from [111] of old versions."""
    named = next((name for name in sorted(names(argument)) if name.startswith("E")), "")
    if named:
        return named
    value = number(argument) if argument.startswith("[") else None  # else it is a pointer
    return errorcode.get(value, str(value)) if value else ""


def option(level: str, name: str, value: str) -> OptionSet:
    """Return the option that setsockopt(level, name, value) sets, by its name also where strace has no name for it."""
    levels = names(level)
    level_number = number(_COMMENT.sub("", level))
    for known in _LEVELS:
        if known in levels:
            level_number = _LEVELS[known]
    named = {one for one in names(name) if not one.endswith("_")}
    option_number = number(_COMMENT.sub("", name))
    if level_number is not None and option_number is not None and (level_number, option_number) in _OPTIONS:
        named = {_OPTIONS[level_number, option_number]}
    known_name = next(iter(sorted(named)), f"{level_number}/{option_number}")
    if match := _LINGER.match(value):
        resets = int(match["on"]) != 0 and int(match["seconds"]) == 0
        return OptionSet(known_name, int(resets), value)
    text = _string(value)
    return OptionSet(known_name, len(text) if text is not None else number(value), text if text is not None else value)


def _string(argument: str) -> str | None:
    match = re.match(r'\[?"((?:\\.|[^"\\])*)"', argument)
    return unquoted(match[1]).rstrip("\0") if match else None


_LEVELS: Final = {
    "SOL_SOCKET": socket.SOL_SOCKET,
    "SOL_IP": socket.SOL_IP,
    "IPPROTO_IP": socket.SOL_IP,
    "SOL_TCP": socket.SOL_TCP,
    "IPPROTO_TCP": socket.SOL_TCP,
    "SOL_IPV6": socket.IPPROTO_IPV6,
    "IPPROTO_IPV6": socket.IPPROTO_IPV6,
}
_OPTIONS: Final = {
    (socket.SOL_SOCKET, socket.SO_REUSEADDR): "SO_REUSEADDR",
    (socket.SOL_SOCKET, socket.SO_REUSEPORT): "SO_REUSEPORT",
    (socket.SOL_SOCKET, socket.SO_LINGER): "SO_LINGER",
    (socket.SOL_SOCKET, socket.SO_BINDTODEVICE): "SO_BINDTODEVICE",
    (socket.SOL_SOCKET, 62): "SO_BINDTOIFINDEX",
    (socket.SOL_SOCKET, socket.SO_ERROR): "SO_ERROR",
    (socket.SOL_IP, 15): "IP_FREEBIND",
    (socket.SOL_IP, 19): "IP_TRANSPARENT",
    (socket.SOL_IP, 50): "IP_UNICAST_IF",
    (socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT): "IP_BIND_ADDRESS_NO_PORT",
    (socket.SOL_IP, IP_LOCAL_PORT_RANGE): "IP_LOCAL_PORT_RANGE",
    (socket.SOL_TCP, 30): "TCP_FASTOPEN_CONNECT",
    (socket.IPPROTO_IPV6, 75): "IPV6_TRANSPARENT",
    (socket.IPPROTO_IPV6, 76): "IPV6_UNICAST_IF",
    (socket.IPPROTO_IPV6, 78): "IPV6_FREEBIND",
}
