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
from tests import samples, searches
from tests.golden import same_as_golden


def rows(text: str) -> list[list[str]]:
    """The cells of every table, as GitHub splits them: at each pipe without a backslash before it."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


@pytest.mark.parametrize("name", ["wall", "churn", "killed-worker"])
def test_a_recorded_run_reads_as_it_was_approved(name: str) -> None:
    same_as_golden(f"markdown/{name}.md", markdown.render(samples.summary(name=name), directory="results/r"))


def test_the_recorded_matrix_reads_as_it_was_approved() -> None:
    same_as_golden("markdown/matrix.md", markdown.render(samples.matrix_summary(), directory="results/r"))


def test_a_search_reads_as_it_was_approved() -> None:
    same_as_golden("markdown/find.md", markdown.render(searches.summary(), directory="results/r"))


def test_a_search_has_a_row_for_each_trial_and_no_text_becomes_markup() -> None:
    trials = searches.numbered(*searches.holds(50.0), *searches.fails(100.0, limit="a|b <i>"))
    text = markdown.render(searches.summary(trials, searches.INTERRUPTED), directory="r")
    table = [row for row in rows(text) if row[0] in ("1", "2")]
    assert [row[:3] for row in table] == [["1", "50/s", "held"], ["2", "100/s", "failed"]]
    assert "<i>" not in text
    assert searches.INTERRUPTED.text[:11] in text


def test_what_is_in_doubt_stands_above_the_figures() -> None:
    doubts = {"complete": False, "incomplete_because": "worker 3 was killed"}
    distrust = {"generator.trustworthy": False, "generator.reasons": ["late"]}
    text = markdown.render(samples.summary({**doubts, **distrust}), directory="r")
    assert text.index("**INCOMPLETE**: worker 3 was killed") < text.index("**NOT TRUSTWORTHY**: late") < text.index("|")


def test_a_skipped_cell_has_its_reason_and_only_failed_expectations_of_runs_are_rows() -> None:
    failed = {"expression": "open.lost == 1", "passed": False, "observed": 0.0}
    passed = {"expression": "outcomes.failed == 24", "passed": True, "observed": 24.0}
    skipped = {"cells.1.status": "skipped", "cells.1.reason": "a|b", "cells.1.runs": [], "cells.1.rounds": []}
    summary = samples.matrix_summary({"cells.0.runs.0.expect": [failed, passed], **skipped})
    found = rows(markdown.render(summary, directory="r"))
    assert found[3][:3] == ["1", "strategy late-range", r"skipped: a\|b"]
    assert ["FAIL", "cell 0: open.lost == 1", "0"] in found
    assert ["pass", "cell 0: outcomes.failed == 24", "24"] not in found, "it holds, which goes without saying"


def test_thousands_of_expectations_are_counted() -> None:
    """GitHub takes a mebibyte and no more."""
    many = [{"expression": "open.lost == 1", "passed": False, "observed": 0}] * 20_000
    run = files.plain(samples.summary({"expect": many}))
    summary = samples.matrix_summary(
        {"cells.0.runs": [run], "cells.0.rounds": [1], "cells.1.runs": [], "cells.1.rounds": [], "expect": []}
    )
    text = markdown.render(summary, directory="r")
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
    summary = samples.summary({"expect": [{"expression": text, "passed": True, "observed": 1}]})
    page = _Cells(
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown.render(summary, directory="r"))
    )
    at = page.cells.index("pass")
    assert page.cells[at + 1] == " ".join(text.split())
    assert page.tags <= {"h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}


@given(st.text())
def test_no_text_breaks_a_line_or_a_table(text: str) -> None:
    keys: dict[str, Any] = {"expect": [], "scenario": "s", "errors.0.syscall": "connect"}
    summary = samples.summary({**keys, "scenario": text, "errors.0.syscall": text}, "wall")
    lines = markdown.render(summary, directory=text).splitlines()
    plain = markdown.render(samples.summary(keys, "wall"), directory="r").splitlines()
    assert len(lines) == len(plain)
    assert {len(row) for row in rows("\n".join(lines))} == {2}
