"""The run directory of the whole: copies of the shares line by line, and a summary that follows from them."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from loadgen.cluster.connection import Agent, ClockDifference
from loadgen.cluster.member import Participant
from loadgen.cluster.messages import Began, Portion
from loadgen.cluster.records import WholeRecord
from loadgen.results import run_directory
from loadgen.results.merging import whole
from loadgen.results.schema.event import Event
from loadgen.results.summary import broken_invariants
from tests import samples


def members(*names: str) -> list[Participant]:
    found = []
    for index, name in enumerate(names):
        clock = ClockDifference(monotonic_ns=5, realtime_ns=7, error_ns=1_000_000)
        one = Participant(Agent(name, "tcp://127.0.0.1:1"), index, Portion(name=name), clock, 0.0)
        one.plan, one.host = samples.plan(), samples.host()
        found.append(one)
    return found


def opened(tmp_path: Path, agents: list[Participant]) -> tuple[WholeRecord, list[str]]:
    said: list[str] = []
    record = WholeRecord(said.append, lambda: None)
    plan = whole.plan_of("whole", [(one.name, one.plan) for one in agents if one.plan])
    record.open(tmp_path, "name: whole", plan, agents, private=False)
    return record, said


def test_the_whole_of_two_shares(tmp_path: Path) -> None:
    agents = members("a", "b")
    record, _ = opened(tmp_path, agents)
    record.started()
    for one in agents:
        one.began = Began(due_ns=100, begun_ns=100 + 3_000_000 * (one.index + 1))
        record.began(one)
        for line in samples.series():
            record.line_of(one, line)
        for event in samples.events():
            record.event_of(one, event)
        record.series.end(one.index)
    for line in record.series.lines():
        record.line(line)
    record.event("ended", "the run came to its end")
    path, summary = record.conclude()
    assert broken_invariants(summary) == []
    assert record.error is None
    assert summary.complete
    assert summary.outcomes.established == 2 * samples.summary().outcomes.established
    assert summary.agents is not None
    assert [(agent.name, agent.run) for agent in summary.agents] == [("a", "agents/a"), ("b", "agents/b")]
    assert [round(agent.started_ms or 0) for agent in summary.agents] == [0, 3]
    assert {agent.clock_error_ms for agent in summary.agents} == {1.0}
    for name in ("a", "b"):
        copy = run_directory.read(path / "agents" / name)
        assert copy.series == samples.series()
        assert copy.summary is not None
        assert (path / "agents" / name / "report.html").exists()


def test_events_of_agents_are_told_with_their_names_but_for_those_that_the_whole_has(tmp_path: Path) -> None:
    agents = members("a")
    record, said = opened(tmp_path, agents)
    said.clear()
    record.event_of(agents[0], Event(event="note", text="something", t_s=1.0))
    record.event_of(agents[0], Event(event="note", text="not told", t_s=1.0), tell=False)
    record.event_of(agents[0], Event(event="ended", text="the run came to its end", t_s=2.0))
    assert said == ["a: something"]
    (copy,) = [path for path in tmp_path.rglob("events.jsonl") if path.parent.name == "a"]
    assert len(copy.read_text().splitlines()) == 3


def test_a_share_that_wrote_nothing_is_part_of_the_whole(tmp_path: Path) -> None:
    """As of an agent that was lost before its first line."""
    agents = members("a", "b")
    record, _ = opened(tmp_path, agents)
    for line in samples.series():
        record.line_of(agents[0], line)
    record.series.end(0)
    record.series.end(1, lost=True)
    for line in record.series.lines():
        record.line(line)
    record.event("agent-lost", "agent b was lost")
    _, summary = record.conclude()
    assert broken_invariants(summary) == []
    assert not summary.complete
    assert summary.agents is not None
    assert [agent.outcomes.established for agent in summary.agents] == [samples.summary().outcomes.established, 0]


def test_a_failure_to_write_is_the_failure_of_the_run(tmp_path: Path) -> None:
    agents = members("a")
    record, _ = opened(tmp_path, agents)
    for copy in record._copies:
        copy.close()  # as far as a write is concerned, a file that is gone
    record.line_of(agents[0], structs.replace(samples.series()[0]))
    assert record.failure is not None
    assert "series.jsonl" in str(record.failure)
