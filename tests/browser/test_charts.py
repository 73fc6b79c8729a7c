"""The charts of a page that is live: drawn anew every second in place, without a flicker, zoomed as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from loadgen.model import Endpoint, Target
from loadgen.results.schema.line import Line
from loadgen.views.charts import run as charts
from loadgen.views.html import run as html
from tests.plans import plan_of
from tests.samples import bare_line

from .conftest import show, wait_until

#: As a live page has them: a place for every chart that may ever come, and a policy that allows its own blocks alone.
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>live</title>
<link rel="icon" href="data:,"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
style-src {styles}; script-src {scripts}"><style>{style}</style></head><body><main>{figures}</main>
{blocks}</body></html>"""
_FIGURE = """<figure class="chart" hidden><figcaption></figcaption>
<div class="plot" id="chart-{}" role="img" aria-label=""></div></figure>"""
_VISIBLE = '() => [...document.querySelectorAll("figure.chart:not([hidden]) .plot")].map((place) => place.id.slice(6))'
PLAN = plan_of(
    sources=("10.0.0.1", "10.0.0.2"), targets=(Target(Endpoint("10.0.9.9", 80), sink=False),), capacity_per_pair=1_000
)


def lines(count: int) -> list[Line]:
    """A line per second of a run that goes on: the second source opens half as many connections as the first."""
    return [
        bare_line(
            float(n),
            established=30 * n,
            open=30 * n,
            failed=n,
            errors=[["connect", "ETIMEDOUT", "timeout", n]],
            pairs=[[20 * n, n, 20 * n], [10 * n, 0, 10 * n]],
            latency_ns={"connect": {"1780": n, str(1500 + n): 1}},
            lag_ns={"1500": 3},
            worker_cpu_s=[n / 9, n / 5],
        )
        for n in range(1, count + 1)
    ]


def everything(count: int) -> dict[str, Any]:
    """The data of the page after this number of seconds."""
    return charts.everything(lines(count), [], PLAN)


def put(page: Page, data: dict[str, Any]) -> None:
    """Hand the page its data, as a message from a server would."""
    page.evaluate("(data) => board.show(data)", data)


def scale(page: Page, chart: str) -> str:
    """The numbers of the time axis, as a picture of it: it changes when the axis does."""
    return str(page.evaluate(f'() => document.querySelector("#chart-{chart} canvas").toDataURL()'))


@pytest.fixture
def live(page: Page, tmp_path: Path) -> Page:
    """An empty board, in a window in which every chart is on the screen."""
    style = html.read("vendor/uplot/uPlot.min.css") + "\n" + html.read("report.css")
    scripts = [html.uplot(), html.read("charts.js"), "const board = loadgenCharts.board();"]
    file = tmp_path / "live.html"
    file.write_text(
        _PAGE.format(
            styles=html.hash_of(style),
            scripts=" ".join(map(html.hash_of, scripts)),
            style=style,
            figures="".join(_FIGURE.format(name) for name, _ in charts.SLOTS),
            blocks="".join(f"<script>{script}</script>" for script in scripts),
        )
    )
    page.set_viewport_size({"width": 1000, "height": 5000})
    show(page, file)
    return page


def test_newer_data_is_drawn_into_the_same_canvases(live: Page) -> None:
    put(live, everything(3))
    live.evaluate("() => { window.before = [...document.querySelectorAll('canvas')]; }")
    picture = scale(live, "rate")
    put(live, everything(9))
    assert live.evaluate("() => before.length > 5 && before.every((canvas) => canvas.isConnected)")
    assert live.evaluate("() => document.querySelectorAll('canvas').length === before.length")
    wait_until(live, lambda: scale(live, "rate") != picture, "drawing of the newer lines")


def test_charts_come_and_go_with_the_data(live: Page) -> None:
    assert live.evaluate(_VISIBLE) == []
    put(live, everything(5))
    there = {chart["id"] for chart in everything(5)["charts"]}
    assert set(live.evaluate(_VISIBLE)) == there
    put(
        live,
        {"charts": [chart for chart in everything(6)["charts"] if chart["id"] == "rate"], "phases": [], "marks": []},
    )
    assert live.evaluate(_VISIBLE) == ["rate"]
    put(live, everything(7))
    assert set(live.evaluate(_VISIBLE)) == there


def test_the_value_below_the_pointer_is_told(live: Page) -> None:
    put(live, everything(10))
    place = live.locator("#chart-occupancy .u-over")
    box = place.bounding_box()
    assert box is not None
    place.hover(position={"x": box["width"] * 0.95, "y": box["height"] * 0.25})
    told = live.locator("#chart-occupancy .readout")
    wait_until(live, lambda: told.text_content(), "word about the cell")
    assert told.text_content() == "10.0.0.1: 20 % from 9 s to 10 s"
    place.hover(position={"x": box["width"] * 0.45, "y": box["height"] * 0.75})
    wait_until(live, lambda: told.text_content() == "10.0.0.2: 5 % from 4 s to 5 s", "word about the other row")
    assert live.locator("#chart-latency-map-connect .readout").text_content() == "", "the pointer is not there"
    assert "at" in (live.locator("#chart-rate .u-legend").text_content() or ""), "the other charts tell of that time"


def test_a_stretch_that_was_zoomed_into_stays_while_the_run_goes_on(live: Page) -> None:
    put(live, everything(40))
    whole = scale(live, "rate")
    box = live.locator("#chart-rate .u-over").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    live.mouse.move(box["x"] + 0.4 * box["width"], y)
    live.mouse.down()
    live.mouse.move(box["x"] + 0.6 * box["width"], y, steps=3)
    live.mouse.up()
    live.mouse.move(5, 5)
    wait_until(live, lambda: scale(live, "rate") != whole, "zoom")
    zoomed = {chart: scale(live, chart) for chart in ("rate", "occupancy")}
    put(live, everything(41))
    live.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert {chart: scale(live, chart) for chart in zoomed} == zoomed, "the same stretch, the same picture"
