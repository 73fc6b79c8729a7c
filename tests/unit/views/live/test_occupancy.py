"""How full the spaces of four-tuples are, whoever shares ports with whom."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Endpoint, Strategy, Target, Transport
from loadgen.results.schema.line import PairTally
from loadgen.views.live.occupancy import Spaces, SpaceUsage

from .samples import CROWD, PLAN, TARGET


def opened(*counts: int) -> list[PairTally]:
    """Pairs with these connections open."""
    return [PairTally(count, 0, count) for count in counts]


OTHER = Target(Endpoint("127.0.0.1", 9001), sink=True)
TWO = replace(PLAN, targets=(TARGET, OTHER), capacity_per_pair=100)


def test_the_fullest_comes_first_and_equals_keep_their_order() -> None:
    found = Spaces(PLAN).occupancy(opened(10, 64_512))
    assert found.fullest == (SpaceUsage("127.0.0.3", 64_512, 64_512), SpaceUsage("127.0.0.2", 10, 64_512))
    assert (found.spaces, found.emptiest) == (2, 10 / 64_512)
    nearly = Spaces(PLAN).occupancy(opened(30_000, 30_001))
    assert [one.name for one in nearly.fullest] == ["127.0.0.2", "127.0.0.3"]


def test_several_targets_make_pairs_where_ports_are_shared() -> None:
    found = Spaces(TWO).occupancy(opened(1, 2, 3, 4))
    assert [(one.name, one.open) for one in found.fullest] == [
        ("127.0.0.3 to 127.0.0.1:9001", 4),
        ("127.0.0.2 to 127.0.0.1:9001", 3),
        ("127.0.0.3 to 127.0.0.1:9000", 2),
        ("127.0.0.2 to 127.0.0.1:9000", 1),
    ]


def test_where_ports_are_not_shared_all_targets_fill_one_space_of_a_source() -> None:
    found = Spaces(replace(TWO, strategy=Strategy.EXCLUSIVE)).occupancy(opened(1, 2, 3, 4))
    assert [(one.name, one.open, one.share) for one in found.fullest] == [
        ("127.0.0.3", 6, 0.06),
        ("127.0.0.2", 4, 0.04),
    ]


def test_connect_alone_over_udp_has_one_space_for_all_sources() -> None:
    plan = replace(TWO, strategy=Strategy.KERNEL, transport=Transport.UDP, routes=("127.0.0.1", "127.0.0.9"))
    found = Spaces(plan).occupancy(opened(30, 20))
    assert found.fullest == (SpaceUsage("all sources", 50, 100),)


@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_of_a_thousand_the_worst_are_found(random: Random, most: int) -> None:
    counts = [random.randint(0, 64_512) for _ in CROWD.sources]
    found = Spaces(CROWD).occupancy(opened(*counts), most)
    thousandths = [one.open * 1000 // one.capacity for one in found.fullest]
    assert thousandths == sorted((count * 1000 // 64_512 for count in counts), reverse=True)[:most]
    assert {one.name: one.open for one in found.fullest}.items() <= dict(
        zip(CROWD.sources, counts, strict=True)
    ).items()
    assert found.spaces == 1000
    assert found.emptiest == min(counts) / 64_512


def test_more_open_than_fit_is_not_more_than_everything() -> None:
    assert SpaceUsage("x", 101, 100).share == 1.0
    assert SpaceUsage("x", 1, 0).share == 0.0


def test_lines_without_pairs_have_no_occupancy() -> None:
    assert Spaces(PLAN).occupancy(()).fullest == ()
