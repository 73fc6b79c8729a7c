"""The report of a run: true of every page, whatever the run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from loadgen.results.schema.run import RunSummary
from loadgen.views.charts import columns, heat
from loadgen.views.html import run as html
from tests import hostile, samples
from tests.golden import pieces_of, same_as_golden


def page_of(summary: RunSummary, name: str = "hold") -> Page:
    return Page(html.render(samples.run(name), summary))


class Page(HTMLParser):
    """What a browser would make of a page: its elements, the text in them, its inline blocks."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[str]] = {"style": [], "script": [], "data": []}
        self.words: list[str] = []
        self._inside: str | None = None
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("style", "script"):
            self._inside = "data" if attributes.get("type") == "application/json" else tag
            self.blocks[self._inside].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "script"):
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[self._inside][-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, white space folded."""
        return " ".join(" ".join(self.words).split())

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        metas = [a for tag, a in self.elements if tag == "meta" and a.get("http-equiv")]
        return metas[0]["content"] or ""


def drawn_on(page: Page) -> dict[str, dict[str, Any]]:
    """The charts that a page carries as data, by their names."""
    return {chart["id"]: chart for chart in json.loads(page.blocks["data"][0])["charts"]}


@pytest.mark.parametrize("name", ["wall", "churn", "killed-worker"])
def test_a_recorded_run_reads_as_it_was_approved(name: str) -> None:
    same_as_golden(f"html/{name}.txt", pieces_of(html.render(samples.run(name), samples.summary(name=name))))


def test_the_sinks_count_of_four_tuples_is_on_the_page() -> None:
    """The summary calls them source ports: each is a four-tuple of its own, because there is one target."""
    page = html.render(samples.run("hold"), samples.summary())
    rows = re.findall(
        r'<tr><th scope="row" class="id">([^<]*)</th><td class="num">(\d+)</td><td class="num">(.*?)</td>', page
    )
    assert rows == [("127.0.0.3", "10", "10"), ("127.0.1.1", "75", "50"), ("127.0.1.2", "75", "50")]


def test_a_run_that_went_wrong_says_so_at_the_top() -> None:
    keys = {
        "complete": False,
        "incomplete_because": "worker 3 (pid 4711) was killed by SIGKILL",
        "generator.trustworthy": False,
        "generator.reasons": ["the event loop of worker 2 stood still for 812 ms"],
        "expect.0.passed": False,
    }
    page = page_of(samples.summary(keys, "wall"), "wall")
    for fact in (
        "INCOMPLETE",
        "worker 3 (pid 4711) was killed by SIGKILL",
        "limit: four-tuples",
        "generator not trustworthy",
        "the event loop of worker 2 stood still for 812 ms",
        "add 1 source address",
        "1 of 3 expectations failed",
    ):
        assert page.text.index(fact) < page.text.index("The run over time")


def test_a_run_that_went_well_has_no_such_words() -> None:
    page = page_of(samples.summary())
    for fact in ("complete", "no limit reached", "4 of 4 expectations met"):
        assert fact in page.text
    for absent in ("INCOMPLETE", "not trustworthy"):
        assert absent not in page.text


@pytest.mark.parametrize("name", ["wall", "churn"])
def test_hostile_strings_stay_text(name: str) -> None:
    """Every string of every input is an attack; the page has the same elements as without."""
    source = html.render(hostile.run(samples.run(name)), hostile.summary(samples.summary(name=name)))
    page = Page(source)
    assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert len(page.blocks["script"]) == 3
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "<img src=x onerror=alert(1)>" in page.text, "it is there to be read"
    assert not set("\u2028\u202e\x1b") & set(source), "and cannot hide or reorder anything"
    charts = drawn_on(page)
    assert any("<img" in series["label"] for series in charts["errors"]["series"])
    assert "occupancy" not in charts or all("<img" in row for row in charts["occupancy"]["rows"])
    assert "<" not in page.blocks["data"][0]


def test_the_policy_allows_the_inline_blocks_and_nothing_else() -> None:
    page = page_of(samples.summary())

    def source(block: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"

    rules = {rule.split()[0]: rule.split()[1:] for rule in page.policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    assert rules["style-src"] == [source(block) for block in page.blocks["style"]]
    assert rules["script-src"] == [source(block) for block in page.blocks["script"]]
    assert "unsafe" not in page.policy
    assert not [tag for tag, attributes in page.elements if "style" in attributes], "style= would be blocked"


def test_nothing_is_loaded_from_anywhere() -> None:
    page = page_of(samples.summary())
    loading = [a[name] or "" for _, a in page.elements for name in ("src", "href", "srcset", "data") if name in a]
    assert all(address.startswith(("#", "data:")) for address in loading)
    assert not re.search(r"url\(|@import", "".join(page.blocks["style"]))
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|import\(", "".join(page.blocks["script"]))


def test_the_licence_of_the_chart_library_is_in_the_page() -> None:
    assert "Leon Sorokin" in html.render(samples.run("hold"), samples.summary())
    assert "Permission is hereby granted" in html.render(samples.run("hold"), samples.summary())


def test_tables_and_charts_have_names() -> None:
    page = page_of(samples.summary(name="wall"), "wall")
    heads = [attributes for tag, attributes in page.elements if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row") for attributes in heads)
    plots = [attributes for _, attributes in page.elements if "plot" in (attributes.get("class") or "").split()]
    drawn = json.loads(page.blocks["data"][0])["charts"]
    assert {f"chart-{chart['id']}" for chart in drawn} == {attributes["id"] for attributes in plots}
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in plots)
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("folder", ["loadgen/views/html/vendor/uplot", "tests/browser/vendor/axe"])
def test_what_is_vendored_is_what_its_checksums_say(folder: str) -> None:
    place = Path(__file__).resolve().parents[4] / folder
    lines = (place / "SHA256SUMS").read_text().splitlines()
    assert {name for _, name in (line.split("  ") for line in lines)} | {"SHA256SUMS", "VERSION"} == {
        file.name for file in place.iterdir()
    }
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == digest


def sources(count: int) -> list[dict[str, Any]]:
    pair = {"target": "127.0.0.1:9000", "capacity": 100, "established": 3, "failed": 1}
    return [{"source": f"10.0.0.{n}", "peak_open": n % 101, **pair} for n in range(count)]


def test_ten_minutes_from_a_hundred_sources_stay_under_500_kb() -> None:
    """Each of three targets from each source, with every chart there can be in an ordinary run."""
    run = samples.run("wall")
    addresses = tuple(f"198.18.0.{n}" for n in range(1, 101))
    plan = replace(run.plan, sources=addresses, targets=run.plan.targets * 3)
    last = run.series[-2]
    pairs = tuple(last.pairs[0]._replace(open=n) for n in range(300))
    kernel = {"now": {"sockstat.tcp_inuse": 5}, "delta": {"Tcp.RetransSegs": 9}}
    wide = samples.bare_line(
        1.0,
        kernel=kernel,
        latency_ns={
            kind: {str(bucket): 3 for bucket in range(900, 1500)} for kind in ("lateness", "connect", "arrival")
        },
        lag_ns={"1780": 3},
        cost_us=[41.5] * 10,
    )
    series = tuple(
        structs.replace(
            wide,
            t_s=n / 2,
            pairs=pairs,
            established=n,
            open=n,
            failed=n // 9,
            worker_cpu_s=(n / 9,) * 6,
            errors=last.errors,
        )
        for n in range(1, 1202)
    )
    page = html.render(replace(run, plan=plan, series=series), samples.summary({"sources": sources(300)}, "wall"))
    assert len(page.encode()) < 500_000
    drawn = drawn_on(Page(page))
    assert {"occupancy", "latency-map-connect", "cost", "kernel-counters", "lag", "worker-cpu"} <= set(drawn)
    assert max(len(chart["x"]) for chart in drawn.values()) <= columns.POINTS_MAX
    for chart in drawn.values():
        if "heat" in chart:
            assert len(chart["x"]) - 1 <= heat.COLUMNS_MAX
            assert len(chart["cells"]) <= 100
            assert {len(row) for row in chart["cells"]} == {len(chart["x"]) - 1}


def test_of_a_hundred_sources_fifty_are_rows_and_the_rest_is_one() -> None:
    text = page_of(samples.summary({"sources": sources(120)})).text
    assert "It goes from 0 % to 100 % over 120 pairs, fullest first. The 70 pairs past the first 50 are one row" in text
    assert "38 more rows and 70 pairs as one" in text
    assert "70 more pairs together" in text


def test_long_tables_end_with_a_count() -> None:
    errors = [{"syscall": "connect", "errno": f"E{n}", "outcome": "other", "count": 60 - n} for n in range(53)]
    sinks = [{"source": f"10.0.0.{n}", "accepted": 2, "source_ports": 1} for n in range(60)]
    run = samples.run()
    events = run.events * 100
    source = html.render(
        replace(run, events=events, scenario_text="x" * (html.SCENARIO_CHARACTERS_MAX + 7)),
        samples.summary({"errors": errors, "sink.sources": sinks}),
    )
    text = Page(source).text
    assert "3 more kinds 27" in text
    assert "10 more sources 20" in text
    assert f"{len(events) - html.EVENTS_MAX:,} more in events.jsonl" in text
    assert "7 more characters are in scenario.yaml" in text


def test_churn_has_its_charts_and_its_words() -> None:
    page = page_of(samples.summary(name="churn"), "churn")
    for fact in ("300 of 981 started", "at a time", "Every attempt is accounted for", "3.00 s, closed loop"):
        assert fact in page.text
    for absent in ("scheduled", "over the ramp", "end of hold"):
        assert absent not in page.text
    drawn = drawn_on(page)
    assert list(drawn)[:5] == ["connections", "rate", "errors", "time-wait", "time-wait-rate"]
    assert drawn["rate"]["series"][-1]["label"] == "predicted ceiling"


@pytest.mark.parametrize(("exchange", "row"), [(True, "duo"), (False, "trio")])
def test_four_latencies_stand_two_by_two(exchange: bool, row: str) -> None:
    """The row of small charts is the last one that was opened before the first latency."""
    counts = {"1780": 5}
    kinds = ("lateness", "connect", "arrival", *(("exchange",) if exchange else ()))
    series = tuple(samples.bare_line(t_s, latency_ns=dict.fromkeys(kinds, counts)) for t_s in (1.0, 2.0))
    elements = Page(html.render(replace(samples.run("hold"), series=series), samples.summary())).elements
    first = next(index for index, (_, found) in enumerate(elements) if found.get("id") == "chart-latency-lateness")
    rows = [found["class"] for tag, found in elements[:first] if tag == "div" and found.get("class") in ("duo", "trio")]
    assert rows[-1] == row


def test_sockets_by_state_are_told_with_their_time() -> None:
    states = {"t_s": 4.75, "counts": {"established": 300, "fin_wait2": 3}}
    source = html.render(samples.run("hold"), samples.summary({"kernel.states": states}))
    assert "Sockets of TCP by state at 4.75 s, when most were counted" in source
    assert '<th scope="row" class="id">fin_wait2</th><td class="num">3</td>' in source
    for nothing in (None, {"t_s": 1.0, "counts": {}}):  # a run too short
        source = html.render(samples.run("hold"), samples.summary({"kernel.states": nothing, "kernel.sink": None}))
        assert "Sockets of TCP by state" not in source


def test_a_run_without_lines_has_nothing_to_draw() -> None:
    page = Page(html.render(replace(samples.run("hold"), series=(), events=()), samples.summary()))
    assert "No series was recorded, so there is nothing to draw." in page.text
    assert drawn_on(page) == {}


def test_data_cannot_end_the_script_element_it_stands_in() -> None:
    text = html.payload({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}
    with pytest.raises(ValueError, match="JSON compliant"):
        html.payload(float("nan"))


def test_heartbeats_are_a_figure_of_their_own() -> None:
    beats = {"every_s": 1.0, "connections": 10, "sent": 600_000, "answered": 599_997, "missed": 3, "wrong": 0}
    assert (
        "Heartbeats 599,997 answered of 600,000; 3 missed, 0 wrong"
        in page_of(samples.summary({"heartbeat": beats})).text
    )
    assert "Heartbeats" not in page_of(samples.summary()).text
