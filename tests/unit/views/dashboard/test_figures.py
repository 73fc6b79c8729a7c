"""What the page says, before any browser has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadgen.model import Ceiling, Churn
from loadgen.results.schema.line import Line
from loadgen.views.dashboard.figures import ROWS_MAX, frame
from loadgen.views.dashboard.watched import Ending, Watched
from loadgen.views.live.occupancy import FULLEST

from .samples import line, plan


def shown(*lines: Line, interrupts: int = 0, **changes: Any) -> dict[str, Any]:
    watched, same = Watched(), plan(**changes)
    for one in lines:
        watched.update(same, one)
    found = frame(watched, interrupts=interrupts)
    json.dumps(found, allow_nan=False)
    return found


def figure(found: dict[str, Any], name: str) -> dict[str, Any]:
    (only,) = [one for one in found["figures"] if one["id"] == name]
    return dict(only)


def test_before_the_first_line_there_is_a_frame_with_every_key() -> None:
    empty = shown()
    assert empty["state"] == "starting"
    assert empty["share"] is None
    assert empty.keys() == shown(line()).keys()


def test_the_headline_figures() -> None:
    found = shown(line())
    assert (found["state"], found["phase"], found["time"], found["scenario"]) == (
        "running",
        "opening",
        "1.00 s",
        "mine",
    )
    assert found["share"] == 0.5
    assert figure(found, "open")["value"] == "500"
    assert figure(found, "established")["note"] == "0 lost, 10 in flight"
    assert figure(found, "rate")["value"] == "500/s"
    assert figure(found, "occupancy")["value"] == "50.0 %"
    assert figure(found, "connect")["value"] == "1.00 ms"
    assert figure(found, "time-wait")["value"] == "5"
    assert figure(found, "sink")["note"] == "499 accepted"
    assert not any(one["bad"] for one in found["figures"])


def test_bad_news_is_marked() -> None:
    found = shown(
        line(
            failed=3,
            lost=2,
            errors=[["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 3]],
            pairs=[[1000, 3, 1000]],
            workers={"alive": 1, "stalled": 1},
        )
    )
    assert {one["id"] for one in found["figures"] if one["bad"]} == {"failed", "established", "occupancy", "workers"}
    assert figure(found, "failed")["note"] == "mostly connect EADDRNOTAVAIL"
    assert found["errors"] == [{"what": "connect EADDRNOTAVAIL", "outcome": "no-free-four-tuple", "count": "3"}]
    assert found["sources"][0]["full"]


def test_a_latency_stays_when_nothing_new_is_measured() -> None:
    found = shown(line(), line(2.0, "hold", latency_ns={}))
    assert figure(found, "connect")["value"] == "1.00 ms"
    assert found["left"] == "29 s left"


def test_churn_has_its_time_and_its_ceiling() -> None:
    ceiling = Ceiling(100.0, 3_100, "100 ports / 1 s")
    found = shown(line(10.0, "churn"), churn=Churn(30.0, 64), ceiling=ceiling)
    assert found["left"] == "20 s left"
    assert figure(found, "rate")["note"] == "at most 100/s predicted"
    assert figure(found, "open")["note"] == "of 1,000 at a time"


def test_long_lists_are_cut() -> None:
    errors = [["connect", f"E{number}", "other", 100 - number] for number in range(50)]
    found = shown(line(errors=errors, pairs=[[1, 0, 1]] * 50), sources=50)
    assert len(found["errors"]) == ROWS_MAX
    assert len(found["sources"]) == FULLEST


@pytest.mark.parametrize("hostile", ["<b>\u202e", "\x1b[2J"])
def test_names_of_other_people_are_written_out(hostile: str) -> None:
    watched = Watched()
    watched.update(plan(name=f"mine{hostile}"), line())
    watched.say(hostile)
    watched.begin()
    watched.ending = Ending(hostile, f"results/{hostile}/report.html", 0)
    said = json.dumps(frame(watched, interrupts=0), ensure_ascii=False)
    assert "\u202e" not in said
    assert "\\u001b" not in said


def test_the_end_has_the_verdict_and_the_exit_code() -> None:
    watched = Watched()
    watched.ending = Ending("no limit was met", "results/x/report.html", 99)
    found = frame(watched, interrupts=2)
    assert (found["state"], found["interrupts"]) == ("over", 2)
    assert found["ending"] == {"text": "no limit was met", "report": "results/x/report.html", "code": 99}


def test_agents_that_are_in_trouble_are_bad_news() -> None:
    found = shown(line(agents=[["a", "hold", 5, 1, 4], ["b", "lost", 9, 2, 0]]))
    assert found["agents"] == [
        {"agent": "a", "state": "holding", "open": "4", "established": "5", "failed": "1", "bad": False},
        {"agent": "b", "state": "lost", "open": "0", "established": "9", "failed": "2", "bad": True},
    ]
    assert shown(line())["agents"] == []
