"""The page of a search: the answer, the chart, a link to each trial, and nobody else's text as markup."""

from __future__ import annotations

import html
import re

from msgspec.structs import replace

from loadgen.results.schema.matrix_plan import CellPlan
from loadgen.views.html import find
from tests import searches
from tests.golden import pieces_of, same_as_golden
from tests.searches import INTERRUPTED, holds, numbered, plan, unknown


def test_a_search_reads_as_it_was_approved() -> None:
    same_as_golden("html/find.txt", pieces_of(find.page(searches.reuse(), "name: ceiling")))


def test_the_page_escapes_everything_and_has_no_script() -> None:
    evil = "<script>alert(1)</script>\u202e"
    of = plan(scenario=evil, key=evil, unit=evil, cells=(CellPlan(settings={evil: evil}), CellPlan(settings={evil: 1})))
    changes = {"reason": evil, "limit": evil, "verdict": evil, "remedy": evil, "stage": evil}
    trials = searches.made(of, 66.0, 196.0, each=lambda made: replace(made, **changes))
    page = find.page(searches.summary(trials, replace(INTERRUPTED, text=evil), of=of, run=evil), evil)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(page)
    assert "script-src" not in page
    assert not re.search(r"\sstyle=", page)
    page.encode()


def test_each_trial_that_ran_has_a_link() -> None:
    trials = numbered(*holds(50.0, 100.0), *unknown(200.0))
    page = find.page(searches.summary(trials, INTERRUPTED), "x")
    assert re.findall(r'href="(trials/[^"]*)"', page) == ["trials/1/report.html", "trials/2/report.html"]
    assert "a worker was lost" in page
    assert "This search is incomplete" in page


def test_a_search_without_trials_has_a_page() -> None:
    page = find.page(searches.summary((), INTERRUPTED), "")
    assert "nothing is known" in page
    assert "<svg" not in page


def test_the_effects_of_a_matrix_and_each_of_its_charts() -> None:
    page = find.page(searches.reuse(), "x")
    assert page.count('<svg class="trials"') == 2
    assert "lifts arrival.rate" in page
    assert "tcp_tw_reuse" in page


def test_whether_it_is_at_least_what_it_was_to_be() -> None:
    of = plan(at_least=300.0)
    page = find.page(searches.summary(searches.made(of, 196.0), of=of), "x")
    assert "1 of 1 expectations failed" in page
    assert "arrival.rate &gt;= 300/s" in page
