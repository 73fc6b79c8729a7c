"""Numbers and other people's strings as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import format as fmt


@pytest.mark.parametrize(
    ("us", "said"),
    [(0, "0 µs"), (0.62, "0.62 µs"), (812, "812 µs"), (999.6, "1.00 ms"), (12_340, "12.3 ms"),
     (999_600, "1.00 s"), (3_004_000, "3.00 s"), (None, fmt.MISSING)],
)  # fmt: skip
def test_latencies_have_three_digits_and_a_sane_unit(us: float | None, said: str) -> None:
    assert fmt.latency(us) == said


@pytest.mark.parametrize(
    ("s", "said"),
    [(0.82, "0.82 s"), (30, "30.0 s"), (725, "12 min 05 s"), (7260, "2 h 01 min"), (None, fmt.MISSING)],
)
def test_stretches_of_a_run_read_like_a_clock(s: float | None, said: str) -> None:
    assert fmt.seconds(s) == said


def test_almost_everything_never_reads_as_everything() -> None:
    assert fmt.percent(99_999 / 100_000) == "> 99.9 %"
    assert fmt.percent(1) == "100 %"
    assert fmt.percent(1e-6) == "< 0.1 %"
    assert fmt.percent(0) == "0 %"


@given(st.text())
def test_visible_text_is_one_that_can_be_written_and_read(hostile: str) -> None:
    shown = fmt.visible(hostile)
    shown.encode()
    assert all(character.isprintable() or character in "\n\t" or character.isspace() for character in shown)


@pytest.mark.parametrize(
    ("value", "text"),
    [(28_232, "28,232"), (0, "0"), (0.125, "0.125"), (98.46, "98.5"), (1234.5, "1,234"), (None, fmt.MISSING)],
)
def test_a_count(value: float | None, text: str) -> None:
    assert fmt.count(value) == text


def test_a_noun_has_the_number_of_its_number() -> None:
    assert [fmt.many(number, "worker") for number in (0, 1, 2_000)] == ["0 workers", "1 worker", "2,000 workers"]


@pytest.mark.parametrize(
    ("per_s", "text"), [(19_812.4, "19,812/s"), (98.5, "98.5/s"), (28 / 60, "0.467/s"), (0, "0/s"), (None, fmt.MISSING)]
)
def test_a_rate(per_s: float | None, text: str) -> None:
    assert fmt.rate(per_s) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1024, "1.0 KiB"), (24 << 30, "24.0 GiB"), (3 << 41, "6.0 TiB"), (None, fmt.MISSING)]
)
def test_a_size(size: float | None, text: str) -> None:
    assert fmt.size(size) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, fmt.MISSING), (True, "yes"), (False, "no"), (1204, "1,204"), ("a b", "a b")]
)
def test_a_scalar(value: object, text: str) -> None:
    assert fmt.scalar(value) == text


def test_a_difference_has_its_sign() -> None:
    assert (fmt.signed(1204), fmt.signed(-3), fmt.signed(0.5)) == ("+1,204", "-3", "+0.5")


def test_a_share_of_nothing_is_unknown() -> None:
    assert fmt.share(3, 0) is None
    assert fmt.share(1, 4) == 0.25
    assert fmt.percent(None) == fmt.MISSING


def test_a_name_of_a_file_stays_on_one_line() -> None:
    assert fmt.on_one_line("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"
