"""The probability that ports are never used twice by chance."""

from __future__ import annotations

import math

import pytest

from loadgen.watch.early import CHANCE_MAX, chance

DEFAULT = (28_232, 14_116)


def test_one_destination_proves_nothing() -> None:
    """Its ports differ in any case, however many there are."""
    assert chance([28_000], *DEFAULT) == 1.0
    assert chance([], *DEFAULT) == 1.0


def test_single_sockets_are_birthdays() -> None:
    """Destinations of one socket each: the classical 23 birthdays of 365 days."""
    assert chance([1] * 23, 10**9, 365) == pytest.approx(1.0)  # the second estimate, of a far wider range
    assert chance([1] * 23, 365, 365) == pytest.approx(max(0.4927, math.exp(-253 / 365)), abs=1e-4)


@pytest.mark.parametrize(
    ("sockets_of", "ports", "enough"),
    [
        ([20] * 10, 200, True),
        ([10] * 10, 200, True),
        ([2] * 10, 200, False),
        ([80, 80], 200, True),
        ([40, 40], 200, False),
        ([280] * 10, 28_232, False),
        ([600] * 10, 28_232, True),
        ([12_000, 3_000], 28_232, True),
        ([27_000, 1], 28_232, False),  # by chance the one port may be one of the few that are left
        ([1] * 100, 28_232, False),
    ],
)
def test_few_sockets_prove_nothing(sockets_of: list[int], ports: int, enough: bool) -> None:
    assert (chance(sockets_of, ports, ports // 2) < CHANCE_MAX) is enough


def test_more_sockets_are_a_stronger_sign() -> None:
    found = [chance([each] * 10, 2_000, 1_000) for each in range(1, 120)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 1e-9
