"""The page of a matrix in a browser: links that lead somewhere, charts that show something, and no script at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

from loadgen.results.schema import files
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.views.html import matrix

from .conftest import ATTACK, ATTACK_SEEN, Tabs, hostile, recorded, scrolls_sideways, show

#: Of each chart of the page: its name, its size in CSS pixels, and how many marks it has inside and outside of it.
_LOOK: Final = """() => [...document.querySelectorAll("main svg[role=img]")].map((svg) => {
    const { left, right, top, bottom } = svg.getBoundingClientRect();
    const marks = [...svg.querySelectorAll("circle")].map((mark) => mark.getBoundingClientRect());
    const inside = marks.filter((mark) => mark.width > 2 && mark.left >= left && mark.right <= right
                                       && mark.top >= top && mark.bottom <= bottom);
    return { label: svg.getAttribute("aria-label"), width: right - left, height: bottom - top,
             inside: inside.length, outside: marks.length - inside.length };
})"""
#: Texts of a chart that cover part of each other. Names of cells end where their column does, whatever is in them.
_TOUCHING: Final = """() => [...document.querySelectorAll("main svg[role=img]")].flatMap((svg) => {
    const texts = [...svg.querySelectorAll(":not(.names) > text")].map(
        (text) => [text.textContent, text.getBoundingClientRect()]);
    return texts.flatMap(([one, a], n) => texts.slice(n + 1).filter(([, b]) => a.left < b.right && b.left < a.right
        && a.top + 3 < b.bottom && b.top + 3 < a.bottom).map(([other]) => `${one} | ${other}`));
})"""
_CELLS, _ROUNDS = 4, 2


@pytest.fixture(scope="session")
def run(_network_namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix of four cells in two rounds."""
    return recorded(
        tmp_path_factory.mktemp("matrix"),
        name="two-by-two",
        lab={},
        sources={"addresses": "127.0.1.1"},
        targets=[{"address": "127.0.0.1:9000", "sink": True}],
        connections=200,
        repeat=_ROUNDS,
        matrix={"sources.strategy": ["late-range", "explicit"], "connections": [100, 200]},
    )


@pytest.fixture(scope="session")
def attacked(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same matrix with an attack in every string, and in the name of a setting."""
    summary = hostile(json.loads((run / "summary.json").read_text()))
    for cell in summary["cells"]:
        cell["settings"][ATTACK] = ATTACK
    file = tmp_path_factory.mktemp("attacked") / "report.html"
    file.write_text(matrix.page(files.convert(summary, MatrixSummary), ATTACK), encoding="utf-8")
    return file


def charts(page: Page) -> list[dict[str, Any]]:
    """Every chart of the page, each with marks and all of them in sight."""
    found: list[dict[str, Any]] = page.evaluate(_LOOK)
    for chart in found:
        assert chart["inside"] >= _CELLS, chart
        assert chart["outside"] == 0, chart
        assert min(chart["width"], chart["height"]) > 100, chart
    return found


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_every_chart_shows_every_run(tabs: Tabs, run: Path, width: int, scheme: str, media: str) -> None:
    page = tabs(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.emulate_media(media="print" if media == "print" else "screen")
    show(page, run / "report.html")
    by_figure = [chart for chart in charts(page) if "a dot per run" in chart["label"]]
    assert {"rate", "established", "connect p50"} <= {chart["label"].split(" of each")[0] for chart in by_figure}
    assert {chart["inside"] for chart in by_figure} == {_CELLS * _ROUNDS}
    assert page.evaluate(_TOUCHING) == []
    assert not scrolls_sideways(page)


def test_charts_are_drawn_in_the_colours_of_the_scheme(tabs: Tabs, run: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page = tabs(color_scheme=scheme)
        show(page, run / "report.html")
        colours.append(
            [
                page.evaluate("(mark) => getComputedStyle(document.querySelector(mark)).fill", mark)
                for mark in (".dots .run", ".dots .values", ".dots .tick")
            ]
        )
    light, dark = colours
    assert len(set(light)) == 3
    assert not set(light) & set(dark)


def test_there_is_a_link_to_each_round_of_each_cell(page: Page, run: Path) -> None:
    show(page, run / "report.html")
    places = page.evaluate("() => [...document.querySelectorAll('main a')].map((link) => link.getAttribute('href'))")
    wanted = {f"cells/{cell}{again}/report.html" for cell in range(_CELLS) for again in ("", "-2")}
    assert set(places) == wanted
    assert all((run / place).is_file() for place in wanted)
    page.get_by_role("link", name="cell 2, round 2").click()
    page.wait_for_url("**/cells/2-2/report.html")
    assert page.locator("figure.chart:visible").count() > 0


@pytest.mark.parametrize("width", [400, 1280])
def test_names_that_attack_stay_text(tabs: Tabs, attacked: Path, width: int) -> None:
    page = tabs(viewport={"width": width, "height": 900})
    show(page, attacked)
    assert charts(page)
    assert page.evaluate("() => window.__pwned") is None
    assert page.locator("img, script").count() == 0
    seen = page.locator("body").inner_text()
    assert "late-range" + ATTACK_SEEN in seen
    assert not set("\u202e\u2066\x1b\x07") & set(page.content()), "nothing turns the text around or drives a terminal"
    assert page.evaluate(_TOUCHING) == []
    assert not scrolls_sideways(page)
