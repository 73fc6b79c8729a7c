"""IPv6 counters from the files of two kernels, and malformed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.kernel import snmp6

PROC = Path(__file__).parents[2] / "data" / "proc"


def test_counters_have_the_names_of_ipv4_with_a_six() -> None:
    counters = snmp6.read(PROC / "linux-6.18" / "net")
    udp = {name: value for name, value in counters.items() if name.startswith("Udp6.") and value}
    assert udp == {"Udp6.InDatagrams": 3, "Udp6.NoPorts": 2, "Udp6.OutDatagrams": 5}


def test_an_older_kernel_has_fewer_counters() -> None:
    new, old = (snmp6.read(PROC / kernel / "net") for kernel in ("linux-6.18", "linux-4.19"))
    assert old["Udp6.InDatagrams"] == 486_201
    assert old["Udp6.RcvbufErrors"] == 12
    assert set(new) - set(old) >= {"Ip6.OutTransmits", "Udp6.MemErrors", "UdpLite6.MemErrors"}


def test_a_group_ends_with_the_first_six() -> None:
    assert snmp6.parse("Icmp6OutType135                 \t28\nQuic6Opens 1\n") == {
        "Icmp6.OutType135": 28,
        "Quic6.Opens": 1,
    }


def test_a_kernel_without_ipv6_has_no_counters() -> None:
    assert snmp6.read(PROC / "linux-5.10" / "net") == {}
    assert snmp6.parse("") == {}


@pytest.mark.parametrize("line", ["Udp6InDatagrams", "Udp6InDatagrams many", "UdpInDatagrams 1", "Udp6 1", "1 2"])
def test_the_line_that_breaks_the_format_is_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=f"'{line}'"):
        snmp6.parse(f"Udp6NoPorts 0\n{line}\n")
