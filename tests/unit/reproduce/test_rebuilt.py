"""What recipes share: the strategy, the settings that a lab can have, the comments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.model import PortRange, Strategy, Transport
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.rebuilt import NotReproducibleError, Rebuilt, lab_value

FULL = Circumstances("four-tuples", ports=PortRange(32768, 60999), because={"ports": "ticket.txt:3"})


@pytest.mark.parametrize(
    ("facts", "strategy"),
    [
        ({}, Strategy.KERNEL),
        ({"sources": ("10.0.0.5", "10.0.0.6")}, Strategy.LATE),
        ({"strategy": Strategy.LATE_RANGE}, Strategy.LATE_RANGE),
        ({"limit": "source-ports"}, Strategy.BIND),
        ({"limit": "source-ports", "transport": Transport.UDP}, Strategy.KERNEL),
        ({"limit": "source-ports", "transport": Transport.UDP, "fails": ("bind", "EADDRINUSE")}, Strategy.BIND),
        ({"limit": "time-wait", "fails": ("bind", "EADDRINUSE")}, Strategy.BIND),
        ({"limit": "time-wait", "source_port": 5060, "fails": ("bind", "EADDRINUSE")}, Strategy.EXCLUSIVE),
        ({"limit": "time-wait", "source_port": 5060, "fails": ("connect", "EADDRNOTAVAIL")}, Strategy.EXPLICIT),
        # The errno is what happened; a strategy that cannot end so is that of another program.
        ({"limit": "source-ports", "strategy": Strategy.LATE, "fails": ("bind", "EADDRINUSE")}, Strategy.BIND),
        ({"limit": "port-search", "strategy": Strategy.LATE_RANGE}, Strategy.KERNEL),
    ],
)
def test_the_strategy_is_that_of_the_evidence_or_one_that_ends_so(facts: dict[str, object], strategy: Strategy) -> None:
    assert Rebuilt(replace(FULL, **facts)).strategy is strategy  # type: ignore[arg-type]  # fields by name


def test_no_strategy_fits_evidence_of_two_programs() -> None:
    facts = replace(FULL, fails=("connect", "EAGAIN"))
    with pytest.raises(NotReproducibleError, match="ends with connect EAGAIN over tcp"):
        _ = Rebuilt(facts).strategy


def test_the_capacity_counts_what_the_strategy_shares() -> None:
    facts = replace(FULL, sources=("10.0.0.5", "10.0.0.6"), targets=("10.0.0.7:1", "10.0.0.7:2", "10.0.0.7:3"))
    assert Rebuilt(facts).capacity == 600
    assert Rebuilt(replace(facts, limit="source-ports")).capacity == 200
    assert Rebuilt(replace(facts, limit="source-ports", transport=Transport.UDP, sources=())).capacity == 100


def test_without_a_usable_port_the_limit_is_another_one() -> None:
    facts = replace(FULL, ports=PortRange(40000, 40001), reserved=(40000, 40001))
    with pytest.raises(NotReproducibleError, match="limit port-held and not four-tuples"):
        _ = Rebuilt(facts).capacity


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("net.ipv4.tcp_tw_reuse", "1", 1),
        ("net.ipv4.tcp_rmem", "4096\t131072\t6291456", "4096 131072 6291456"),
        ("net.ipv4.tcp_mem", "1 2 3", None),  # exists once per host
        ("net.netfilter.nf_conntrack_max", "65536", None),
        ("net.ipv4.tcp_tw_recycle", "1", None),  # gone
        ("net.ipv4.ip_local_port_range", "1024 65535", None),  # written from `ports`
        ("kernel.pid_max", "5", None),
        ("net.ipv4.tcp_tw_reuse", "1; reboot", None),
        ("net.ipv4.tcp_tw_reuse", "", None),
        ("net.ipv4.no_such_thing", "1", None),
    ],
)
def test_settings_that_a_lab_can_have(name: str, value: str, kept: int | str | None) -> None:
    assert lab_value(name, value) == kept


def test_the_buckets_shrink_with_the_range() -> None:
    draft = Rebuilt(replace(FULL, sysctls={"net.ipv4.tcp_max_tw_buckets": "5000"})).draft("It is so.")
    assert draft.sysctls["net.ipv4.tcp_max_tw_buckets"].value == 18


def test_a_range_below_1024_needs_another_setting_first() -> None:
    draft = Rebuilt(replace(FULL, ports=PortRange(900, 950))).draft("It is so.")
    assert list(draft.sysctls) == ["net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_port_range"]


def test_a_comment_names_the_place_or_says_that_it_was_chosen() -> None:
    rebuilt = Rebuilt(FULL)
    assert rebuilt.because("ports", "and more") == "ticket.txt:3; and more"
    assert rebuilt.because("limit") == "of the evidence"
    assert rebuilt.because("wanted", "and more") == "chosen here"
    assert rebuilt.because("wanted", otherwise="it is enough") == "chosen here: it is enough"


def test_a_place_is_harmless_and_short() -> None:
    because = Rebuilt(replace(FULL, because={"limit": "a\x1b[31m\n" + "b" * 500})).because("limit")
    assert because.startswith("a\\x1b[31m\\nbbb")
    assert len(because) == 200
