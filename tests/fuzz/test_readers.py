"""Every reader keeps its contract: input is accepted, or refused with an error that its docstring names.

`make fuzz` gives them far more, and input that is chosen by the code that it reaches.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz import reader as contract
from tests.fuzz import run
from tests.fuzz.reader import CORPUS, Find, Reader, accepts, attempt, calls, measured
from tests.fuzz.readers import BY_NAME, READERS

KEPT = [(reader, data) for reader in READERS for data in reader.corpus]
each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.folder.name)
#: Valid inputs that are tried one by one, of a reader that has more of them.
SEEDS_MAX = 30
#: Times that a valid input is repeated, and how much more work four times as many may make: a little more than four
#: times, because tables and lists grow in steps.
FEW, GROWTH_MAX, WORK_FREE = 8, 5, 20_000


@each_reader
def test_valid_input_is_accepted(reader: Reader) -> None:
    """Most of it: some is on the border on purpose."""
    some = reader.valid[:: max(len(reader.valid) // SEEDS_MAX, 1)]
    assert 2 * sum(accepts(reader, data) for data in some) > len(some)


@each_reader
def test_damaged_input_is_accepted_or_refused(reader: Reader) -> None:
    """As many tries as the reader is quick; the same ones each time, so that no run fails by chance."""

    # The edits are made smaller by `run.shrunk`, of bytes and in a fraction of the time; hypothesis finds the seeds.
    @settings(max_examples=reader.tries, derandomize=True, database=None, phases=(Phase.generate,))
    @given(st.integers(0, 2**32 - 1))
    def give(seed: int) -> None:
        found = attempt(reader, reader.input(Random(seed)))
        if found:
            found = run.shrunk(reader, found)
            pytest.fail(f"{found.kind}\n{found.data!r}\n{found.details}")

    give()


@pytest.mark.parametrize(("reader", "data"), KEPT, ids=lambda one: one.folder.name if isinstance(one, Reader) else "")
def test_what_once_broke_a_reader_does_so_no_more(reader: Reader, data: bytes) -> None:
    assert measured(reader, data) is None


def test_each_kept_input_belongs_to_a_reader() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} <= {reader.folder.name for reader in READERS}


@each_reader
def test_memory_is_in_proportion_to_the_input(reader: Reader) -> None:
    for number in range(max(min(5, reader.tries // 20), 1)):
        assert measured(reader, reader.input(Random(number))) is None


@each_reader
def test_work_is_in_proportion_to_the_input(reader: Reader) -> None:
    """Four times as many lines make about four times as many calls, and not sixteen times as many."""
    for data in reader.valid[:: max(len(reader.valid) // 3, 1)]:
        few, many = (calls(reader, data * times) for times in (FEW, 4 * FEW))
        assert many <= GROWTH_MAX * few + WORK_FREE


# --- The harness itself -----------------------------------------------------------------------------


def broken(data: bytes) -> object:
    """Refuse what has no digit, and break at a 7 with a letter somewhere behind it."""
    if not any(chr(one).isdigit() for one in data):
        raise ValueError("no digit")
    if data.count(b"7") and data.rpartition(b"7")[2].strip().isalpha():
        raise KeyError(data)
    return data


BROKEN = Reader("broken", broken, lambda: [b"7 a 8 b", b"12"], (ValueError,))


def test_an_error_that_is_not_documented_is_a_find_and_is_made_smaller() -> None:
    assert attempt(BROKEN, b"none") is None
    found = attempt(BROKEN, b"some 7s, then 7 and then abc".replace(b" and then ", b""))
    assert found is not None
    assert found.kind.startswith("KeyError ")
    assert len(run.shrunk(BROKEN, found).data) == 2


def test_damage_comes_upon_what_breaks_a_reader() -> None:
    assert any(attempt(BROKEN, BROKEN.input(Random(number))) for number in range(500))


def test_memory_and_work_out_of_proportion_are_finds() -> None:
    greedy = Reader("greedy", lambda data: bytes(len(data) << 12), lambda: [b"a"], bytes_free=1 << 16)
    assert measured(greedy, bytes(100)) is not None
    quadratic = Reader("quadratic", lambda data: [data.find(b"x") for _ in data for _ in data], lambda: [b"a"])
    assert calls(quadratic, bytes(400)) > 15 * calls(quadratic, bytes(100))


def test_a_find_is_kept_for_its_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(contract, "CORPUS", tmp_path)
    file = run.keep(Find("sink HTTP", b"data", "", ""))
    assert file.endswith("/sink-http/3a6eb0790f39")
    assert BY_NAME["sink HTTP"].corpus == (b"data",)
