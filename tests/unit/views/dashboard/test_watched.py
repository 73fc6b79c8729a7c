"""What is known of a run, and of the next one."""

from __future__ import annotations

from loadgen.views.dashboard.watched import NOTICES_MAX, Watched

from .samples import line, plan


def test_another_plan_is_another_run() -> None:
    watched, first, second = Watched(), plan(), plan()
    watched.update(first, line(1.0))
    watched.update(first, line(2.0))
    assert (watched.run, len(watched.history.packed)) == (1, 2)
    watched.update(second, line(0.5, established=7))
    assert (watched.run, len(watched.history.packed)) == (2, 1)
    assert watched.totals.of(("established",)) == 507


def test_the_rate_is_that_since_the_line_somebody_saw_last() -> None:
    watched, same = Watched(), plan()
    assert watched.figures is None
    watched.update(same, line(1.0, established=100))
    assert watched.figures is not None
    assert watched.figures.pace.established_per_s == 100
    watched.update(same, line(2.0, established=200))
    watched.update(same, line(3.0, established=600))
    assert watched.figures.pace.established_per_s == 250
    assert watched.figures is watched.figures


def test_which_run_of_how_many_is_what_was_said_before_it_began() -> None:
    watched = Watched()
    watched.begin()
    assert watched.place == ""
    watched.say("run 1 of 2, cell 0: hold=1s")
    watched.begin()
    watched.say("cell 0 incomplete: a worker was lost")
    assert watched.place == "run 1 of 2, cell 0: hold=1s"
    watched.say("run 2 of 2, cell 1: hold=2s")
    watched.begin()
    assert watched.place == "run 2 of 2, cell 1: hold=2s"
    assert [one.text for one in watched.notices][1] == "cell 0 incomplete: a worker was lost"


def test_charts_mark_what_happened_in_their_own_run() -> None:
    watched, first, second = Watched(), plan(), plan()
    watched.notice("before any line")
    watched.update(first, line(1.0))
    watched.notice("in the first run")
    watched.update(second, line(0.5))
    watched.notice("in the second")
    assert [(event.t_s, event.text) for event in watched.events] == [(0.5, "in the second")]


def test_only_the_latest_notices_are_kept() -> None:
    watched = Watched()
    for number in range(3 * NOTICES_MAX):
        watched.notice(str(number))
    assert len(watched.notices) == NOTICES_MAX
    assert watched.notices[-1].text == str(3 * NOTICES_MAX - 1)
