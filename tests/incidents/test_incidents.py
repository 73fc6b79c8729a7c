"""Situations that people met: for each, loadgen names the limit that is right, and the remedy that helped."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from .incident import Answer, Incident, Remedy, Right, incidents, run, untrue, wrong

ALL = incidents()


@pytest.mark.usefixtures("_network_namespaces")
@pytest.mark.parametrize("incident", ALL, ids=lambda incident: incident.name)
def test_an_incident_is_told_right(
    incident: Incident, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if missing := incident.missing():
        pytest.skip(missing)
    # pytest's processes have directories of their own below one.
    with (tmp_path_factory.getbasetemp().parent / "incidents.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if incident.description.alone else fcntl.LOCK_SH)
        answer = run(incident, tmp_path)
    differences = list(wrong(incident.description.right, answer))
    assert not differences, "\n".join([incident.description.situation, *differences, said(answer)])


def said(answer: Answer) -> str:
    """The verdict, for the message of a failed test."""
    keys = ("text", "confidence", "candidates", "evidence", "findings", "refuted", "remedies", "refused")
    return "\n".join(f"  {key}: {answer.verdict[key]}" for key in keys if answer.verdict.get(key))


def test_every_incident_says_what_is_right() -> None:
    assert len({incident.name for incident in ALL}) == len(ALL) >= 30
    for incident in ALL:
        right = incident.description.right
        assert right.limit or right.facts or right.message, incident.name
        needs_scenario = incident.description.command in ("run", "plan")
        assert needs_scenario == incident.scenario.exists(), incident.name


def test_the_judge_finds_what_is_wrong() -> None:
    """So that the test above has something to compare."""
    answer = Answer(
        0,
        "",
        "",
        {
            "verdict": {
                "limit": "backlog",
                "confidence": "open",
                "candidates": ["backlog", "syn-loss"],
                "refuted": [{"limit": "backlog", "because": "ListenOverflows is 0"}],
                "remedies": ["a"],
                "remedies_detail": [{"text": "raise it", "set": {"a": 1}, "needs": {}, "sysctls": {}, "command": ""}],
            }
        },
    )
    right = Right(
        limit="syn-loss",
        confidence=("certain",),
        never=("backlog",),
        refuted=("blackhole",),
        first=Remedy(set={"a": 2}),
        remedies=(Remedy(text="lower"), Remedy(set={"a": "*"}, text="raise")),
        no_remedy=(Remedy(text="^raise"),),
        facts=("verdict.limit == syn-loss", "verdict.none == 1", "verdict.remedies ~ b", "verdict.limit ~ back"),
        exit=3,
    )
    assert len(list(wrong(right, answer))) == 12
    same = Right(limit=("backlog", "none"), candidates=("syn-loss",), first=Remedy(any=(Remedy("x"), Remedy("Raise"))))
    assert list(wrong(same, answer)) == ["named and refuted: {'backlog'}"]
    late = {"verdict": {"limit": "generator", "findings": ["it cost more"]}}
    healthy = Right(limit="none", never=("generator",), quiet=True)
    assert len(list(wrong(healthy, Answer(0, "", "", late)))) == 3
    assert list(wrong(healthy, Answer(0, "", "", late, others_cpus=1.0))) == []
    refuses = Right(message="gone since", exit=3)
    assert list(wrong(refuses, Answer(3, "", "loadgen: it is gone since 4.12"))) == []
    assert list(wrong(refuses, Answer(2, "", "loadgen: it is gone since 4.12"))) == ["exit code 2, not 3"]
    assert next(iter(wrong(refuses, Answer(3, "", "loadgen: no")))).startswith("no answer")
    assert next(iter(wrong(right, Answer(3, "", "loadgen: no")))).startswith("no answer")


def test_a_fact_is_compared_with_what_lies_at_its_path() -> None:
    document = {"a": [{"b": 3, "c": "text", "d": ["x 7"]}]}
    for fact in ("a.0.b >= 3", "a.0.b != 4", "a.0.c == text", "a.0.d ~ x [0-9]", "a.0.d !~ y", "a ~ TEXT"):
        assert untrue(fact, document) == "", fact
    for fact in ("a.0.b < 3", "a.1.b == 3", "a.b == 3", "a.0.c > 2", "a.0.e ~ x", "a.0.d ~ y"):
        assert untrue(fact, document), fact
    with pytest.raises(ValueError, match="is not PATH OP VALUE"):
        untrue("a.0.b = 3", document)
