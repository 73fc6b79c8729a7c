"""Expectations: what can be written, and what a summary answers."""

import re

import msgspec
import pytest

from loadgen.outcomes import LIMITS
from loadgen.results.schema.find import SearchResult
from loadgen.scenario.expect import ANSWER_KEYS, Expectation

SUMMARY = {
    "scenario": "two words",
    "complete": True,
    "outcomes": {"established": 100_000, "failed": 3, "in_flight": 0},
    "latency_us": {"connect": {"p99": 812.5}},
    "errors": [
        {"syscall": "connect", "errno": "EADDRNOTAVAIL", "outcome": "no-free-four-tuple", "count": 2},
        {"syscall": "connect", "errno": "ECONNREFUSED", "outcome": "refused", "count": 4},
        {"syscall": "bind", "errno": "EADDRINUSE", "outcome": "port-held", "count": 8},
        {"syscall": "connect", "errno": "EADDRNOTAVAIL", "outcome": "self-connect", "count": 16},
    ],
    "kernel": {"delta": {"TcpExt.TWRecycled": 7}},
    "verdict": {"limit": "none", "observed": None},
    "odd": float("nan"),
    "probes": {
        "some-body": {
            "established": 0,
            "errors": {"connect": {"EADDRNOTAVAIL": 20, "ETIMEDOUT": 1}, "bind": {"EINVAL": 2}},
        },
        "fine": {"established": 20, "errors": {}},
        "absent": {"reason": "no such user"},
    },
}


@pytest.mark.parametrize(
    ("text", "passed", "observed"),
    [
        ("outcomes.failed == 3", True, 3),
        ("outcomes.failed == 0", False, 3),
        ("outcomes.failed != 0", True, 3),
        ("outcomes.established >= 100_000", True, 100_000),
        ("outcomes.established > 100_000", False, 100_000),
        ("outcomes.failed < 3.5", True, 3),
        ("outcomes.failed<=3", True, 3),
        ("latency_us.connect.p99 < 812.5", False, 812.5),
        ("latency_us.connect.p99 > -1", True, 812.5),
        ("errors.connect.EADDRNOTAVAIL == 18", True, 18),
        ("errors.connect.ETIMEDOUT == 0", True, 0),
        ("errors.connect == 22", True, 22),
        ("errors == 30", True, 30),
        ("kernel.delta.TcpExt.TWRecycled > 5", True, 7),
        ("complete == 1", True, 1),
        ("outcomes.nothing == 0", False, None),
        ("outcomes == 0", False, None),
        ("outcomes.failed.more == 0", False, None),
        ("verdict.limit == 0", False, None),
        ("verdict.observed == 0", False, None),
        ("odd == 0", False, None),
        ("odd != 0", False, None),
        ('verdict.limit == "none"', True, "none"),
        ("verdict.limit == 'none'", True, "none"),
        ("verdict.limit == none", True, "none"),
        ('verdict.limit != "four-tuples"', True, "none"),
        ("verdict.limit == four-tuples", False, "none"),
        ('scenario == "two words"', True, "two words"),
        ('scenario == "other"', False, "two words"),
        ('outcomes.nothing == "x"', False, None),
        ('outcomes.nothing != "x"', False, None),
        ('verdict.observed != "x"', False, None),
        ('outcomes.failed == "3"', False, None),
        ('outcomes.failed != "3"', False, None),
        ('errors.connect != "x"', False, None),
    ],
)
def test_checked_against_a_summary(text: str, passed: bool, observed: float | str | None) -> None:
    assert Expectation.parse(text).check(SUMMARY) == (passed, observed)


