"""The Markdown for GitHub: what it tells of a run and of a matrix, and that nobody's text becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # which comes with rich

from loadgen.results.schema import files
from loadgen.views.ci import markdown
from tests import samples

RUN: dict[str, Any] = {
    "scenario": "wall",
    "duration_s": 2.5,
    "complete": True,
    "incomplete_because": None,
    "arrivals": {"scheduled": 30_000, "started": 30_000, "not_started": 0},
    "outcomes": {"established": 28_232, "failed": 1_768},
    "open": {"peak": 28_232, "lost": 0},
    "rate_per_s": {"established_mean": 19_000.0, "established_peak": 21_000.0},
    "latency_us": {"connect": {"p50": 20.0, "p99": 120.0, "max": 3_400.0}},
    "errors": [{"syscall": "connect", "errno": "EADDRNOTAVAIL", "outcome": "no-free-four-tuple", "count": 1_768}],
    "verdict": {"limit": "four-tuples", "text": "No free four-tuple was left.", "remedies": ["Add a source.", "Wait."]},
    "expect": [
        {"expression": "outcomes.failed == 1768", "passed": True, "observed": 1768.0},
        {"expression": "open.lost == 1", "passed": False, "observed": 0.0},
    ],
}


def rows(text: str) -> list[list[str]]:
    """The cells of every table, as GitHub splits them: at each pipe without a backslash before it."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_a_run() -> None:
    text = markdown.render(RUN, directory="results/r")
    assert text.startswith("### loadgen: wall\n\n**No free four-tuple was left.**\n\n|")
    found = rows(text)
    for row in (
        ["established", "28,232 of 30,000 scheduled"],
        ["failed", "1,768"],
        ["rate", "19,000/s mean, 21,000/s peak"],
        ["connect p50, p99, max", "20.0 µs, 120 µs, 3.40 ms"],
        ["connect EADDRNOTAVAIL", "1,768"],
        ["pass", "outcomes.failed == 1768", "1,768"],
        ["FAIL", "open.lost == 1", "0"],
    ):
        assert row in found
    assert "\n\n1. Add a source.\n2. Wait.\n\nRun directory: results/r\n" in text
    assert "INCOMPLETE" not in text


def test_what_is_in_doubt_stands_above_the_figures() -> None:
    doubts = {"complete": False, "incomplete_because": "worker 3 was killed"}
    text = markdown.render({**RUN, **doubts, "generator": {"trustworthy": False, "reasons": ["late"]}}, directory="r")
    assert text.index("**INCOMPLETE**: worker 3 was killed") < text.index("**NOT TRUSTWORTHY**: late") < text.index("|")


def test_a_matrix_has_a_row_for_each_cell() -> None:
    figures = {
        name: {"median": value, "low": value, "high": value, "runs": 1}
        for name, value in (("established", 10.0), ("failed", 0.0), ("rate_per_s", 5_000.0), ("connect_p50_us", 20.0))
    }
    summary = {
        "scenario": "m",
        "complete": True,
        "verdict": {"limit": "mixed", "text": "They differ."},
        "expect": [{"expression": "cells.0.outcomes.failed == 0", "passed": True, "observed": 0.0}],
        "cells": [
            {"settings": {"sources.strategy": "late"}, "status": "done", "runs": [RUN], "figures": figures},
            {"settings": {"sources.strategy": "bind"}, "status": "skipped", "reason": "a|b", "runs": []},
        ],
    }
    found = rows(markdown.render(summary, directory="r"))
    assert found[0] == ["cell", "settings", "status", "established", "failed", "rate", "p50", "p99"]
    assert found[2][:7] == ["0", "strategy late", "done", "10", "0", "5,000/s", "20.0 µs"]
    assert found[3][:3] == ["1", "strategy bind", r"skipped: a\|b"]
    assert ["pass", "cells.0.outcomes.failed == 0", "0"] in found
    assert ["FAIL", "cell 0: open.lost == 1", "0"] in found
    assert ["pass", "cell 0: outcomes.failed == 1768", "1,768"] not in found, "what holds in a cell goes without saying"


def test_thousands_of_expectations_are_counted() -> None:
    """GitHub takes a mebibyte and no more."""
    many = [{"expression": "open.lost == 1", "passed": False, "observed": 0}] * 20_000
    run = files.plain(samples.summary({"expect": many}))
    summary = samples.matrix_summary({"cells.0.runs": [run], "cells.1.runs": [], "expect": []})
    text = markdown.render(files.plain(summary), directory="r")
    assert ["", "and 19,900 more", ""] in rows(text)
    assert len(text) < 2**20


@pytest.mark.parametrize(
    "text",
    ["<img src=x>", "a|b", "`code`", "[a](http://b)", "**a**", "a_b_c", r"\|", "- a", "&lt;", "$x$", "@all", "~~a~~"],
)
def test_other_peoples_text_is_no_markup(text: str) -> None:
    """Whatever stands after a backslash is that character, so taking those away has to give the text again."""
    said = markdown.escaped(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>|`*_\[\]&$@~]", said)
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", said) == text


class _Cells(HTMLParser):
    """The text of every cell of every table, and every tag there is."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


@given(st.text(st.sampled_from("ab|\\`*_~<>[]()!#&;$@-+.1:/ \n\t")))
def test_a_reader_of_markdown_finds_every_character_again(text: str) -> None:
    """By another's parser of the tables and the text that GitHub has; what was blank is one space."""
    summary = {"scenario": "s", "expect": [{"expression": text, "passed": True, "observed": 1}]}
    page = _Cells(
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown.render(summary, directory="r"))
    )
    at = page.cells.index("pass")
    assert page.cells[at + 1] == " ".join(text.split())
    assert page.tags <= {"h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}


@given(st.text())
def test_no_text_breaks_a_line_or_a_table(text: str) -> None:
    summary = {**RUN, "errors": [{"syscall": text, "errno": "E", "count": 1}], "scenario": text, "expect": []}
    lines = markdown.render(summary, directory=text).splitlines()
    plain = markdown.render({**RUN, "expect": []}, directory="r").splitlines()
    assert len(lines) == len(plain)
    assert {len(row) for row in rows("\n".join(lines))} == {2}


@pytest.mark.parametrize("summary", [{}, {"cells": []}, {"cells": [{}]}, {"expect": [{}], "duration_s": "long"}])
def test_a_summary_that_lacks_everything_is_told_all_the_same(summary: dict[str, Any]) -> None:
    assert "INCOMPLETE" in markdown.render(summary, directory="r")
