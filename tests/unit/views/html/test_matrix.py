"""The page of a matrix: links, charts, and nobody else's text as markup."""

from __future__ import annotations

import html
import re

from loadgen.views.html import matrix as report
from tests import samples
from tests.golden import pieces_of, same_as_golden
from tests.matrices import CHURNING, ENDED, MATRIX, churned, churning, first, run_summary, summarised, three


def test_the_recorded_matrix_reads_as_it_was_approved() -> None:
    same_as_golden("html/matrix.txt", pieces_of(report.page(samples.matrix_summary(), "name: x")))


def test_the_page_escapes_everything_and_has_no_script() -> None:
    evil = "<script>alert(1)</script>\u202e"
    matrix = {
        **MATRIX,
        "scenario": evil,
        "cells": [{"settings": {"sources.strategy": name}} for name in (evil, "b", "c")],
    }
    runs = {n: run_summary({"verdict.limit": evil, "verdict.text": evil}) for n in range(2)}
    events = [ENDED, {"t_s": 1.0, "event": "cell-skipped", "text": evil, "cell": 2}]
    page = report.page(summarised(matrix, events, first(runs), run=evil), evil)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(page)
    assert "script-src" not in page
    assert not re.search(r"\sstyle=", page)
    assert re.findall(r'href="(cells/[^"]*)"', page) == ["cells/0/report.html", "cells/1/report.html"] * 2
    assert page.count("<polyline") == 2
    page.encode()


def test_the_page_of_a_matrix_that_churned() -> None:
    page = report.page(churning(), "x")
    assert re.findall(r'data-label="as predicted"[^>]*><span>(\w+)<', page) == ["yes", "yes", "yes", "NO"]
    assert "<span>100 <small>99-101</small></span>" in page
    assert 'href="cells/2-3/report.html"' in page
    assert "Effect of each setting" in page
    assert "&lt;reuse&gt;" in page
    assert "<reuse>" not in page
    assert page.count('class="run"') == 2 * 12, "of the rate and of what was established"
    assert page.count('class="predicted"') == 2 * 2, "where nothing limits it there is no mark"
    assert not re.search(r"\sstyle=|<script", page)


def test_the_page_has_a_column_of_states_only_where_they_differ() -> None:
    """And no name or short value is broken where a reader would not break it."""
    page, cut_off = report.page(churning(), "x"), report.page(churning(repeat=4), "x")
    assert 'data-label="status"' not in page
    assert cut_off.count('data-label="status"') == 4
    assert '<th scope="col">tcp_<wbr>tw_<wbr>reuse</th>' in page
    assert '<td data-label="close" class="value short">fin</td>' in page


def test_every_round_has_a_link_and_a_single_one_no_column_of_them() -> None:
    places = [f"cells/{cell}{round_}/report.html" for cell in range(4) for round_ in ("", "-2", "-3")]
    found = re.findall(r'href="(cells/[^"]*)"', report.page(churning(), "x"))
    assert {place: found.count(place) for place in places} == {place: 2 if "-" in place else 3 for place in places}, (
        "beside the cell, in the column of reports, and at what each round came to"
    )
    assert set(found) == set(places)
    assert "reports" not in re.findall(r'data-label="([^"]*)"', report.page(three(), "x"))


def charts_of(page: str) -> list[str]:
    return re.findall(r'<figure class="measure"><figcaption>([^<]*)<', page)


def test_figures_that_differ_have_a_chart_and_the_others_are_told_in_a_sentence() -> None:
    page = report.page(three({"outcomes.established": 9, "outcomes.failed": 1}), "x")
    assert charts_of(page) == ["established", "failed", "CPU per connection"]
    (same,) = re.findall(r"The same in every run: ([^<]*)\.<", page)
    assert same.split(", ") == [
        *("rate 1,000/s", "lost while held 0", "connect p50 20.0 µs", "connect p99 90.0 µs"),
        *("TIME-WAIT recycled 0", "TIME-WAIT at once 140"),
    ]
    assert charts_of(report.page(churning(), "x")) == ["sustained rate", "established"], "predictions have to be seen"


def test_a_row_of_a_chart_is_named_by_its_number_and_its_values() -> None:
    page = report.page(churning(), "x")
    rows = re.findall(r'<text y="[^"]*">(\d+) <tspan[^>]*>([^<]*)<', page)
    assert rows == [("0", "0, fin"), ("1", "0, rst"), ("2", "1, fin"), ("3", "1, rst")] * 2
    assert "the number of the cell, then its tcp_tw_reuse, close." in page
    assert (
        "<title>cell 2 tcp_tw_reuse 1, close fin: median 100/s of 99/s, 100/s, 101/s; predicted 100/s</title>" in page
    )


def test_only_complete_runs_are_drawn() -> None:
    cut = churned(9.0, changes={"complete": False, "incomplete_because": "cut"})
    page = report.page(summarised(CHURNING, [ENDED], {(0, 1): churned(5.0), (0, 2): cut}), "x")
    assert "median 5/s of 5/s; predicted 100/s" in page
    assert "no complete run" in page
