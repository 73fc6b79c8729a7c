"""What is handed out: a page with a place for everything, files that are there, reports that are in the list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from loadgen.model import Endpoint
from loadgen.views.charts import run
from loadgen.views.dashboard import pages
from loadgen.views.dashboard.access import Door
from tests import samples

DOOR = Door(Endpoint("127.0.0.1", 8080))
NAME = "20260131T120000Z-mine-1f3a"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One run with a report, a matrix with a cell, and what should never be served."""
    for place in (NAME, "20260131T130000Z-grid-aaaa", "20260131T130000Z-grid-aaaa/cells/0", "secret"):
        (tmp_path / "results" / place).mkdir(parents=True)
        (tmp_path / "results" / place / "report.html").write_text(f"report of {place}")
    (tmp_path / "report.html").write_text("outside")
    (tmp_path / "results" / "linked").symlink_to(tmp_path)
    forged = tmp_path / "results" / "forged"
    forged.mkdir()
    (forged / "report.html").symlink_to("/etc/passwd")
    return tmp_path / "results"


def test_the_page_has_a_place_for_every_chart_and_no_code_of_its_own(tmp_path: Path) -> None:
    page = pages.page(tmp_path / "<script>")
    assert re.findall(r'id="chart-([\w-]+)"', page) == [name for name, _ in run.SLOTS]
    assert "<script>" not in page
    assert "style=" not in page
    assert not re.search(r"\son\w+=", page)
    assert "http" not in page
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


def test_every_file_that_the_page_asks_for_is_there_and_every_id_that_the_script_asks_for(tmp_path: Path) -> None:
    page = pages.page(tmp_path)
    asked = re.findall(r'(?:src|href)="files/([^"]+)"', page)
    assert sorted(asked) == sorted(pages.FILES)
    for _, content in pages.FILES.values():
        assert content().strip()
    identifiers = set(re.findall(r'\bid="([^"]+)"', page))
    script = pages.read("dashboard.js")
    assert set(re.findall(r'\b(?:at|say)\("([\w-]*\w)"', script)) <= identifiers
    for name in re.findall(r'showRows\("([\w-]+)"', script):
        assert {name, f"{name}-rows"} <= identifiers
    for never in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", ".style"):
        assert never not in script


def test_reports_are_found_by_their_key(results: Path) -> None:
    found = pages.report(results, DOOR.address_of(NAME), None, DOOR.opens)
    assert found == results / NAME / "report.html"
    grid = DOOR.address_of("20260131T130000Z-grid-aaaa")
    cell = pages.report(results, grid, "0", DOOR.opens)
    assert cell == results / "20260131T130000Z-grid-aaaa" / "cells" / "0" / "report.html"


@pytest.mark.parametrize("key", ["", ".", "..", NAME, f"../{NAME}", "/etc", "\udcff", "0" * 32])
def test_no_other_key_finds_anything(results: Path, key: str) -> None:
    assert pages.report(results, key, None, DOOR.opens) is None


@pytest.mark.parametrize("cell", ["", ".", "..", "../..", "1", "0/..", "\0"])
def test_no_other_cell_is_found(results: Path, cell: str) -> None:
    assert pages.report(results, DOOR.address_of("20260131T130000Z-grid-aaaa"), cell, DOOR.opens) is None


@pytest.mark.parametrize("name", ["linked", "forged"])
def test_links_lead_nowhere(results: Path, name: str) -> None:
    assert pages.report(results, DOOR.address_of(name), None, DOOR.opens) is None


def test_the_list_has_what_lies_there_and_no_token(results: Path) -> None:
    samples.write(results / NAME, {"plan.json": {"name": "mine\u202e"}})
    rows = pages.runs(results, lambda name: f"/report/{DOOR.address_of(name)}/report.html")
    (mine,) = [row for row in rows if row["scenario"].startswith("mine")]
    assert mine["href"] == f"/report/{DOOR.address_of(NAME)}/report.html"
    assert mine["scenario"] == "mine\\u202e"
    assert DOOR.token not in json.dumps(rows)
    assert pages.runs(results / "not there", lambda _: "") == []
