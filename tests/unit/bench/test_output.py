"""Tables, JSON and chart of made-up samples: all that was measured is in them."""

import json
import xml.etree.ElementTree as ET
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.cases import ALL_CASES, HALF_RATE, HELD, METRICS, OPEN_HOLD, REFERENCE, WATCH, Case
from bench.chart import chart, rows_of
from bench.output import print_tables, spread_text, verdict_text, write_results
from bench.samples import Holding, Recording, Result, Sample, Watching
from bench.summary import summarise

HOST = {"kernel": "6", "cpu": "c", "cores": 2, "memory_gib": 1.0, "python": "3", "load_average": 0.0}
SVG = "{http://www.w3.org/2000/svg}"


def made_up(case: Case, rounds: int = 2) -> Result:
    """Every sample a case can have; in each round both programs are a quarter slower than in the one before."""
    result = Result(case)
    for number in range(rounds):
        rate = 20_000.0 * 0.75**number
        tenths = (case.connections / rate / 10,) * 10
        values = {"established": case.connections, "failed": 0, "lost": 0, "tenths_s": tenths, "cost_us": 40.0}
        if case.shows == "latencies":
            values |= {"connect_p50_us": rate / 500, "connect_p99_us": 90.0, "lateness_p50_us": 123_456.0}
        if case.shows == "metrics":
            result.recording.append(Recording(50.5, 50.0, 50.7))
            continue
        if case.shows == "watch":
            result.watching.append(Watching(60_002, 4, 0.24 / 0.75**number, 0.06 / 0.75**number))
            continue
        held = Holding(case.connections, 2, 2, 0.1, 0.05, 80e6, 60e6) if case in HELD else None
        if case.baseline:
            result.baseline.append(Sample(case.baseline, rate / 0.9, **values))  # type: ignore[arg-type]  # by name
        if not case.reference_only:
            result.loadgen.append(Sample("loadgen", rate, holding=held, **values))  # type: ignore[arg-type]  # by name
    return result


def everything(rounds: int = 2) -> tuple[list[Result], list[dict[str, Any]]]:
    results = [made_up(case, rounds) for case in ALL_CASES]
    return results, [summarise(result) for result in results]


def printed(summaries: list[dict[str, Any]]) -> str:
    out = Console(width=150, file=StringIO())
    print_tables(summaries, out)
    assert isinstance(out.file, StringIO)
    return out.file.getvalue()


@pytest.mark.parametrize("rounds", [1, 2])
def test_every_case_is_in_a_table_whole(rounds: int) -> None:
    """No number is cut off by an ellipsis, and every way of showing has its heading."""
    _, summaries = everything(rounds)
    text = printed(summaries)
    assert "…" not in text
    headings = (
        "opened per second",
        "open loop",
        "by quarter",
        "by tenth",
        "measuring costs",
        "10,000 held connections",
        "read and grouped",
    )
    for heading in headings:
        assert heading in text
    for case in ALL_CASES:
        if case.shows in ("rates", "latencies", "held", "watch"):
            assert case.name in text


def test_a_case_without_samples_is_left_out() -> None:
    """A program failed in its first round; the tables of the others still appear."""
    summaries = [summarise(Result(case)) for case in ALL_CASES]
    assert printed(summaries) == ""
    assert chart(summaries, "") == ""


def test_a_single_round_has_no_range() -> None:
    assert spread_text({"median": 2.0, "low": 2.0, "high": 2.0}, ".1f") == "2.0"
    assert spread_text({"median": 2048.0, "low": 1024.0, "high": 4096.0}, ".0f", 1024) == "2 (1 - 4)"


def test_where_there_is_no_goal_there_is_no_verdict() -> None:
    assert verdict_text(summarise(made_up(METRICS))) == "-"
    assert "missed[/] (0.95)" in verdict_text(summarise(made_up(OPEN_HOLD)))
    assert "met[/] (1 ± 0.05)" in verdict_text(summarise(made_up(HALF_RATE)))
    assert "met[/] (100,000/s)" in verdict_text(summarise(made_up(WATCH)))


def test_latencies_are_told_for_both_programs_and_what_is_not_known_is_not() -> None:
    text = printed([summarise(made_up(HALF_RATE.at_half_of(20_000)))])
    lines = {line.split("│")[2].strip(): line for line in text.splitlines() if line.count("│") == 8}
    assert [cell.strip() for cell in lines["loadgen"].split("│")[3:7]] == ["35.0 (30.0 - 40.0)", "90", "123,456", "-"]
    assert lines["medians' ratio"].split("│")[3].strip() == "1.00"
    assert "12,000 at 10,000/s" in " ".join(text.split())


def test_what_recording_costs_is_told_beside_its_control() -> None:
    text = printed([{**summarise(made_up(METRICS)), "recorder_us": {"recording": 0.08, "without": 0.01}}])
    cells = [line.split("│")[1:3] for line in text.splitlines() if line.count("│") == 3]
    assert {name.strip(): us.strip() for name, us in cells} == {
        "with recording": "50.50",
        "without": "50.00",
        "with recording, the control": "50.70",
        "recording costs": "0.60",
        "difference of the control": "0.20",
        "the recorder alone, recording": "0.08",
        "the recorder alone, not": "0.01",
    }


def test_how_fast_sockets_are_watched_is_told_for_reading_and_grouping_apart() -> None:
    text = printed([summarise(made_up(WATCH, rounds=1))])
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.count("│") == 8]
    assert rows == [["watch (30,000 held)", "60,002", "4", "240.0", "60.0", "200,007", "met (100,000/s)"]]


def test_the_chart_is_a_picture_with_a_dot_for_each_ratio() -> None:
    _, summaries = everything()
    root = ET.fromstring(chart(summaries, "a < b"))
    assert len(root.findall(f"{SVG}circle")) == len(rows_of(summaries))
    assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")
    told = [text.text or "" for text in root.findall(f"{SVG}text")]
    assert "a < b" in told
    assert "half-rate, late-range: connect p50" in told
    assert "last-quarter, explicit: last / first" in told


def test_the_chart_grows_with_its_ratios() -> None:
    """Whatever the ratios, no dot lies outside of the picture, nor on the text at its right."""
    summary = summarise(made_up(OPEN_HOLD))
    for high in (0.1, 1.2, 1.21, 4.0, 55.0):
        spread = {"median": high, "low": 0.0, "high": high}
        root = ET.fromstring(chart([{**summary, "ratio_by_round": spread}], ""))
        dots = root.findall(f"{SVG}circle")
        assert [0 < float(dot.get("cx", "0")) <= float(root.get("width", "0")) - 130 for dot in dots] == [True]


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    results, summaries = everything()
    data, picture = write_results(tmp_path, results, summaries, HOST)
    assert (data.suffix, picture.suffix, data.stem) == (".json", ".svg", picture.stem)
    content = json.loads(data.read_text())
    assert (content["schema"], len(content["summaries"])) == ("loadgen.bench/3", len(ALL_CASES))
    assert len(content["samples"]) == sum(len(kind) for result in results for kind in result.measured)
    kinds = {sample.get("program", "watching" if "dump_s" in sample else "recording") for sample in content["samples"]}
    assert kinds == {REFERENCE, "loadgen", "recording", "watching"}
    assert ET.fromstring(picture.read_text()).tag == f"{SVG}svg"
