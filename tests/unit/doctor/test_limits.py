"""All limits of a host together, and which of them to change first."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from loadgen.doctor import finding, limits
from loadgen.doctor.finding import ChangeCommands, Grade, LimitFinding, LimitJudgement, Purpose
from loadgen.doctor.reading import Reading

from .reading import HOST

CHANGE = ChangeCommands(("do",))


def made(name: str, verdict: Grade, gain: int = 0, change: ChangeCommands = CHANGE) -> LimitFinding:
    return LimitFinding(name, "1", LimitJudgement(verdict, "", change, gain))


def test_every_limit_is_found_once_with_words_and_a_change() -> None:
    everything = Purpose(rate_per_s=331.0, services=(8500,))
    found = limits.find_all(HOST.with_sysctl("net.ipv4.tcp_tw_recycle", "0"), everything)
    assert len({one.name for one in found}) == len(found) == len(limits.ALL)
    for one in found:
        assert one.judgement.allows
        assert one.verdict is not Grade.ABSENT, one.name
        if one.verdict in (Grade.WALL, Grade.TIGHT) and any(one.judgement.change):
            assert one.judgement.gains, one.name


def test_rates_services_and_settings_that_are_gone_have_a_row_only_where_asked_for() -> None:
    names = {one.name for one in limits.find_all(HOST, Purpose())}
    assert len(limits.ALL) - len(names) == 4
    assert not any(name.startswith(("rate:", "ports of services")) for name in names)
    assert "net.ipv4.tcp_tw_recycle" not in names


def test_on_an_empty_kernel_only_the_range_is_needed() -> None:
    """In a container of an old kernel nearly everything is missing, and nothing fails for it."""
    bare = replace(HOST, sysctls={"net.ipv4.ip_local_port_range": "32768 60999"}, sockets={})
    found = {one.name: one for one in limits.find_all(bare, Purpose())}
    assert found["net.ipv4.ip_local_port_range"].verdict is Grade.WALL
    absent = [one for one in found.values() if one.verdict is Grade.ABSENT]
    assert {one.value for one in absent} == {"not here"}
    assert len(absent) == 26
    assert not any(one in absent for one in limits.to_change_first(list(found.values())))


def test_a_setting_that_may_not_be_read_says_so() -> None:
    sysctls = {name: value for name, value in HOST.sysctls.items() if name != "fs.nr_open"}
    host = replace(HOST, sysctls=sysctls, refused=frozenset({"fs.nr_open"}))
    (found,) = (one for one in limits.find_all(host, Purpose()) if one.name == "fs.nr_open")
    assert (found.value, found.verdict) == ("unreadable", Grade.ABSENT)


def test_the_walls_of_the_default_host_come_first() -> None:
    found = limits.find_all(HOST, Purpose())
    walls = ["net.ipv4.ip_local_port_range", "RLIMIT_NOFILE soft"]
    assert [one.name for one in found if one.verdict is Grade.WALL] == walls
    assert [one.name for one in limits.to_change_first(found)] == [
        *walls,
        "port-search",
        "net.ipv4.tcp_tw_reuse",
        "RLIMIT_NOFILE hard",
    ]


def test_the_largest_gain_comes_first_and_then_walls() -> None:
    found = [
        made("good", Grade.GOOD, 1_000),
        made("tight", Grade.TIGHT),
        made("wall", Grade.WALL),
        made("nothing to do", Grade.WALL, 500, ChangeCommands()),
        made("small", Grade.WALL, 10),
        made("large", Grade.TIGHT, 20),
    ]
    assert [one.name for one in limits.to_change_first(found)] == ["large", "small", "wall", "tight"]


def test_the_list_of_what_to_change_first_is_short() -> None:
    assert len(limits.to_change_first([made(str(number), Grade.WALL, number) for number in range(9)])) == 5


def test_verdicts_are_counted_the_worst_first() -> None:
    found = [made("a", Grade.GOOD), made("b", Grade.WALL), made("c", Grade.GOOD)]
    assert list(limits.count(found).items()) == [("wall", 1), ("tight", 0), ("good", 2), ("absent", 0)]


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_gain_is_never_more_than_is_missing(needed: int, available: int, after: int) -> None:
    assert 0 <= finding.more(needed, available, after) <= max(needed - available, 0)


@given(st.integers(1, 2**62))
def test_a_roomy_number_is_a_power_of_two_that_holds_it(number: int) -> None:
    roomy = finding.roomy(number)
    assert number <= roomy < 2 * number
    assert roomy & (roomy - 1) == 0


@given(st.integers(1, 10**6), st.integers(1, 100))
def test_more_connections_never_make_a_verdict_better(connections: int, pairs: int) -> None:
    order = [Grade.GOOD, Grade.TIGHT, Grade.WALL]
    for fewer, many in zip(*(_walls(HOST, Purpose(n, pairs)) for n in (connections, 2 * connections)), strict=True):
        assert fewer.name == many.name
        # What is taken out of a range is a wall only where the range itself is none.
        if fewer.verdict in order and many.verdict in order:
            assert order.index(fewer.verdict) <= order.index(many.verdict), many.name


def _walls(host: Reading, purpose: Purpose) -> list[LimitFinding]:
    return limits.find_all(host, purpose)


def test_a_purpose_in_words() -> None:
    assert Purpose().text == "100,000 connections from one source address to one destination"
    assert Purpose(1, 1, rate_per_s=331.0).text.startswith("1 connection, 331/s new ones from one source address")
    assert Purpose(5, 2).text == "5 connections over 2 pairs of source address and destination"
