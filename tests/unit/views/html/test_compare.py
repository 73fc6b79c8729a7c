"""The page of a comparison: complete in itself, escaped, small, and with its caveats before its claims."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

from msgspec import structs

from loadgen.compare.comparable import Side, Subject
from loadgen.compare.comparison import CompareResult, Group, compare
from loadgen.results.schema.line import Line
from loadgen.views.html import compare as compare_html
from tests import samples

EVIL = '</script><img src=x onerror="alert(1)">\u202e\x1b[31m'


def subject(name: str, rate: float = 1000.0, **changes: Any) -> Subject:
    return samples.subject(name, {"rate_per_s.established_mean": rate, **changes})


def result(*sides: tuple[Subject, ...], settings: dict[str, Any] | None = None) -> CompareResult:
    base, *others = (Side(label, runs) for label, runs in zip("ABCDEF", sides, strict=False))
    names = {label: ",".join(one.name for one in runs) for label, runs in zip("ABCDEF", sides, strict=False)}
    return CompareResult(names, (Group(tuple(compare(base, other) for other in others), settings or {}),))


def lines(count: int = 3) -> list[Line]:
    connect = {str(bucket): 3 for bucket in range(900, 1500)}
    line = samples.line({"phase": "ramp", "latency_ns": {"connect": connect}})
    return [structs.replace(line, t_s=n + 1.0, established=9 * n, open=9 * n) for n in range(count)]


def test_a_page_with_charts_loads_nothing() -> None:
    page = compare_html.page(result((subject("a"),), (subject("b", 10.0),)), {"a": lines(), "b": lines()})
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page.split("<script>")[0])
    assert not re.search(r"<(?:link|img|iframe|script)[^>]+(?:src|href)=\"(?!data:)", page)
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.count("sha256-") == 1 + page.count("<script>")
    assert "unsafe" not in policy
    assert " style=" not in page.split("<body>")[1].split("<script")[0]
    payload = json.loads(re.search(r'id="report-data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert [chart["id"] for chart in payload["charts"]] == ["open", "established", "rate", "percentiles-connect"]
    for chart in payload["charts"]:
        assert page.count(f'id="chart-{chart["id"]}"') == 1


def test_without_series_there_is_no_script() -> None:
    page = compare_html.page(result((subject("a"),), (subject("b"),), settings={"connections": 1}), {})
    assert "<script" not in page
    assert "script-src 'none'" in unescape(page)
    assert "connections 1" in page


def test_whatever_others_wrote_is_text() -> None:
    evil = replace(subject(EVIL), host=samples.host({"kernel": EVIL}), scenario={EVIL: EVIL})
    found = result((subject("a"),), (evil, replace(evil, name="c")))
    page = compare_html.page(
        replace(found, left_out=(EVIL,), names={"A": EVIL, "B": EVIL}),
        {"a": lines(), EVIL: lines(), "c": lines()},
    )
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;/script&gt;" in page


def test_caveats_stand_before_what_is_claimed() -> None:
    doubtful = subject("b", 10.0, **{"generator.trustworthy": False, "generator.reasons": ["it was late"]})
    page = compare_html.page(result((subject("a"),), (doubtful,)), {"a": lines(), "b": lines()})
    assert "<h1>With a caveat: B is worse than A" in page
    assert 0 < page.index("it was late") < page.index('<h2 id="charts">') < page.index("worse (!)")
    assert "(!) not without the caveats above." in page
    clean = compare_html.page(result((subject("a"),), (subject("b", 10.0),)), {"a": lines(), "b": lines()})
    assert "(!)" not in clean
    assert "caveat" not in clean


def test_of_repetitions_the_middle_one_is_drawn() -> None:
    runs = tuple(subject(name, rate) for name, rate in (("a1", 900.0), ("a2", 1100.0), ("a3", 1000.0)))
    series = {"a1": lines(4), "a2": lines(5), "a3": lines(9), "b": lines(2)}
    page = compare_html.page(result(runs, (subject("b"),)), series)
    payload = json.loads(re.search(r'id="report-data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert payload["charts"][0]["x"][-1] == 9
    assert "the one with the middle rate" in page


def test_six_long_runs_stay_below_half_a_megabyte() -> None:
    sides = [(subject(name, 1000.0 + index),) for index, name in enumerate("abcdef")]
    page = compare_html.page(result(*sides), {name: lines(3000) for name in "abcdef"})
    assert len(page.encode()) < 500_000
