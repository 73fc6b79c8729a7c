"""Arguments of calls: by name where strace has one, by number where it has none, and unknown where neither is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.trace import arguments
from loadgen.trace.arguments import Descriptor, OptionSet, SocketAddress


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("3, 128", ["3", "128"]),
        ('3, {a=1, b="x, y"}, [1, 2]', ["3", '{a=1, b="x, y"}', "[1, 2]"]),
        ("4<TCP:[1.2.3.4:5->6.7.8.9:10]>, 16", ["4<TCP:[1.2.3.4:5->6.7.8.9:10]>", "16"]),
        (r'"a\"b, c"..., 3', [r'"a\"b, c"...', "3"]),
        ("0x33 /* IP_???, or none */, [1]", ["0x33 /* IP_???, or none */", "[1]"]),
        ('3, "not closed, 4', ["3", '"not closed, 4']),
    ],
)
def test_commas_inside_of_something_divide_nothing(text: str, parts: list[str]) -> None:
    assert arguments.split(text) == parts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3", Descriptor(3)),
        ("0x1f", Descriptor(31)),
        ("3<socket:[4711]>", Descriptor(3, 4711)),
        ("3<TCP:[4711]>", Descriptor(3, 4711, "TCP")),
        ("3<UDPv6:[[::1]:40000->[::1]:53]>", Descriptor(3, 0, "UDP")),
        ("3</tmp/file>", Descriptor(3)),
        ("-1", None),
        ("AT_FDCWD", None),
    ],
)
def test_descriptors(text: str, found: Descriptor | None) -> None:
    assert arguments.descriptor(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.7")}', SocketAddress("10.0.0.7", 80)),
        (r'{sa_family=0x2, sin_port="\x1f\x90", sin_addr="\x7f\x00\x00\x01"}', SocketAddress("127.0.0.1", 8080)),
        (
            r'{sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("\x31\x2e\x32\x2e\x33\x2e\x34")}',
            SocketAddress("1.2.3.4", 1),
        ),
        (
            '{sa_family=AF_INET6, sin6_port=htons(443), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}',
            SocketAddress("::1", 443),
        ),
        (
            (
                '{sa_family=AF_INET6, sin6_port=htons(1), inet_pton(AF_INET6, "fe80::1", &sin6_addr), '
                'sin6_scope_id=if_nametoindex("eth0")}'
            ),
            SocketAddress("fe80::1%eth0", 1),
        ),
        (
            '{sa_family=AF_INET6, sin6_port=htons(1), inet_pton(AF_INET6, "::ffff:10.0.0.7", &sin6_addr)}',
            SocketAddress("10.0.0.7", 1),
        ),
        ('{sa_family=AF_UNIX, sun_path="/run/nscd/socket"}', None),
        ('{sa_family=AF_INET, sin_port=htons(99999), sin_addr=inet_addr("10.0.0.7")}', None),
        ('{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.7777")}', None),
        ("0x7ffd8a90", None),
        ("NULL", None),
    ],
)
def test_addresses(text: str, found: SocketAddress | None) -> None:
    assert arguments.sockaddr(text) == found


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("{sa_family=AF_INET, ...}", "AF_INET"),
        ("{sa_family=0xa /* AF_INET6 */, ...}", "AF_INET6"),
        ("{sa_family=0x2, ...}", "AF_INET"),
        ('{sa_family=AF_UNSPEC, sa_data="\\0"}', "AF_UNSPEC"),
        ("0x7ffd", ""),
    ],
)
def test_families(text: str, family: str) -> None:
    assert arguments.family(text) == family


@pytest.mark.parametrize(
    ("level", "name", "value", "found"),
    [
        ("SOL_SOCKET", "SO_REUSEADDR", "[1]", OptionSet("SO_REUSEADDR", 1, "[1]")),
        ("SOL_SOCKET", "SO_REUSEADDR", "[0]", OptionSet("SO_REUSEADDR", 0, "[0]")),
        ("0x1 /* SOL_SOCKET */", "0x2 /* SO_REUSEADDR */", "[1]", OptionSet("SO_REUSEADDR", 1, "[1]")),
        ("0x1", "0x2", "[1]", OptionSet("SO_REUSEADDR", 1, "[1]")),
        ("SOL_IP", "0x18 /* IP_??? */", "[1]", OptionSet("IP_BIND_ADDRESS_NO_PORT", 1, "[1]")),
        (
            "SOL_IP",
            "0x33 /* IP_??? */",
            "[-1672831936]",
            OptionSet("IP_LOCAL_PORT_RANGE", -1672831936, "[-1672831936]"),
        ),
        ("SOL_IPV6", "0x4e /* IPV6_??? */", "[1]", OptionSet("IPV6_FREEBIND", 1, "[1]")),
        ("SOL_SOCKET", "SO_LINGER", "{l_onoff=1, l_linger=0}", OptionSet("SO_LINGER", 1, "{l_onoff=1, l_linger=0}")),
        ("SOL_SOCKET", "SO_LINGER", "{l_onoff=1, l_linger=5}", OptionSet("SO_LINGER", 0, "{l_onoff=1, l_linger=5}")),
        ("SOL_SOCKET", "SO_BINDTODEVICE", r'"lo\0"', OptionSet("SO_BINDTODEVICE", 2, "lo")),
        ("SOL_SOCKET", "SO_BINDTODEVICE", '""', OptionSet("SO_BINDTODEVICE", 0, "")),
    ],
)
def test_options(level: str, name: str, value: str, found: OptionSet) -> None:
    assert arguments.option(level, name, value) == found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[ECONNREFUSED]", "ECONNREFUSED"),
        ("[111]", "ECONNREFUSED"),
        ("[111 /* ECONNREFUSED */]", "ECONNREFUSED"),
        ("[0]", ""),
        ("0x7ffd", ""),
        ("", ""),
    ],
)
def test_the_error_that_a_socket_keeps(text: str, name: str) -> None:
    assert arguments.error_name(text) == name


@given(st.text(alphabet='()<>[]{}"\\,= /*0129afx->', max_size=60) | st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    parts = arguments.split(text)
    assert all(part == part.strip() for part in parts)
    for part in parts:
        arguments.descriptor(part)
        arguments.sockaddr(part)
        arguments.family(part)
        arguments.number(part)
        arguments.error_name(part)
        arguments.option(part, part, part)
        arguments.unquoted(part)
