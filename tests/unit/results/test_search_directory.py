"""The directory of a search: what is written is read back, and what is damaged or foreign is refused by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from loadgen.errors import ResultsError, UsageError
from loadgen.results import search_directory
from loadgen.results.schema import files
from tests import searches
from tests.searches import ENDED, INTERRUPTED, fails, holds, numbered

TRIALS = numbered(*holds(50.0, 100.0), *fails(200.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A search with three trials, the lock on it released."""
    writer = search_directory.SearchWriter(tmp_path, "ceiling")
    writer.write_begin("name: ceiling # é\n", searches.plan())
    for trial in TRIALS:
        writer.append_trial(trial)
    writer.append_event(INTERRUPTED)
    writer.close()
    return writer.path


def test_what_is_written_is_read_back(path: Path) -> None:
    read = search_directory.read(path)
    assert (read.path, read.scenario_text) == (path, "name: ceiling # é\n")
    assert (read.plan, read.trials, read.events) == (searches.plan(), TRIALS, (INTERRUPTED,))
    assert search_directory.is_search(path)
    assert not search_directory.is_search(path / "trials")


def test_results_are_replaced_whole(path: Path) -> None:
    summary = searches.summary(TRIALS, INTERRUPTED)
    for page in ("<p>old</p>", "<p>é</p>"):
        report = search_directory.write_results(path, summary=summary, report=page)
    assert report.read_text() == "<p>é</p>"
    assert files.read_summary((path / "summary.json").read_bytes()) == summary
    assert not list(path.glob(".*"))


def test_a_search_that_is_gone_on_with_has_its_lines_and_the_new_ones(path: Path) -> None:
    writer = search_directory.SearchWriter(path.parent, path.name, at=path)
    fourth = searches.trial(4, 140.0)
    writer.append_trial(fourth)
    writer.append_event(ENDED)
    writer.close()
    read = search_directory.read(path)
    assert read.trials == (*TRIALS, fourth)
    assert read.events == (INTERRUPTED, ENDED)


@pytest.mark.parametrize("name", ["trials.jsonl", "events.jsonl"])
@pytest.mark.parametrize("torn", [b'{"number": 4, "val', b"\x00\x00", b"{"])
def test_a_torn_last_line_is_left_out_and_then_taken_away(path: Path, name: str, torn: bytes) -> None:
    whole = (path / name).read_bytes()
    (path / name).write_bytes(whole + torn)
    read = search_directory.read(path)
    assert (read.trials, read.events) == (TRIALS, (INTERRUPTED,))
    search_directory.SearchWriter(path.parent, path.name, at=path).close()
    assert (path / name).read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_named(path: Path) -> None:
    lines = (path / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (path / "trials.jsonl").write_bytes(lines[0] + b"{}\n" + lines[2])
    with pytest.raises(UsageError, match=r"trials\.jsonl:2: not a line of this version of loadgen"):
        search_directory.read(path)


@pytest.mark.parametrize("order", [(1, 3, 2), (2, 3), (1, 1), (1, 2, 3, 5)])
def test_trials_that_are_not_one_search_are_refused(path: Path, order: tuple[int, ...]) -> None:
    """Put together by hand, from two searches, say."""
    trials = [searches.trial(number, 50.0 * number) for number in order]
    (path / "trials.jsonl").write_bytes(b"".join(map(files.line_of, trials)))
    with pytest.raises(UsageError, match=r"trials\.jsonl: not the trials of a search .*is about trial"):
        search_directory.read(path)


def test_a_trial_of_a_cell_that_is_not_there_is_refused(path: Path) -> None:
    (path / "trials.jsonl").write_bytes(files.line_of(searches.trial(1, 50.0, cell=1)))
    with pytest.raises(UsageError, match="trial 1 of cell 1"):
        search_directory.read(path)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"x", b'{"scenario": 5}', b"\xff"])
def test_a_plan_of_another_program_is_refused(path: Path, content: bytes) -> None:
    (path / "find.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"find\.json: not a search of this version of loadgen"):
        search_directory.read(path)


@pytest.mark.parametrize("value", [0, -1, 1e300, "5"])
def test_a_value_that_no_key_can_have_is_refused(path: Path, value: object) -> None:
    trial = files.plain(TRIALS[0]) | {"value": value}
    (path / "trials.jsonl").write_text(json.dumps(trial) + "\n")
    with pytest.raises(UsageError, match=r"trials\.jsonl:1: "):
        search_directory.read(path)


def test_an_empty_plan_is_none(path: Path) -> None:
    (path / "find.json").write_bytes(b"")
    with pytest.raises(UsageError, match=r"find\.json: empty; run .*scenario\.yaml anew"):
        search_directory.read(path)


def test_what_was_never_written_is_empty(path: Path) -> None:
    for name in ("scenario.yaml", "trials.jsonl", "events.jsonl"):
        (path / name).unlink()
    read = search_directory.read(path)
    assert (read.scenario_text, read.trials, read.events) == ("", (), ())


def test_one_loadgen_at_a_time(path: Path) -> None:
    first = search_directory.SearchWriter(path.parent, path.name, at=path)
    with pytest.raises(UsageError, match="another loadgen is at work there"):
        search_directory.SearchWriter(path.parent, path.name, at=path)
    first.close()
    search_directory.SearchWriter(path.parent, path.name, at=path).close()


def test_a_trial_that_was_cut_off_is_set_aside(path: Path) -> None:
    writer = search_directory.SearchWriter(path.parent, path.name, at=path)
    for cuts in range(3):
        place = writer.run(4)
        assert place == path / "trials" / "4"
        assert not place.exists()
        place.mkdir(parents=True)
        (place / "mark").write_text(str(cuts))
    writer.close()
    found = {folder.name: (folder / "mark").read_text() for folder in (path / "trials").iterdir()}
    assert found == {"4.cut-1": "0", "4.cut-2": "1", "4": "2"}


def test_a_directory_with_secrets_is_for_this_user_alone(tmp_path: Path) -> None:
    writer = search_directory.SearchWriter(tmp_path, "ceiling", private=True)
    writer.write_begin("name: x\n", searches.plan())
    writer.append_trial(TRIALS[0])
    writer.close()
    assert writer.path.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in writer.path.iterdir())


def test_nothing_is_written_through_a_link(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    writer = search_directory.SearchWriter(path.parent, path.name, at=path)
    for name in ("trials.jsonl", "events.jsonl", "summary.json"):
        (path / name).unlink(missing_ok=True)
        os.symlink(victim, path / name)
    with pytest.raises(ResultsError, match=r"cannot write .*trials\.jsonl"):
        writer.append_trial(TRIALS[0])
    with pytest.raises(ResultsError, match=r"cannot write .*events\.jsonl"):
        writer.append_event(ENDED)
    search_directory.write_results(path, summary=searches.summary(TRIALS), report="")
    writer.close()
    assert victim.read_text() == "precious"
