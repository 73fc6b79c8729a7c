"""The rows of the table: what each says, which a plan has, and that none of them moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.model import Ceiling, Endpoint, Heartbeat, Plan, Target, Tls, Traffic, Transport
from loadgen.results.schema.line import Line
from loadgen.views.live.figures import Recall
from loadgen.views.live.frame import Frame
from loadgen.views.live.rows import rows

from .samples import BECAUSE, CHURN, CROWD, PACED, PLAN, TARGET, TROUBLE, churning, line

EVERYTHING = replace(
    PACED, tls=Tls(), traffic=Traffic("echo"), heartbeat=Heartbeat(1.0, 0.5), ceiling=Ceiling(None, None, BECAUSE)
)


def shown(*lines: Line, plan: Plan = PLAN, width: int = 80, height: int = 39) -> list[str]:
    """The frame of the last of these lines."""
    recall = Recall()
    for part in lines:
        figures = recall.figures(plan, part)
    return [text.plain for text in Frame(rows(plan, figures, height)).lines(width, height)]


def words_of(row: str) -> str:
    return " ".join(row.split())


def test_the_table_has_the_numbers() -> None:
    found = [words_of(row) for row in shown(line(0.5), line(1.0, **TROUBLE))]
    assert found[0] == "past-64k opening 1.0 s"
    assert found[1].endswith("37.3 % about 3 s left")
    assert found[2:] == [
        "open 25,000 of 100,000",
        "failed 12,345 678 lost 24,690/s failing",
        "rate 0/s",
        "in flight 10",
        "connect p50 1.00 ms p99 1.00 ms",
        "sink 24,999 open 25,001 accepted",
        "TIME-WAIT 4,321 21 recycled",
        "workers 5 of 6 1 lost 2 stalled CPU 1.40 cores",
        "loop lag p99 1.00 ms",
        "127.0.0.2 " + "━" * 8 + "─" * 31 + " 19.4 % 12,500 of 64,512",
        "127.0.0.3 " + "━" * 8 + "─" * 31 + " 19.4 % 12,500 of 64,512",
        "error connect E0 9 18/s (refused)",
        "error connect E1 8 16/s (refused)",
        "error connect E2 7 14/s (refused)",
        "error connect E3 6 12/s (refused)",
        "and 2 more kinds",
    ]


def test_a_table_of_churn_has_its_numbers() -> None:
    found = [words_of(row) for row in shown(churning(), plan=CHURN)]
    assert found[1].endswith("33.3 % 20 s left")
    for row in (
        "churn 1,000 established 986 closed",
        "open 14 of 16",
        "failed 400 0 lost 40/s failing",
        "rate 100/s",
        f"predicted at most 100/s: {BECAUSE}",
        "TIME-WAIT 100 7 at the sinks 900 recycled",
        "error connect EADDRNOTAVAIL 400 40/s (no-free-four-tuple)",
    ):
        assert row in found
    unlimited = replace(CHURN, ceiling=Ceiling(None, None, "a reset leaves no TIME-WAIT"))
    assert "predicted no limit: a reset leaves no TIME-WAIT" in map(words_of, shown(churning(), plan=unlimited))
    assert not any("predicted" in row for row in shown(churning(), plan=replace(CHURN, ceiling=None)))


def test_what_a_plan_has_not_has_no_row() -> None:
    def labels(plan: Plan) -> set[str]:
        return {row[:9].strip() for row in shown(line(), plan=plan)}

    some = {"handshake", "exchange", "heartbeat", "lateness", "predicted"}
    assert labels(EVERYTHING) - labels(PLAN) == some
    assert not labels(PLAN) & some
    assert "sink" not in labels(replace(PLAN, sinks=0))
    assert "TIME-WAIT" not in labels(replace(PLAN, transport=Transport.UDP))


def test_what_was_sent_and_not_answered_is_said() -> None:
    udp = replace(EVERYTHING, transport=Transport.UDP)
    found = line(wrong=3, unanswered=4, beats=70, missed=5, beating=60)
    said = [words_of(row) for row in shown(found, plan=udp)]
    assert "exchange p50 - p99 - 3 wrong 4 unanswered" in said
    assert "heartbeat 70 sent 5 missed 60 connections" in said


def test_a_rate_stands_beside_what_is_due() -> None:
    assert "rate 25,000/s of 5,000/s due" in map(words_of, shown(line(), plan=PACED))


@pytest.mark.parametrize("height", [19, 23, 39])
@pytest.mark.parametrize("plan", [PLAN, PACED, EVERYTHING])
def test_no_row_moves_while_a_run_goes_on(plan: Plan, height: int) -> None:
    """Whatever happens: a name that stood in a line of the terminal stands there to the end."""
    calm = shown(line(kernel={}), plan=plan, height=height)
    later = [line(2.0, "hold", **TROUBLE), line(3.0, "drain", open=0, **TROUBLE), line(4.0, "done", lag_ns={})]
    for found in later:
        frame = shown(line(), found, plan=plan, height=height)
        assert [row[:9] for row in frame[2 : len(calm)]] == [row[:9] for row in calm[2:]]
        assert all(row.startswith(("error", " " * 11 + "and")) for row in frame[len(calm) :])


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [4, 10, 19, 23, 59])
@pytest.mark.parametrize(
    ("plan", "found"),
    [
        (EVERYTHING, line(**TROUBLE)),
        (CHURN, churning(**TROUBLE)),
        (CROWD, line(pairs=[[9, 0, 9]] * 1000, **TROUBLE)),
        (replace(PLAN, name="a-name-of-64-characters-" + "x" * 40), line()),
        (replace(PLAN, name="長い名前" * 16), line()),
    ],
)
def test_the_table_keeps_within_the_terminal(plan: Plan, found: Line, width: int, height: int) -> None:
    recall = Recall()
    frame = Frame(rows(plan, recall.figures(plan, found), height)).lines(width, height)
    assert len(frame) <= height
    assert max(text.cell_len for text in frame) <= width
    assert frame[0].plain.startswith(plan.name) or width < 200


def test_forty_columns_cut_no_name() -> None:
    errors = [["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 1_234_567], ["connect", "ECONNREFUSED", "refused", 1]]
    targets = (TARGET, Target(Endpoint("127.0.0.1", 65_535), sink=True))
    plan = replace(PLAN, targets=targets, sources=("127.0.0.2", "127.0.100.200"))
    pairs = [[1, 0, 50_000 + n] for n in range(4)]
    text = "\n".join(shown(line(errors=errors, pairs=pairs), plan=plan, width=40))
    for name in ("past-64k  opening", "connect EADDRNOTAVAIL", "connect ECONNREFUSED", "127.0.0.2 to 127.0.0.1:9000"):
        assert name in text
    assert "127.0.100.200 to 127.0.0.1:65535  77.5 %" in text
    assert "…" not in text


def test_of_twenty_lines_the_least_important_are_left_out() -> None:
    rows_there = shown(line(**TROUBLE), plan=EVERYTHING, height=19)
    text = "\n".join(rows_there)
    for kept in ("open  ", "rate  ", "127.0.0.2", "connect E0", "TIME-WAIT", "loop lag", "workers"):
        assert kept in text
    assert "more kinds" not in text


def test_of_many_sources_the_worst_are_shown_as_room_allows() -> None:
    pairs = [[0, 0, n] for n in range(1000)]
    low, high = (shown(line(pairs=pairs), plan=CROWD, height=height) for height in (23, 59))

    def gauges(frame: list[str]) -> list[str]:
        return [row.split()[0] for row in frame[2:] if row.startswith("127.")]

    worst = list(reversed(CROWD.sources))
    assert 3 <= len(gauges(low)) < len(gauges(high)) == 12
    assert set(gauges(low)) <= set(worst[:65]), "a thousandth is 64 connections"
    assert f"and {1000 - len(gauges(low)):,} more" in "\n".join(low)
    assert words_of(high[-1]) == "and 988 more the emptiest 0 %"


def test_the_one_that_is_left_over_is_shown_instead_of_counted() -> None:
    three = replace(PLAN, sources=(*PLAN.sources, "127.0.0.4"), targets=(Target(Endpoint("127.0.0.1", 1), sink=True),))
    text = "\n".join(shown(line(pairs=[[1, 0, 1]] * 3), plan=three, height=12))
    assert "more" not in text


@pytest.mark.parametrize("name", ["[red]x[/]", "[/]", "[link=x]y", "\\[b]", "x\\", ":smile:"])
def test_what_looks_like_markup_stays_text(name: str) -> None:
    errors = [["[b]call", "[/]", "[i]outcome[/i]", 1]]
    text = "\n".join(shown(line(errors=errors), plan=replace(PLAN, name=name, ceiling=Ceiling(100.0, 1, name))))
    assert f"{name}  opening" in text
    assert f"at most 100/s: {name}" in text
    assert "[b]call [/]" in text
    assert "([i]outcome[/i])" in text


AGENTS = [["a", "ramp", 5, 0, 5], ["bb", "suspect", 9, 2, 9], ["c", "lost", 7, 0, 0]]


def test_each_agent_has_a_row_and_one_in_trouble_is_marked() -> None:
    words = [words_of(row) for row in shown(line(agents=AGENTS))]
    assert "agent a opening 5 open 0 failed" in words
    assert "agent bb does not answer 9 open 2 failed" in words
    assert "agent c lost 0 open 0 failed" in words


def test_of_many_agents_those_in_trouble_are_shown() -> None:
    many = [[f"h{n:02}", "hold", 1, 0, 1] for n in range(30)] + [["z", "lost", 0, 0, 0]]
    words = [words_of(row) for row in shown(line(agents=many), height=60)]
    assert "agent z lost 0 open 0 failed" in words
    assert sum(row.startswith("agent ") for row in words) == 8
    assert "and 23 more agents" in words
