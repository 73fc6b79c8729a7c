"""The report of a run in a browser: every chart is drawn, on any screen and on paper, and nothing is fetched.

It holds for any set of charts: how many there have to be is what the page carries as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page

from loadgen.results import run_directory
from loadgen.views.html import run as html
from tests import hostile

from .conftest import ATTACK, ATTACK_SEEN, Tabs, scrolls_sideways, show, wait_until

#: Of each figure that is there to be seen: its chart, its size and its canvas's, and how much is on the canvas.
_LOOK: Final = """() => [...document.querySelectorAll("figure.chart:not([hidden])")].map((figure) => {
    const place = figure.querySelector("[id^=chart-]"), canvas = place.querySelector("canvas");
    const found = { chart: place.id.slice(6), room: place.clientWidth, width: 0, height: 0, inked: 0, coloured: 0 };
    if (!canvas) return found;
    const { width, height } = canvas.getBoundingClientRect();
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    let inked = 0, coloured = 0;
    for (let i = 0; i < data.length; i += 4) {
        const [red, green, blue, opacity] = data.subarray(i, i + 4);
        if (opacity) inked++;
        if (opacity && Math.max(red, green, blue) - Math.min(red, green, blue) > 40) coloured++;
    }
    return { ...found, width, height, inked, coloured };
})"""
_PAYLOAD: Final = (
    """() => JSON.parse(document.getElementById("report-data").textContent).charts.map((chart) => chart.id)"""
)
_PICTURES: Final = """() => [...document.querySelectorAll("figure.chart canvas")].map((canvas) => canvas.toDataURL())"""
#: Of each chart with lines, where the page carries the data: how many values the longest has.
_VALUES: Final = """() => Object.fromEntries(
    JSON.parse(document.getElementById("report-data")?.textContent ?? '{"charts": []}').charts
        .filter(({ y }) => y)
        .map(({ id, y }) => [id, Math.max(...y.map((line) => line.filter((value) => value !== null).length))]))"""
#: Pixels of a grid with its labels, and of the shortest line: those are grey, and lines and areas are not.
_INKED_MIN, _COLOURED_MIN = 500, 50
#: Of one or two values there are only dots, all in one place perhaps and the last of them grey (22 pixels and more).
_DOTS_MIN: Final = 10
#: A heat map of one row and its axis, in CSS pixels.
_HEIGHT_MIN: Final = 40
#: A4 less the margins of the page, 182 mm, in CSS pixels.
_PAPER_WIDTH: Final = 688


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart as it is on the page.

    room: width of its place, width, height: of its canvas, all in CSS pixels. inked: how many pixels of it are not
    transparent; coloured: how many of these are no shade of grey. values: of its longest line; None: it has none, or is
    on a page without the data.
    """

    chart: str
    room: float
    width: float
    height: float
    inked: int
    coloured: int
    values: int | None

    @property
    def has_colour(self) -> bool:
        """Whether its lines or areas are there."""
        return self.coloured >= (_COLOURED_MIN if self.values is None or self.values > 2 else _DOTS_MIN)


def drawn(page: Page) -> list[Drawn]:
    """Every figure that is shown, from top to bottom."""
    values = page.evaluate(_VALUES)
    return [Drawn(**figure, values=values.get(figure["chart"])) for figure in page.evaluate(_LOOK)]


def assert_every_chart_is_drawn(page: Page) -> list[Drawn]:
    """That what is shown are the charts of the data, each on a canvas of its own, as wide as there is room."""
    found = drawn(page)
    assert sorted(figure.chart for figure in found) == sorted(page.evaluate(_PAYLOAD))
    assert found
    for figure in found:
        assert 0.9 * figure.room <= figure.width <= figure.room + 1, figure
        assert figure.height >= _HEIGHT_MIN, figure
        assert figure.has_colour, figure
        assert figure.inked - figure.coloured >= _INKED_MIN, figure
    return found


