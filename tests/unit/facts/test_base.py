"""The facts' own machinery, with experiments that open no socket; the real ones are in tests/lab."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from loadgen import facts
from loadgen.errors import HostError, LabForbiddenError, UsageError
from loadgen.facts import base, runner
from loadgen.facts.base import CannotRunError, Fact, Finding, SeenError, Verdict

DOCS = Path(__file__).parents[3] / "docs" / "facts.md"


def stay(_: Mapping[str, str]) -> None:
    """Enter no namespace."""


def make(number: str, run: Callable[[], str], *, expected: str = "ok", since: str = "") -> Fact:
    return Fact(number, f"title of {number}", expected, since, f"meaning of {number}.", run)


def one(run: Callable[[], str], *, since: str = "", time_limit_s: float = 10) -> Finding:
    (finding,) = runner.run_facts([make("1.1", run, since=since)], enter=stay, time_limit_s=time_limit_s)
    return finding


def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "ok"


def fail(error: BaseException) -> NoReturn:
    raise error


# --- the runner -----------------------------------------------------------------------------------


def test_what_was_expected_holds() -> None:
    finding = one(lambda: "ok")
    assert (finding.seen, finding.verdict, finding.reason) == ("ok", Verdict.HOLDS, "")
    assert 0 < finding.seconds < 10


def test_anything_else_differs() -> None:
    finding = one(lambda: "bind EADDRINUSE")
    assert (finding.seen, finding.verdict, finding.reason) == ("bind EADDRINUSE", Verdict.DIFFERS, "")


def test_what_an_older_kernel_does_not_do_is_explained() -> None:
    assert re.fullmatch(r"Linux \S+ is older than 999\.1", one(lambda: "no", since="999.1").reason)


@pytest.mark.parametrize(
    ("since", "release", "older"),
    [
        ("6.18", "6.9.3-arch1", True),
        ("6.18", "6.18.0-rc1", False),
        ("6.3", "5.15.0-91-generic", True),
        ("4.19", "6.1.0-18-amd64", False),
        ("", "2.6.32", False),
    ],
)
def test_kernel_versions_compare_as_numbers(since: str, release: str, older: bool) -> None:
    assert bool(runner.older_than(since, release)) is older


def test_an_experiment_may_end_early_with_what_it_saw() -> None:
    """A kernel without an option gives an answer, and that is a difference."""
    finding = one(lambda: fail(SeenError("setsockopt ENOPROTOOPT")))
    assert (finding.seen, finding.verdict) == ("setsockopt ENOPROTOOPT", Verdict.DIFFERS)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotRunError("needs a second user id"), "needs a second user id"),
        (HostError("cannot set sysctl"), "cannot set sysctl"),
        (ZeroDivisionError("by zero"), r"test_base.py:\d+: ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), r"test_base.py:\d+: KeyboardInterrupt: "),
    ],
)
def test_an_experiment_that_fails_is_not_run(error: BaseException, reason: str) -> None:
    finding = one(lambda: fail(error))
    assert finding.verdict is Verdict.NOT_RUN
    assert finding.seen == ""
    assert re.fullmatch(reason, finding.reason)


def test_a_process_that_dies_is_not_run_and_hurts_nobody() -> None:
    crashing = [
        make("1.1", lambda: os.kill(os.getpid(), signal.SIGKILL) or "never"),  # type: ignore[func-returns-value]  # that is the point
        make("1.2", lambda: os._exit(7)),
        make("1.3", lambda: "ok"),
    ]
    findings = runner.run_facts(crashing, enter=stay)
    assert [finding.verdict for finding in findings] == [Verdict.NOT_RUN, Verdict.NOT_RUN, Verdict.HOLDS]
    assert findings[0].reason == "its process ended with signal 9"
    assert findings[1].reason == "its process ended with exit code 7"


def test_an_experiment_that_hangs_is_ended_by_its_time_limit() -> None:
    finding = one(lambda: nap(60), time_limit_s=0.2)
    assert (finding.verdict, finding.reason) == (Verdict.NOT_RUN, "no answer within 0.2 s")
    assert 0.2 <= finding.seconds < 10


def test_findings_come_in_numeric_order_and_are_told_as_they_come() -> None:
    told: list[str] = []
    numbers = ["2.10", "10.1", "2.9", "1.1"]
    findings = runner.run_facts(
        [make(number, lambda: "ok") for number in numbers],
        lambda finding: told.append(finding.fact.number),
        jobs=2,
        enter=stay,
    )
    assert [finding.fact.number for finding in findings] == ["1.1", "2.9", "2.10", "10.1"]
    assert sorted(told) == sorted(numbers)


def test_no_more_than_asked_for_run_at_once() -> None:
    """Three that take 0.2 s each, one at a time, take 0.6 s."""
    started = time.monotonic()
    runner.run_facts([make(f"1.{n}", lambda: nap(0.2)) for n in range(3)], jobs=1, enter=stay)
    assert time.monotonic() - started >= 0.6


def test_a_long_answer_is_cut_and_blocks_nobody() -> None:
    assert len(one(lambda: "x" * 10_000_000).seen) == 2000


def forbid(_: Mapping[str, str]) -> None:
    raise LabForbiddenError("no namespaces here")


def test_a_host_without_namespaces_cannot_run_any() -> None:
    with pytest.raises(LabForbiddenError, match="no namespaces here"):
        runner.run_facts([make("1.1", lambda: "ok"), make("1.2", lambda: "ok")], enter=forbid)


def test_nothing_is_left_behind_by_an_observer_that_raises() -> None:
    """Ctrl-C arrives in the parent; its children are gone when it is passed on."""
    hanging = [make("1.1", lambda: "ok"), make("1.2", lambda: nap(60))]
    with pytest.raises(KeyboardInterrupt):
        runner.run_facts(hanging, lambda _: fail(KeyboardInterrupt()), jobs=2, enter=stay)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# --- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ((), ["1.1", "1.10", "2.1", "10.1"]),
        (("1",), ["1.1", "1.10"]),
        (("1.1",), ["1.1"]),
        (("10.",), ["10.1"]),
        (("2", "1.10"), ["1.10", "2.1"]),
    ],
)
def test_a_selection_goes_by_parts_of_the_number(selection: tuple[str, ...], found: list[str]) -> None:
    every = [make(number, lambda: "ok") for number in ("1.1", "1.10", "2.1", "10.1")]
    assert [fact.number for fact in base.select(every, selection)] == found


@pytest.mark.parametrize("number", ["3", "1.2", "", "parity", "1.1.1"])
def test_a_number_that_is_none_is_a_usage_error(number: str) -> None:
    with pytest.raises(UsageError, match="--list"):
        base.select([make("1.1", lambda: "ok")], (number,))


def test_no_number_is_used_twice() -> None:
    facts.all_facts()
    with pytest.raises(ValueError, match=r"two facts 1\.1"):
        base.fact("1.1", "again", expected="", meaning="")(lambda: "")


# --- the facts themselves -------------------------------------------------------------------------


def test_sections_and_facts_are_numbered_without_gaps() -> None:
    sections: dict[int, list[int]] = {}
    for fact in facts.all_facts():
        section, number = fact.order
        sections.setdefault(section, []).append(number)
    assert list(sections) == list(range(1, 12))
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sections.values())


@pytest.mark.parametrize("fact", facts.all_facts(), ids=lambda fact: fact.number)
def test_every_fact_is_whole(fact: Fact) -> None:
    assert fact.title
    assert fact.expected
    assert fact.meaning.endswith(".")
    assert re.fullmatch(r"(\d+\.\d+)?", fact.since)
    # What it refers to exists: "(2.6)", "(1.1, 2.6)".
    numbers = {other.number for other in facts.all_facts()}
    for group in re.findall(r"\((\d+\.\d+(?:, \d+\.\d+)*)\)", fact.meaning):
        assert set(group.split(", ")) <= numbers


def test_the_docs_have_every_fact_as_it_is() -> None:
    """docs/facts.md has one row for each, and no other; `facts.markdown_row` makes them."""
    rows = [line for line in DOCS.read_text().splitlines() if re.match(r"\| \d", line)]
    assert rows == [facts.markdown_row(fact) for fact in facts.all_facts()]


# --- JSON and table -------------------------------------------------------------------------------

FINDINGS = [
    Finding(make("1.1", lambda: "ok"), "ok", Verdict.HOLDS, "", 0.01),
    Finding(
        make("2.3", lambda: "ok", expected="one: ok; two: bind EADDRINUSE", since="6.18"),
        "one: ok; two: connect EADDRNOTAVAIL",
        Verdict.DIFFERS,
        "Linux 6.1.0 is older than 6.18",
        0.25,
    ),
    Finding(make("10.1", lambda: "ok"), "", Verdict.NOT_RUN, "needs a second user id; run as root", 1.5),
]


def test_json_has_everything_and_is_plain() -> None:
    document = facts.to_json(FINDINGS, started_at=datetime(2026, 1, 31, 12, 0, tzinfo=UTC))
    assert json.loads(json.dumps(document)) == document
    assert document["schema"] == "loadgen.facts/1"
    assert document["kernel"] == os.uname().release
    assert document["started_at"] == "2026-01-31T12:00:00+00:00"
    assert document["summary"] == {"holds": 1, "differs": 1, "not_run": 1}
    assert document["facts"][1] == {
        "number": "2.3",
        "title": "title of 2.3",
        "expected": "one: ok; two: bind EADDRINUSE",
        "seen": "one: ok; two: connect EADDRNOTAVAIL",
        "verdict": "differs",
        "since": "6.18",
        "seconds": 0.25,
        "reason": "Linux 6.1.0 is older than 6.18",
    }
    assert document["facts"][2]["verdict"] == "not run"


def rendered(findings: list[Finding], width: int, *, color: bool = False) -> str:
    out = io.StringIO()
    facts.render(
        findings, Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None)
    )
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 79, 80, 100, 250])
def test_the_table_fits_and_says_it_all(width: int) -> None:
    text = rendered(FINDINGS, width)
    assert max(map(len, text.splitlines())) <= min(width, 100)
    words = " ".join(text.split())
    for part in (
        "2.3",
        "differs",
        "not run",
        "6.18",
        "EADDRNOTAVAIL",
        "second",
    ):
        assert part in words
    assert "of 3 facts 1 hold, 1 differ, 1 could not be run" in words


@pytest.mark.parametrize("width", [60, 100])
def test_the_table_of_the_real_facts_fits(width: int) -> None:
    """No word of a title or an expectation is too long for its column."""
    findings = [Finding(fact, fact.expected, Verdict.HOLDS, "", 0.1) for fact in facts.all_facts()]
    findings += [Finding(fact, "something else", Verdict.DIFFERS, "", 0.1) for fact in facts.all_facts()[::5]]
    text = rendered(findings, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_what_differs_stands_out() -> None:
    lines = rendered(FINDINGS, 100, color=True).splitlines()
    assert any("\x1b[1;31mdiffers" in line for line in lines)
    assert not any("\x1b[1;31m" in line for line in lines if "1.1" in line)


def test_brackets_in_a_fact_are_not_markup() -> None:
    finding = Finding(make("1.1", lambda: "ok"), "[red]::1[/red]", Verdict.DIFFERS, "", 0.1)
    assert "[red]::1[/red]" in "".join(rendered([finding], 100).split())


def test_the_list_names_every_fact() -> None:
    out = io.StringIO()
    facts.render_list(facts.all_facts(), Console(file=out, width=100))
    found = [line.split()[0] for line in out.getvalue().splitlines() if re.match(r"\d", line)]
    assert found == [fact.number for fact in facts.all_facts()]
