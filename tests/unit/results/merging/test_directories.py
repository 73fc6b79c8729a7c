"""Run directories of several hosts merged by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from loadgen.errors import UsageError
from loadgen.results import run_directory
from loadgen.results.merging.directories import merge
from loadgen.results.schema import files
from loadgen.results.schema.run import RunSummary
from loadgen.results.summary import broken_invariants
from loadgen.views.html import run as html
from tests import samples


def copy(tmp_path: Path, name: str, recorded: str = "hold", *, start_ns: int | None = None) -> Path:
    path = Path(shutil.copytree(samples.RUNS / recorded, tmp_path / name))
    if start_ns is not None:
        with (path / "events.jsonl").open("a") as events:
            events.write(json.dumps({"event": "started", "text": "x", "t_s": 0.0, "at_ns": start_ns}) + "\n")
    return path


def merged(tmp_path: Path, *paths: Path) -> RunSummary:
    return run_directory.read(merge(paths, tmp_path / "whole")).summarised()


def test_the_whole_is_the_sum_of_two_runs(tmp_path: Path) -> None:
    one = samples.summary()
    whole = merged(tmp_path, copy(tmp_path, "20260131T120000Z-one-aaaa"), copy(tmp_path, "b"))
    assert broken_invariants(whole) == []
    assert whole.complete
    assert whole.agents is not None
    assert [agent.name for agent in whole.agents] == ["one-aaaa", "b"]
    assert whole.outcomes.established == 2 * one.outcomes.established
    assert whole.arrivals.scheduled == 2 * one.arrivals.scheduled
    assert whole.latency_us.connect.count == 2 * one.latency_us.connect.count
    assert whole.latency_us.connect.p99 == one.latency_us.connect.p99, "the same histogram twice"
    assert len(whole.sources) == 2 * len(one.sources)
    assert {row.agent for row in whole.sources} == {"one-aaaa", "b"}
    assert whole.open.peak == 2 * one.open.peak
    assert whole.verdict.limit == "none"


def test_the_directories_of_the_shares_stand_in_it_and_can_be_merged_again(tmp_path: Path) -> None:
    first, second = copy(tmp_path, "a"), copy(tmp_path, "b")
    whole = merge((first, second), tmp_path / "whole")
    for name, path in (("a", first), ("b", second)):
        for file in ("scenario.yaml", "plan.json", "host.json", "series.jsonl", "events.jsonl", "summary.json"):
            assert (whole / "agents" / name / file).read_bytes() == (path / file).read_bytes()
    with pytest.raises(UsageError, match=r"is itself of several agents; give the directories in .*agents"):
        merge((whole, first), tmp_path / "again")
    again = run_directory.read(merge((whole / "agents" / "a", whole / "agents" / "b"), tmp_path / "again"))
    assert again.summarised().outcomes == run_directory.read(whole).summarised().outcomes


def test_one_that_was_cut_off_is_named_and_its_counts_stay(tmp_path: Path) -> None:
    killed = run_directory.read(samples.RUNS / "killed-orchestrator").summarised()
    whole = merged(tmp_path, copy(tmp_path, "a"), copy(tmp_path, "b", "killed-orchestrator"))
    assert broken_invariants(whole) == []
    assert not whole.complete
    assert "agent b was lost: its run did not come to an end" in (whole.incomplete_because or "")
    assert whole.outcomes.established == samples.summary().outcomes.established + killed.outcomes.established
    assert whole.verdict.limit == "incomplete"


def test_runs_are_laid_beside_each_other_by_the_clock(tmp_path: Path) -> None:
    first, second = copy(tmp_path, "a", start_ns=10**18), copy(tmp_path, "b", start_ns=10**18 + 2_500_000_000)
    whole = merged(tmp_path, first, second)
    assert whole.agents is not None
    assert [agent.started_ms for agent in whole.agents] == [0.0, 2500.0]
    assert whole.duration_s == pytest.approx(samples.summary().duration_s + 2.5)
    notes = [event.text for event in run_directory.read(tmp_path / "whole").events]
    assert "the runs started up to 2.50 s apart, by the clocks of their hosts" in notes


def test_a_page_can_be_made_of_it(tmp_path: Path) -> None:
    run = run_directory.read(merge((copy(tmp_path, "a"), copy(tmp_path, "b")), tmp_path / "whole"))
    page = html.render(run, run.summarised())
    assert '<a href="agents/b/report.html">b</a>' in page
    assert "Open connections of each agent" in page


def test_names_that_are_the_same_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    whole = merged(tmp_path, copy(tmp_path, "run"), copy(tmp_path / "x", "run"))
    assert whole.agents is not None
    assert [agent.name for agent in whole.agents] == ["run", "run-2"]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (("hold",), "is given twice"),
        ((), "one run directory is nothing to merge"),
        (("churn",), "cannot be one run: one churns and the other holds"),
        (("udp",), "cannot be one run: one goes over another transport"),
        (("matrix",), "is no run directory"),
    ],
)
def test_what_has_no_sum_is_refused_and_nothing_is_made(tmp_path: Path, others: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        merge([samples.RUNS / name for name in ("hold", *others)], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_a_plan_with_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    whole = merge((copy(tmp_path, "a"), copy(tmp_path, "b")), tmp_path / "whole")
    plan = json.loads((whole / "plan.json").read_text())
    plan["agents"][0]["name"] = "../../a"
    (whole / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UsageError, match="is no name of an agent"):
        run_directory.read(whole)


def test_a_summary_with_agents_can_be_read_back(tmp_path: Path) -> None:
    whole = merged(tmp_path, copy(tmp_path, "a"), copy(tmp_path, "b"))
    assert files.read_summary(files.pretty(whole).encode()) == whole