@pytest.fixture(params=["full", "churn"])
def report(request: pytest.FixtureRequest, runs: dict[str, Path]) -> Path:
    """The page of each run."""
    return runs[request.param] / "report.html"


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_on_any_screen(tabs: Tabs, report: Path, width: int, scheme: str) -> None:
    page = tabs(viewport={"width": width, "height": 900}, color_scheme=scheme)
    show(page, report)
    assert_every_chart_is_drawn(page)
    assert not scrolls_sideways(page)


def test_charts_follow_the_window_and_the_colour_scheme(page: Page, report: Path) -> None:
    show(page, report)
    light = page.evaluate(_PICTURES)
    page.emulate_media(color_scheme="dark")
    wait_until(page, lambda: not set(light) & set(page.evaluate(_PICTURES)), "charts in the colours of the dark")
    wide = assert_every_chart_is_drawn(page)
    page.set_viewport_size({"width": 400, "height": 900})
    wait_until(page, lambda: all(one.width < 400 for one in drawn(page)), "charts as narrow as the window")
    assert len(assert_every_chart_is_drawn(page)) == len(wide)
    assert not scrolls_sideways(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_every_chart_fits_and_everything_is_unfolded(tabs: Tabs, report: Path, scheme: str) -> None:
    page = tabs(viewport={"width": _PAPER_WIDTH, "height": 900}, color_scheme=scheme)
    show(page, report)
    before = page.evaluate(_PICTURES)
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    for figure in drawn(page):
        assert 0 < figure.width <= min(figure.room, _PAPER_WIDTH), figure
        assert figure.has_colour, figure
    assert page.evaluate("() => [...document.querySelectorAll('details')].every((part) => part.open)")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 252)"
    page.emulate_media(media="screen")
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    wait_until(page, lambda: page.evaluate(_PICTURES) == before, "charts as they were before")


def test_printing_leaves_the_page_as_it_was(page: Page, report: Path) -> None:
    show(page, report)
    before = page.evaluate(_PICTURES)
    assert page.pdf().startswith(b"%PDF-")
    wait_until(page, lambda: page.evaluate(_PICTURES) == before, "charts as they were before")
    assert_every_chart_is_drawn(page)
    assert not page.locator("details[open]").count()


def test_without_a_script_the_tables_say_it_all(tabs: Tabs, report: Path) -> None:
    page = tabs(java_script_enabled=False)
    page.goto(report.as_uri())
    assert "The charts need JavaScript" in page.locator("body").inner_text()
    assert page.locator("figure.chart:visible").count() == 0
    assert page.locator("h1:visible").count() == 1
    for table in ("Latency", "Sources"):
        section = page.locator("section", has=page.get_by_role("heading", name=table))
        assert section.locator("tbody tr:visible").count() > 0, table


@pytest.mark.parametrize("width", [400, 1280])
def test_names_that_attack_stay_text(tabs: Tabs, runs: dict[str, Path], tmp_path: Path, width: int) -> None:
    """Every string of the scenario, the summary, the errors, the events and the host is an attack."""
    run = run_directory.read(runs["full"])
    assert run.summary
    assert run.summary.errors
    page_text = html.render(hostile.run(run, ATTACK), hostile.summary(run.summary, ATTACK))
    file = tmp_path / "report.html"
    file.write_text(page_text, encoding="utf-8")
    page = tabs(viewport={"width": width, "height": 900})
    show(page, file)
    assert_every_chart_is_drawn(page)
    assert page.evaluate("() => window.__pwned") is None
    assert page.locator("img").count() == 0
    seen = page.locator("body").inner_text()
    assert "full" + ATTACK_SEEN in seen
    assert "EADDRNOTAVAIL" + ATTACK_SEEN in seen
    assert not set("\u202e\u2066\x1b\x07") & set(seen), "nothing turns the text around or drives a terminal"
    assert not scrolls_sideways(page)
