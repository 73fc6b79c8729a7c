"""Protocol counters from the files of two kernels, and malformed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.kernel import snmp

PROC = Path(__file__).parents[2] / "data" / "proc"


@pytest.mark.parametrize("kernel", ["linux-6.18", "linux-5.10"])
def test_counters_have_the_names_of_nstat(kernel: str) -> None:
    counters = snmp.read(PROC / kernel / "net")
    assert counters["Tcp.ActiveOpens"] == 5
    assert counters["Tcp.AttemptFails"] == 1
    assert counters["Tcp.MaxConn"] == -1
    assert counters["TcpExt.TW"] == 1
    assert counters["TcpExt.TWRecycled"] == 0
    assert counters["IpExt.InOctets"] == 772


def test_columns_depend_on_the_kernel() -> None:
    new, old = (snmp.read(PROC / kernel / "net") for kernel in ("linux-6.18", "linux-5.10"))
    assert set(old) < set(new)
    assert {"Ip.OutTransmits", "TcpExt.PAWSTimewait", "MPTcpExt.MPCurrEstab"} <= set(new) - set(old)


def test_an_unknown_column_is_included() -> None:
    assert snmp.parse("Quic: Opens\nQuic: 18446744073709551615\n") == {"Quic.Opens": 2**64 - 1}


def test_a_group_may_have_several_pairs_of_lines() -> None:
    """IcmpMsg has at most 16 counters on a line."""
    text = "IcmpMsg: InType3\nIcmpMsg: 1\nIcmpMsg: OutType3\nIcmpMsg: 2\n"
    assert snmp.parse(text) == {"IcmpMsg.InType3": 1, "IcmpMsg.OutType3": 2}


def test_an_empty_file_has_no_counters() -> None:
    assert snmp.parse("") == {}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("Tcp: A B\nTcp: 1\n", "'Tcp: 1'"),
        ("Tcp: A\nTcp: 1 2\n", "'Tcp: 1 2'"),
        ("Tcp: A\nTcp: one\n", "'Tcp: one'"),
        ("Tcp: A\nUdp: 1\n", "'Udp: 1'"),
        ("Tcp: A\nTcp: 1\nUdp: A\n", "no line of values for 'Udp'"),
        ("nonsense\nTcp: 1\n", "'nonsense'"),
    ],
)
def test_the_line_that_breaks_the_format_is_quoted(text: str, quoted: str) -> None:
    with pytest.raises(ValueError, match=quoted):
        snmp.parse(text)


def test_a_process_that_has_exited(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        snmp.read(tmp_path)


def test_delta_has_the_changes() -> None:
    before = {"Tcp.ActiveOpens": 7, "Tcp.CurrEstab": 5, "Tcp.InErrs": 0}
    after = {"Tcp.ActiveOpens": 9, "Tcp.CurrEstab": 4, "Tcp.InErrs": 0, "IcmpMsg.InType3": 1, "Tcp.New": 0}
    assert snmp.delta(before, after) == {"Tcp.ActiveOpens": 2, "Tcp.CurrEstab": -1, "IcmpMsg.InType3": 1}
    assert snmp.delta(after, after) == {}


@pytest.mark.parametrize(
    ("moved", "entered"),
    [({}, 0), ({"TcpExt.TW": 5}, 5), ({"TcpExt.TW": 5, "TcpExt.TWKilled": 2, "TcpExt.TWRecycled": 4}, 7)],
)
def test_both_counters_of_small_sockets_are_entries_of_time_wait(moved: dict[str, int], entered: int) -> None:
    assert snmp.entered_time_wait(moved) == entered
