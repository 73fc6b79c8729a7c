"""Durations, rates, addresses and ports: what is understood, what is refused, and that the sums are right."""

import ipaddress
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.model import Endpoint, PortRange
from loadgen.scenario.units import (
    LINK_LOCAL,
    Block,
    Destination,
    block,
    check_usable,
    destination,
    duration_s,
    endpoint,
    host_name,
    is_interface,
    port_range,
    rate_per_s,
    whole_number,
)

V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
V6 = st.integers(2**64, 2**128 - 1).map(ipaddress.IPv6Address)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("2m", 120),
        ("1h", 3600),
        ("1m30s", 90),
        ("1.5s", 1.5),
        ("0s", 0),
        ("1h2m3s4ms", 3723.004),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *("", "30", 30, 1.5, True, None, [], "-1s", "1 s", "nan", "inf", "infs", "1e3s", "30s1m", "1s1s", "1d", "1S"),
        *("1s\n", "٣s", "1.s", ".5s", "9" * 200 + "s"),
    ],
)
def test_no_durations(value: object) -> None:
    with pytest.raises(ValueError, match="write 30s, 2m or 500ms"):
        duration_s(value)


@settings(max_examples=100)
@given(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999), st.integers(0, 9999))
def test_the_parts_of_a_duration_add_up(h: int, m: int, s: int, ms: int) -> None:
    assert duration_s(f"{h}h{m}m{s}s{ms}ms") == pytest.approx(h * 3600 + m * 60 + s + ms / 1000, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20000/s", 20_000),
        ("20_000/s", 20_000),
        ("600/min", 10),
        ("3600/h", 1),
        ("0.5/s", 0.5),
        ("0/s", 0),
        ("1/h", 1 / 3600),
        ("5 / s", 5),
    ],
)
def test_rates(text: str, rate: float) -> None:
    assert rate_per_s(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (20000, "write 20000/s"),
        ("20000", "write 20000/s"),
        (500, "write 500/s"),
        ("1.5k/s", "write 1500/s"),
        ("100k", "write 100000/s"),
        ("fast", "write 20000/s"),
        ("", "write 20000/s"),
        (None, "write 20000/s"),
        ("-1/s", "write 20000/s"),
        ("inf/s", "write 20000/s"),
        ("5/m", "write 5/s"),
        ("10000001/s", "from 1/h to 10000000/s"),
        ("0.5/h", "from 1/h to 10000000/s"),
    ],
)
def test_no_rates(value: object, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        rate_per_s(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("100k", 100_000),
        ("1.5M", 1_500_000),
        ("2 K", 2000),
        (1e5, 100_000),
        ("20", 20),
        ("many", None),
        (0.5, None),
        (True, None),
        (None, None),
        ("²", None),
        (float("inf"), None),
    ],
)
def test_the_whole_number_somebody_meant(value: object, number: int | None) -> None:
    assert whole_number(value) == number


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("10.0.0.1", ["10.0.0.1"]),
        ("::ffff:10.0.0.1", ["10.0.0.1"]),
        ("FD00:0::1", ["fd00::1"]),
        ("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.0/31", ["10.0.0.0", "10.0.0.1"]),
        ("10.0.0.7/32", ["10.0.0.7"]),
        ("127.0.0.0/30", ["127.0.0.1", "127.0.0.2"]),
        ("::ffff:10.0.0.0/126", ["10.0.0.1", "10.0.0.2"]),
        ("fd00::/126", ["fd00::", "fd00::1", "fd00::2", "fd00::3"]),
        ("127.0.0.9-127.0.0.11", ["127.0.0.9", "127.0.0.10", "127.0.0.11"]),
        ("127.0.0.2-4", ["127.0.0.2", "127.0.0.3", "127.0.0.4"]),
        ("127.0.0.2 - 127.0.0.2", ["127.0.0.2"]),
        ("10.0.0.255-10.0.1.0", ["10.0.0.255", "10.0.1.0"]),
        ("fd00::fe-fd00::101", ["fd00::fe", "fd00::ff", "fd00::100", "fd00::101"]),
        ("::ffff:127.0.0.2-::ffff:127.0.0.3", ["127.0.0.2", "127.0.0.3"]),
        ("FE80:0::1%eth0", ["fe80::1%eth0"]),
        ("febf::1%br-lan_0.7", ["febf::1%br-lan_0.7"]),
    ],
)
def test_blocks(text: str, addresses: list[str]) -> None:
    assert list(block(text).addresses()) == addresses
    assert block(text).count == len(addresses)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("010.0.0.1", "write 10.0.0.1 .* octal"),
        ("10.0.0.010-10.0.0.12", "write 10.0.0.10 .* octal"),
        ("010.0.0.0/8", "octal"),
        ("10.0.0.256", "0 to 255"),
        ("10.0.0.1/24", r"write 10\.0\.0\.0/24"),
        ("10.0.0.0/255.0.0.0", "prefix length as a number"),
        ("10.0.0.0/33", "from 0 to 32"),
        ("10.0.0.0/024", "prefix length"),
        ("::ffff:10.0.0.0/90", "from 96 to 128"),
        ("10.0.0.0/", "prefix length"),
        ("127.0.0.9-2", r"lower address first: 127\.0\.0\.2-127\.0\.0\.9"),
        ("127.0.0.2-256", "0 to 255"),
        ("10.0.0.1-fd00::1", "both ends"),
        ("fe80::1%", "name of an interface"),
        ("fe80::1%1", "name of an interface"),
        ("fe80::1%eth0%eth1", "name of an interface"),
        ("fe80::1%sixteen-letters-", "name of an interface"),
        ('fe80::1%"><script>', "name of an interface"),
        ("fe80::1%eth0\n", "name of an interface"),
        ("fe80::1%eth0/64", "name of an interface"),
        ("fe80::/64%eth0", "write an address"),
        ("fe80::1-fe80::2%eth0", "write an address"),
        ("fe80::1%eth0-fe80::2", "name of an interface"),
        ("fd00::1%eth0", "without a zone"),
        ("::1%lo", "without a zone"),
        ("127.0.0.1%lo", "without a zone"),
        ("::ffff:127.0.0.1%lo", "without a zone"),
        ("1.2.3", "write an address"),
        ("", "write an address"),
        ("1.2.3.4 ", "write an address"),
    ],
)
def test_no_blocks(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        block(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("223.255.255.255-224.0.0.0", "multicast"),
        ("::-::5", "unspecified"),
        ("fd00::-ffff::", "multicast"),
        ("fe80::1", "fe80::1%eth0"),
        ("fe80::/64", "fe80::1%eth0"),
        ("fd00::-fe80::", "fe80::1%eth0"),
    ],
)
def test_what_cannot_be_an_end_of_a_connection(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_usable(block(text))


@settings(max_examples=100)
@given(V4 | V6, st.integers(0, 128))
def test_a_cidr_means_what_the_standard_library_means(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int
) -> None:
    network = ipaddress.ip_network(f"{address}/{min(length, address.max_prefixlen)}", strict=False)
    found = block(str(network))
    edges = 2 if network.version == 4 and network.prefixlen <= 30 else 0
    assert found.count == network.num_addresses - edges
    assert found.within(network)
    if found.count <= 1024 and network.version == 4:
        assert list(found.addresses()) == [str(host) for host in network.hosts()]


@settings(max_examples=100)
@given(V4 | V6, st.integers(0, 300))
def test_a_range_has_both_its_ends_and_all_between(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, extra: int
) -> None:
    extra = min(extra, 2**address.max_prefixlen - 1 - int(address))
    found = block(f"{address}-{address + extra}")
    addresses = list(found.addresses())
    assert found == Block(address.version, int(address), int(address) + extra)
    assert len(addresses) == found.count == extra + 1
    assert addresses == [str(address + offset) for offset in range(extra + 1)]


def test_the_size_of_everything_is_known_without_looking_at_it() -> None:
    assert block("::/0").count == 2**128
    with pytest.raises(TypeError):
        len(block("::/0"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:9000", Endpoint("127.0.0.1", 9000)),
        ("[::1]:65535", Endpoint("::1", 65535)),
        ("[::FFFF:10.0.0.1]:1", Endpoint("10.0.0.1", 1)),
        ("[FE80::1%eth0]:80", Endpoint("fe80::1%eth0", 80)),
    ],
)
def test_endpoints(text: str, found: Endpoint) -> None:
    assert endpoint(text) == found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("127.0.0.1", "address and port"),
        ("", "address and port"),
        ("::1", "in brackets"),
        ("::1:9000", "in brackets"),
        ("[::1]", "address and port"),
        ("[127.0.0.1]:80", "brackets are for IPv6"),
        ("localhost:80", "literal address"),
        ("example.com:80", "literal address"),
        ("http://127.0.0.1", "literal address"),
        ("http://127.0.0.1:80", "without a scheme"),
        ("127.0.0.1:9000-9009", "port from 1 to 65535"),
        ("127.0.0.1:0", "port from 1 to 65535"),
        ("127.0.0.1:65536", "port from 1 to 65535"),
        ("127.0.0.1:080", "port from 1 to 65535"),
        ("127.0.0.1:", "port from 1 to 65535"),
        ("010.0.0.1:80", "octal"),
        ("0.0.0.0:80", "write 127.0.0.1 to mean this host"),
        ("[::]:80", "write ::1 to mean this host"),
        ("0.1.2.3:80", "unspecified"),
        ("[ff02::1]:80", "multicast"),
        ("[fe80::1]:80", "fe80::1%eth0"),
        ("[::1%lo]:80", "without a zone"),
        ("10.0.0.0/24:80", "write an address"),
    ],
)
def test_no_endpoints(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        endpoint(text)


@pytest.mark.parametrize(
    ("value", "found"),
    [("1024-65535", PortRange(1024, 65535)), (8080, PortRange(8080, 8080)), ("8080", PortRange(8080, 8080))],
)
def test_ports(value: object, found: PortRange) -> None:
    assert port_range(value) == found


@pytest.mark.parametrize("value", ["0-5", "5-70000", "5-", "-5", "9-5", "a", "", 0, -1, True, 1.5, None, [1]])
def test_no_ports(value: object) -> None:
    with pytest.raises(ValueError, match="write"):
        port_range(value)


def test_interfaces_are_names_and_never_addresses() -> None:
    assert all(map(is_interface, ["eth0", "br-lan", "eth0.100", "lo", "_x", "wlp2s0"]))
    assert not any(map(is_interface, ["10.0.0.1", "fd00::1", "0eth", "a" * 16, "a/b", "a b", "", "é"]))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:9000", Destination("127.0.0.1", "", PortRange(9000, 9000))),
        ("127.0.0.1:9000-9009", Destination("127.0.0.1", "", PortRange(9000, 9009))),
        ("[::1]:1-65535", Destination("::1", "", PortRange(1, 65535))),
        ("[::ffff:127.0.0.1]:80-81", Destination("127.0.0.1", "", PortRange(80, 81))),
        ("[fe80::1%eth0]:9000", Destination("fe80::1%eth0", "", PortRange(9000, 9000))),
        ("Redis.Internal:6379", Destination("", "redis.internal", PortRange(6379, 6379))),
        ("localhost:9000-9003", Destination("", "localhost", PortRange(9000, 9003))),
        ("3com.example.:80", Destination("", "3com.example.", PortRange(80, 80))),
    ],
)
def test_destinations(text: str, found: Destination) -> None:
    assert destination(text) == found
    assert destination(str(found)) == found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("localhost", "address and port"),
        ("localhost:", "port from 1"),
        ("localhost:9003-9000", "lower port first: 9000-9003"),
        ("127.0.0.1:1-65536", "port from 1"),
        ("[localhost]:80", "brackets are for IPv6"),
        ("http://localhost:80", "without a scheme"),
        *(
            (text, "letters, digits and hyphens")
            for text in (
                *("user@localhost:80", "my_service:80", "-a:80", "a-.b:80", "a..b:80", "b\u00fccher.example:80"),
                *("a b:80", "a\x00:80", "a\n:80", "<script>:80", "$(id):80", "x" * 64 + ":80"),
            )
        ),
        (".".join(["x" * 63] * 4) + ":80", "at most 253"),
        ("0x7f000001:80", "in full"),
        ("127.0x1:80", "in full"),
        ("example.1:80", "in full"),
        ("127.1:80", "write an address"),
        ("2130706433:80", "write an address"),
        ("[fe80::1]:80", "fe80::1%eth0"),
        ('[fe80::1%"><script>]:80', "name of an interface"),
        ("0.0.0.0:80", "write 127.0.0.1 to mean this host"),
        ("[::]:80", "write ::1 to mean this host"),
        ("0.1.2.3:80", "unspecified"),
    ],
)
def test_no_destinations(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        destination(text)


@given(st.text(string.printable + "\u00e9", max_size=20))
def test_a_host_name_is_made_of_nothing_that_could_do_harm(text: str) -> None:
    try:
        found = host_name(text)
    except ValueError:
        return
    assert set(found) <= set(string.ascii_lowercase + string.digits + "-.")
    assert found == text.lower()
    assert not found.startswith(("-", "."))
    with pytest.raises(ValueError, match="does not appear"):
        ipaddress.ip_address(found)


def test_a_zone_stays_with_its_address_and_outside_the_arithmetic() -> None:
    found = block("fe80::1%eth0")
    assert (found.zone, found.count) == ("eth0", 1)
    assert found.within(LINK_LOCAL)
    assert found.meets(LINK_LOCAL)
    assert not block("fd00::1").meets(LINK_LOCAL)
