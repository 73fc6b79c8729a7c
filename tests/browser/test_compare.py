"""The page of a comparison in a browser: every chart has a line for each side, and nothing of others' text runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

from loadgen.compare import load
from loadgen.views.html import compare

from .conftest import ATTACK, ATTACK_SEEN, Tabs, hostile, scrolls_sideways, show

#: Of each chart in sight: its id, its size in CSS pixels, what its legend names, and how many pixels are drawn.
_LOOK: Final = """() => [...document.querySelectorAll("figure.chart:not([hidden]) .plot")].map((plot) => {
    const canvas = plot.querySelector("canvas"), { width, height } = canvas.getBoundingClientRect();
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return { id: plot.id, width, height, drawn: pixels.filter((value, index) => index % 4 === 3 && value > 0).length,
             names: [...plot.querySelectorAll(".u-legend th")].map((name) => name.textContent) };
})"""


@pytest.fixture(scope="module")
def compared(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run beside the same one, in whose files there is an attack in every string."""
    home = tmp_path_factory.mktemp("compare")
    other = home / "other"
    shutil.copytree(runs["full"], other)
    summary: dict[str, Any] = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps(hostile(summary)))
    (other / "host.json").write_text(json.dumps(hostile(json.loads((other / "host.json").read_text()))))
    (other / "scenario.yaml").write_text(json.dumps({"name": "full", "description": "x", ATTACK[:20]: "y"}))
    given = load.read([str(runs["full"]), str(other)])
    series = {str(run.path): run.series for one in given for run in one.runs}
    page = home / "compare.html"
    page.write_text(compare.page(load.compared(given), series), encoding="utf-8")
    return page


def charts(page: Page) -> dict[str, dict[str, Any]]:
    """Every chart in sight by its id, each with something on it."""
    found: list[dict[str, Any]] = page.evaluate(_LOOK)
    for chart in found:
        assert min(chart["width"], chart["height"]) > 100, chart
        assert chart["drawn"] > 500, chart
    return {chart["id"]: chart for chart in found}


def test_every_chart_has_both_sides(page: Page, compared: Path) -> None:
    show(page, compared)
    found = charts(page)
    assert list(found) == [
        "chart-open",
        "chart-established",
        "chart-rate",
        "chart-failed",
        "chart-percentiles-connect",
        "chart-percentiles-exchange",
    ]
    for chart in found.values():
        assert chart["names"][1:] == ["A", "B"]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window(tabs: Tabs, compared: Path, width: int, scheme: Any) -> None:
    page = tabs(viewport={"width": width, "height": 800}, color_scheme=scheme)
    show(page, compared)
    assert not scrolls_sideways(page)
    assert len(charts(page)) == 6


def test_an_attack_is_read_and_not_run(page: Page, compared: Path) -> None:
    show(page, compared)
    page.locator("summary").first.click()
    assert ATTACK_SEEN in page.locator("main").inner_text()
    assert page.evaluate("() => window.__pwned") is None
    assert page.locator("img").count() == 0


def test_without_scripts_the_figures_are_there(tabs: Tabs, compared: Path) -> None:
    page = tabs(java_script_enabled=False)
    page.goto(compared.as_uri())
    assert page.locator("h1").inner_text()
    assert page.locator("table.cells tbody tr").count() > 15
    assert page.locator("figure.chart:visible").count() == 0
