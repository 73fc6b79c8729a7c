"""Searches of the kernel: for a free port, and for a connection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.doctor import search
from loadgen.doctor.finding import Grade, Purpose

from .reading import HOST, found


@pytest.mark.parametrize(
    ("connections", "pairs", "verdict"),
    [(14_116, 1, Grade.GOOD), (14_117, 1, Grade.TIGHT), (28_232, 2, Grade.GOOD), (28_233, 2, Grade.TIGHT)],
)
def test_the_search_for_a_port_is_long_beyond_half_of_the_range(connections: int, pairs: int, verdict: Grade) -> None:
    finding = found(search.port_search, Purpose(connections, pairs))
    assert (finding.name, finding.value, finding.verdict) == ("port-search", "from 14,116 on", verdict)
    assert "kernel: 14,116 per source address and destination" in finding.judgement.allows
    assert "bind: 14,116 of a source address" in finding.judgement.allows
    assert "reuseaddr: 7,058 of a source address" in finding.judgement.allows
    assert "late-range" not in finding.judgement.allows
    assert "IP_BIND_ADDRESS_NO_PORT and IP_LOCAL_PORT_RANGE" in finding.judgement.gains


@pytest.mark.parametrize(
    ("width", "connections", "verdict"),
    [("0", 28_000, Grade.GOOD), ("1024", 14_116, Grade.GOOD), ("1024", 14_117, Grade.TIGHT)],
)
def test_a_random_step_makes_the_search_for_the_last_ports_longer(width: str, connections: int, verdict: Grade) -> None:
    finding = found(search.step_width, Purpose(connections), sysctls={"ip_local_port_step_width": width})
    assert finding.verdict is verdict
    assert ("up to 1,024" in finding.judgement.allows) is (width == "1024")


def test_a_kernel_without_the_step_has_no_row_for_it() -> None:
    sysctls = {name: value for name, value in HOST.sysctls.items() if name != search.step_width.name}
    assert not search.step_width.asked(replace(HOST, sysctls=sysctls), Purpose())
    assert search.step_width.asked(HOST, Purpose())


@pytest.mark.parametrize(
    ("child", "entries", "says", "verdict"),
    [
        ("0", "262144", "262,144 buckets, 0.8 in each", Grade.GOOD),
        ("0", "-262144", "262,144 buckets, 0.8 in each", Grade.GOOD),
        ("300", "262144", "512 buckets, 390.6 in each", Grade.TIGHT),
        ("2097152", "262144", "a tcp_max_tw_buckets of 1,048,576: 2,097,152 buckets", Grade.GOOD),
    ],
)
def test_namespaces_share_a_table_of_connections_or_have_their_own(
    child: str, entries: str, says: str, verdict: Grade
) -> None:
    sysctls = {"tcp_child_ehash_entries": child, "tcp_ehash_entries": entries}
    finding = found(search.child_buckets, sysctls=sysctls)
    assert says in finding.judgement.allows
    assert finding.verdict is verdict


def test_a_namespace_with_a_table_of_its_own_does_not_know_that_of_the_host() -> None:
    sysctls = {name: value for name, value in HOST.sysctls.items() if name != "net.ipv4.tcp_mem"}
    nested = replace(HOST, sysctls={**sysctls, "net.ipv4.tcp_ehash_entries": "1024"})
    assert "buckets" not in search.child_buckets.find(nested, Purpose()).judgement.allows
