"""The colours of report.css, which all pages share: told apart by everybody, and seen on the paper they stand on.

Lines of one chart differ in their dashes too, for who sees no colours at all.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any, Final

import numpy as np
import pytest

from loadgen.views.charts import columns, compare, matrix, run
from loadgen.views.html import run as html
from tests import samples
from tests.colours import SIGHTS, contrast, difference, lab

TONES: Final = ("blue", "orange", "green", "purple", "red", "grey")
HEAT: Final = tuple(f"heat-{n}" for n in range(7))
#: CIEDE2000. 1 is just to be seen side by side; lines are thin and lie apart. The best known palette for the
#: colour-blind, of eight colours that need not show on white paper, comes to 10.9 (Okabe and Ito, 2008).
APART_MIN: Final = 15.0
#: WCAG 2.2: 1.4.11 for what is drawn, 1.4.3 for text.
DRAWN_MIN, TEXT_MIN = 3.0, 4.5


def palettes() -> dict[str, dict[str, str]]:
    """The colours by name, of light and of dark paper."""
    style = html.read("report.css")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root[^{]*\{[^}]*#[^}]*\}", style)
    )
    return {"light": light, "dark": dark}


PALETTES: Final = palettes()


def test_difference_is_that_of_the_published_examples() -> None:
    """Sharma, Wu, Dalal, table 1: pairs 1, 4, 10, 17, 20, 25."""
    for one, other, wanted in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (58, 24, 15), 19.4535),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ):
        assert difference(np.array(one), np.array(other)) == pytest.approx(wanted, abs=6e-5)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("mode", PALETTES)
@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_of_lines_differ_for_every_kind_of_eye(mode: str, sight: str) -> None:
    seen = {tone: lab(PALETTES[mode][tone], sight) for tone in TONES}
    for one, other in itertools.combinations(TONES, 2):
        assert difference(seen[one], seen[other]) >= APART_MIN, (one, other)


@pytest.mark.parametrize("mode", PALETTES)
def test_what_is_drawn_and_what_is_written_shows_on_its_paper(mode: str) -> None:
    colours = PALETTES[mode]
    for tone, paper in itertools.product(TONES, ("paper", "panel", "steady")):
        assert contrast(colours[tone], colours[paper]) >= DRAWN_MIN, (tone, paper)
    for paper in ("paper", "panel"):
        for ink in ("ink", "soft", "blue", "red", "green"):
            assert contrast(colours[ink], colours[paper]) >= TEXT_MIN, (ink, paper)
    for ink, paper in (
        ("green", "good-paper"),
        ("red", "bad-paper"),
        ("warn", "warn-paper"),
        ("ink", "bad-paper"),
        ("ink", "warn-paper"),
    ):
        assert contrast(colours[ink], colours[paper]) >= TEXT_MIN, (ink, paper)


@pytest.mark.parametrize("mode", PALETTES)
@pytest.mark.parametrize("sight", SIGHTS)
def test_more_is_always_deeper_or_always_brighter(mode: str, sight: str) -> None:
    """A scale of one hue is read by its lightness, which no colour blindness takes."""
    lightness = [float(lab(PALETTES[mode][stop], sight)[0]) for stop in HEAT]
    steps = [after - before for before, after in itertools.pairwise(lightness)]
    assert all(step < -3 for step in steps) if mode == "light" else all(step > 3 for step in steps)


def dashes() -> dict[tuple[str, bool], tuple[int, ...]]:
    """How charts.js draws each (tone, companion or not)."""
    found: dict[tuple[str, bool], tuple[int, ...]] = {}
    for name, dash in (("DASHES", False), ("COMPANIONS", True)):
        text = re.search(rf"const {name} = (\{{.*?\}});", html.read("charts.js"))
        assert text
        table: dict[str, list[int]] = json.loads(re.sub(r"(\w+):", r'"\1":', text[1]))
        found |= {(tone, dash): tuple(pattern) for tone, pattern in table.items()}
    return found


def test_each_colour_has_dashes_of_its_own() -> None:
    found = dashes()
    assert set(found) == set(itertools.product(TONES, (False, True)))
    assert len(set(found.values())) == len(found)


def charts() -> list[tuple[str, list[dict[str, Any]]]]:
    """The series of each chart of lines, of every recorded run and of as many sides and agents as are drawn."""
    found = []
    for name in ("churn", "hold", "http", "tls", "udp", "wall"):
        recorded = samples.run(name)
        drawn = run.everything(recorded.series, recorded.events, recorded.plan)["charts"]
        found += [(f"{name} {chart['id']}", chart["series"]) for chart in drawn if "series" in chart]
    sides = [compare.Drawn(f"side {n}", [samples.run("hold").series], 0) for n in range(len(compare.TONES))]
    found += [(f"compare {chart['id']}", chart["series"]) for chart in compare.everything(sides)]
    return [*found, ("eight agents", columns.distinct([f"agent {n}" for n in range(8)]))]


def test_no_two_lines_of_a_chart_look_the_same() -> None:
    found = charts()
    assert len(found) > 50
    for name, series in found:
        looks = [(one["tone"], bool(one.get("dash"))) for one in series]
        assert len(set(looks)) == len(looks), name
        assert {tone for tone, _ in looks} <= set(TONES), name


def test_lines_of_a_matrix_have_the_colours_of_all_others() -> None:
    style = html.read("matrix.css")
    assert re.findall(r"\.c\d \{ color: var\(--(\w+)\)", style) == list(TONES)
    assert len(re.findall(r"\.d\d \{ stroke-dasharray", style)) == matrix.DASHES - 1
