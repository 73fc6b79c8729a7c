"""The JUnit report: which test cases there are, that the counts agree, and that it is XML whatever a name holds."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadgen.results.schema import files
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.run import RunSummary
from loadgen.views.ci import junit
from tests import samples, searches

KINDS = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def expected(expression: str, *, passed: bool = True, observed: float | None = 0) -> dict[str, Any]:
    return {"expression": expression, "passed": passed, "observed": observed}


def run(**changes: Any) -> RunSummary:
    """A recorded run with other texts."""
    keys = {
        "scenario": "wall",
        "run": "20260131T120000Z-wall-1f3a",
        "started_at": "2026-01-31T12:00:00+00:00",
        "duration_s": 2.5,
        "verdict.text": "No free four-tuple was left.",
        "verdict.limit": "four-tuples",
        "verdict.remedies": ["Add one.", "Wait."],
        "expect": [],
    }
    return samples.summary({**keys, **changes})


def cell(*runs: RunSummary, status: str = "done", reason: str | None = None, **settings: Any) -> dict[str, Any]:
    keys = {"settings": settings, "status": status, "reason": reason, "rounds": list(range(1, len(runs) + 1))}
    nothing: dict[str, Any] = {"figures": None, "predicted": None, "as_predicted": None, "changes": []}
    return {**keys, **nothing, "runs": files.plain(runs)}


def matrix(**changes: Any) -> MatrixSummary:
    keys = {"scenario": "wall", "started_at": "2026-01-31T12:00:00+00:00", "duration_s": 2.5, "expect": []}
    return samples.matrix_summary({**keys, **changes})


def parsed(summary: files.Summary) -> ET.Element:
    """The report, after a look at what is true of every one: its counts are those of its elements."""
    root = ET.fromstring(junit.render(summary, directory="results/r"))
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases) > 0
        for attribute, tag in KINDS.items():
            assert int(suite.attrib[attribute]) == len(suite.findall(f"testcase/{tag}"))
        assert sum(float(case.attrib["time"]) for case in cases) == float(suite.attrib["time"])
        for case in cases:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert len(case) <= 1
        tags = [child.tag for child in suite]
        assert tags == sorted(tags, key=["properties", "testcase", "system-out"].index), "as the schemas want it"
    for attribute in ("tests", "failures", "errors"):
        assert int(root.attrib[attribute]) == sum(int(suite.attrib[attribute]) for suite in root)
    return root


def test_an_expectation_is_a_test_case() -> None:
    summary = run(expect=[expected("outcomes.failed == 0"), expected("open.peak == 9", passed=False, observed=28232)])
    (suite,) = parsed(summary)
    assert (suite.attrib["name"], suite.attrib["timestamp"], suite.attrib["time"]) == (
        "wall",
        "2026-01-31T12:00:00",
        "2.500",
    )
    complete, held, missed = suite.findall("testcase")
    assert [case.attrib["name"] for case in (complete, held, missed)] == [
        "the run is complete",
        "outcomes.failed == 0",
        "open.peak == 9",
    ]
    assert {case.attrib["classname"] for case in (complete, held, missed)} == {"wall"}
    assert not len(complete)
    assert not len(held)
    (failure,) = missed
    assert failure.tag == "failure"
    assert failure.attrib["message"] == failure.text == "expected open.peak == 9, observed 28,232"


def test_a_run_that_nothing_is_expected_of_has_to_come_to_its_end() -> None:
    ((case,),) = (suite.findall("testcase") for suite in parsed(run()))
    assert (case.attrib["name"], case.attrib["time"], len(case)) == ("the run is complete", "2.500", 0)


def test_an_incomplete_run_is_an_error_whatever_it_met() -> None:
    summary = run(complete=False, incomplete_because="worker 3 was killed", expect=[expected("outcomes.failed == 0")])
    (suite,) = parsed(summary)
    assert suite.attrib["errors"] == "1"
    error = suite.find("testcase/error")
    assert error is not None
    assert error.attrib["message"] == "worker 3 was killed"


def test_verdict_remedies_and_directory_are_told() -> None:
    (suite,) = parsed(run())
    assert suite.findtext("system-out") == "No free four-tuple was left.\n1. Add one.\n2. Wait."
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite.findall("properties/property")}
    assert properties == {"run_directory": "results/r", "limit": "four-tuples"}


def test_a_matrix_has_a_suite_for_itself_and_one_for_each_run() -> None:
    first = run(run="r/cells/0", expect=[expected("outcomes.failed == 0")])
    cut = run(run="r/cells/1", complete=False, incomplete_because="interrupted")
    summary = matrix(
        repeat=1,
        cells=[
            cell(first, **{"sources.strategy": "late"}),
            cell(cut, status="incomplete", reason="interrupted", **{"sources.strategy": "bind"}),
            cell(status="skipped", reason="IPv6 is off", **{"sources.strategy": "kernel"}),
            cell(status="incomplete", reason="it never began", **{"sources.strategy": "explicit"}),
        ],
        complete=False,
        incomplete_because="2 of 4 cells did not come to their end",
        expect=[expected("cells.0.outcomes.failed == 0", passed=False, observed=None)],
    )
    root = parsed(summary)
    assert [suite.attrib["name"] for suite in root] == [
        "wall",
        "wall, cell 0: strategy late",
        "wall, cell 1: strategy bind",
        "wall, cell 2: strategy kernel",
        "wall, cell 3: strategy explicit",
    ]
    assert [tuple(suite.attrib[key] for key in ("tests", *KINDS)) for suite in root] == [
        ("2", "1", "1", "0"),
        ("2", "0", "0", "0"),
        ("1", "0", "1", "0"),
        ("1", "0", "0", "1"),
        ("1", "0", "1", "0"),
    ]
    skipped = root.find("testsuite/testcase/skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "IPv6 is off"
    places = [one.attrib["value"] for one in root.iter("property") if one.attrib["name"] == "run_directory"]
    assert places == ["results/r", "results/r/cells/0", "results/r/cells/1"]


def test_rounds_have_suites_of_their_own() -> None:
    summary = matrix(repeat=2, cells=[cell(run(), run())])
    assert [suite.attrib["name"] for suite in parsed(summary)][1:] == ["wall, cell 0, round 1", "wall, cell 0, round 2"]


@pytest.mark.parametrize("text", ["\0", "a\x1b[2Jb", "\ud800", "\ufffe", "</testsuite>", "&lt;", '"', "]]>", "\u202e"])
def test_it_is_xml_whatever_a_text_holds(text: str) -> None:
    """XML 1.0 has no way to write most control characters, not even as a reference: they stand as their escapes."""
    summary = run(
        scenario=text, incomplete_because=text, complete=False, expect=[expected(text, passed=False)], started_at=text
    )
    (suite,) = parsed(summary)
    shown = suite.attrib["name"]
    assert shown == (text if text.isprintable() else text.encode("unicode_escape").decode())
    assert ET.tostring(suite).decode("utf-8").isascii()


def outcomes(summary: files.Summary) -> dict[str, str]:
    """The test cases of one suite by name, each with the kind of its result."""
    (suite,) = parsed(summary)
    return {case.attrib["name"]: case[0].tag if len(case) else "pass" for case in suite.findall("testcase")}


HOLDS = "a value of arrival.rate holds"


@pytest.mark.parametrize(("wall", "result"), [(196.0, "pass"), (9e3, "pass"), (10.0, "failure")])
def test_a_search_passes_where_a_value_holds(wall: float, result: str) -> None:
    summary = searches.summary(searches.made(searches.plan(), wall))
    assert outcomes(summary) == {"the search is complete": "pass", HOLDS: result}


def test_a_search_that_decided_nothing_is_an_error() -> None:
    trials = searches.numbered(*searches.holds(50.0), *searches.fails(100.0))
    late = searches.summary(trials, searches.LATE, searches.ENDED)
    assert outcomes(late) == {"the search is complete": "pass", HOLDS: "error"}
    interrupted = searches.summary(trials, searches.INTERRUPTED)
    assert outcomes(interrupted) == {"the search is complete": "error", HOLDS: "error"}


def test_each_search_of_a_matrix_and_at_least_are_test_cases() -> None:
    of = searches.matrix_plan(at_least=100.0)
    summary = searches.summary(searches.made(of, 66.0, 196.0), of=of)
    (suite,) = parsed(summary)
    assert [case.attrib["name"] for case in suite.findall("testcase")] == [
        "the search is complete",
        f"{HOLDS} with tcp_tw_reuse 0",
        f"{HOLDS} with tcp_tw_reuse 1",
        "arrival.rate >= 100/s",
        "arrival.rate >= 100/s",
    ]
    assert suite.attrib["failures"] == "1"
    output = suite.find("system-out")
    assert output is not None
    assert "1. close with RST: +100" in (output.text or "")