def test_without_a_list_of_errors_nothing_is_known_about_errors() -> None:
    assert Expectation.parse("errors.connect.ECONNREFUSED == 0").check({}) == (False, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('verdict.limit == "for-tuples"', 'there is no limit for-tuples; did you mean "four-tuples"?'),
        ("cells.2.verdict.limit == refuse", 'there is no limit refuse; did you mean "refused"?'),
        (
            "verdict.limit != mixed-up-words",
            "there is no limit mixed-up-words; write one of four-tuples, ",
        ),
        ('verdict.limit > "lost"', "a name is compared with == or !=, not with >"),
        ('scenario <= "a"', "a name is compared with == or !=, not with <="),
        ("scenario == hold", 'as in outcomes.failed == 0 or verdict.limit == "four-tuples"'),
        ("verdict.limit == 5%", "as in outcomes.failed == 0"),
    ],
)
def test_a_name_that_cannot_be_meant(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Expectation.parse(text)


@pytest.mark.parametrize("limit", LIMITS)
def test_every_limit_can_be_expected(limit: str) -> None:
    """And lets a run go into it on purpose, but for none."""
    expectation = Expectation.parse(f"verdict.limit == {limit}")
    assert expectation.check({"verdict": {"limit": limit}}) == (True, limit)
    assert expectation.names_a_failure == (limit != "none")
    assert Expectation.parse(f'verdict.limit != "{limit}"').names_a_failure == (limit == "none")


def test_it_keeps_its_text() -> None:
    assert Expectation.parse("  a.b >= 1_0.5 ") == Expectation("a.b", ">=", 10.5, "a.b >= 1_0.5")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a ==",
        "a = 1",
        "a == b",
        "== 1",
        "a == 1 2",
        "a.b. == 1",
        ".a == 1",
        "a == 1e5",
        "a == nan",
        "a == inf",
        "a => 1",
        "a == 1\n",
        "a == " + "9" * 400,
        "aé == 1",
        "a == 1__0",
        "import os == 1",
        5,
        None,
        True,
        {},
    ],
)
def test_anything_else_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"as in outcomes\.failed == 0"):
        Expectation.parse(text)


@pytest.mark.parametrize(
    ("path", "observed"),
    [
        ("probes.some-body.established", 0),
        ("probes.some-body.errors.connect.EADDRNOTAVAIL", 20),
        ("probes.some-body.errors.connect", 21),
        ("probes.some-body.errors", 23),
        ("probes.some-body.errors.connect.ECONNREFUSED", 0),
        ("probes.fine.errors.connect.EADDRNOTAVAIL", 0),
        ("probes.fine.errors", 0),
        ("probes.fine.failures", None),
        ("probes.absent.established", None),
        ("probes.absent.errors", None),
        ("probes.absent.errors.connect.EADDRNOTAVAIL", None),
        ("probes.unheard-of.errors", None),
        ("probes.errors.connect", None),
    ],
)
def test_errors_of_a_probe_are_counted_if_it_ran(path: str, observed: float | None) -> None:
    """0 for what did not happen, but nothing at all of a probe that could not run."""
    assert Expectation.parse(f"{path} == 0").check(SUMMARY) == (observed == 0, observed)


@pytest.mark.parametrize(
    ("text", "passed", "observed"),
    [
        ("agents.a.outcomes.failed == 3", True, 3),
        ("agents.a.b.outcomes.failed == 0", True, 0),
        ("agents.a.b.errors.connect == 2", True, 2),
        ("agents.a.verdict.limit == none", True, "none"),
        ("agents.c.outcomes.failed == 0", False, None),
        ("agents.0.outcomes.failed == 3", False, None),
    ],
)
def test_an_expectation_about_one_agent(text: str, passed: bool, observed: float | str | None) -> None:
    errors = [{"syscall": "connect", "errno": "ECONNREFUSED", "outcome": "refused", "count": 2}]
    agents = [
        {"name": "a", "outcomes": {"failed": 3}, "verdict": {"limit": "none"}},
        {"name": "a.b", "outcomes": {"failed": 0}, "errors": errors},
    ]
    assert Expectation.parse(text).check({**SUMMARY, "agents": agents}) == (passed, observed)


def test_a_limit_of_an_agent_has_to_be_one() -> None:
    with pytest.raises(ValueError, match="there is no limit four-tuple"):
        Expectation.parse("agents.a.verdict.limit == four-tuple")


def test_a_condition_on_an_answer_has_a_key_of_it() -> None:
    found = [Expectation.of_answer(text) for text in ("value <= 206", "cells.1.limit == time-wait", "limit == mixed")]
    assert [(each.path, each.cell, each.value) for each in found] == [
        ("value", None, 206),
        ("cells.1.limit", 1, "time-wait"),
        ("limit", None, "mixed"),
    ]


def test_keys_of_an_answer_are_keys_of_its_summary() -> None:
    assert set(ANSWER_KEYS) <= {field.name for field in msgspec.structs.fields(SearchResult)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("valeu <= 206", 'an answer has no valeu; did you mean "value"?'),
        ("cells.0 <= 206", "an answer has no such value"),
        ("cells.0.value.x <= 206", "an answer has no value.x"),
        ("outcomes.failed == 0", "an answer has no outcomes.failed"),
        ("limit == time-wit", 'there is no limit time-wit; did you mean "time-wait"?'),
        ("cells.0.limit == time-wit", "there is no limit time-wit"),
        ("value", "write KEY OP VALUE"),
        ("value == ten", "write KEY OP VALUE"),
    ],
)
def test_a_wrong_condition_on_an_answer_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Expectation.of_answer(text)
