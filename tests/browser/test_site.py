"""The documentation site, built strictly and opened as files: pages, search and schemes work without any network."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import MKDOCS_PYTHON
from website import check, collect

from .conftest import CHECKOUT, PATIENCE_S, Tabs, scrolls_sideways, show

#: Pages with wide tables, long lines, pictures, a page made from the code, and a source file.
_PAGES: Final = ("index", "facts", "scenario", "reference/commands/run", "reference/limits", "scenarios/past-64k.yaml")
_NARROW: Final = {"width": 400, "height": 800}


def build(home: Path, **keys: object) -> subprocess.CompletedProcess[str]:
    """Run mkdocs strictly on the sources in home/docs, with the configuration of the site but for some keys."""
    paths = {"INHERIT": str(CHECKOUT / "mkdocs.yml"), "docs_dir": "docs", "site_dir": "site"}
    (home / "mkdocs.yml").write_text(json.dumps({**paths, **keys}))
    return subprocess.run(
        [str(MKDOCS_PYTHON), "-m", "mkdocs", "build", "--strict", "--config-file", str(home / "mkdocs.yml")],
        cwd=CHECKOUT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=2 * PATIENCE_S,
    )


@pytest.fixture(scope="session")
def site(_mkdocs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, in a directory of its own, once for all processes of the tests."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    home = shared / "documentation"
    with (shared / "documentation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "built").exists():
            collect.write(collect.sources(CHECKOUT), home / "docs")
            done = build(home, hooks=[str(CHECKOUT / "website" / "hooks.py")])
            assert done.returncode == 0, done.stdout + done.stderr
            (home / "built").touch()
    return home / "site"


@pytest.fixture
def opened(site: Path, tabs: Tabs) -> Callable[..., Page]:
    """Opens a page of the site in a tab that may load what belongs to the site, and nothing else."""

    def opened(name: str, **options: object) -> Page:
        page = tabs(allows=lambda url: url.startswith((f"{site.as_uri()}/", "blob:file:", "data:")), **options)
        show(page, site / f"{name}.html")
        return page

    return opened


def test_pages_are_the_same_as_on_a_code_host_and_load_nothing_from_elsewhere(site: Path) -> None:
    assert check.mistakes(site.parent / "docs", site) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_a_word_is_found_without_a_server(opened: Callable[..., Page], width: int) -> None:
    page = opened("index", viewport={"width": width, "height": 900})
    page.keyboard.press("/")
    box = page.get_by_role("textbox", name="Search")
    box.fill("nat-random-fully")  # at once: lunr warns of a query that ends with a hyphen
    box.press("End")  # the page looks when a key is released
    page.locator(".md-search-result__link", has_text="scenarios/nat-random-fully.yaml").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("scenarios/nat-random-fully.yaml")
    assert page.url.partition("?")[0].partition("#")[0].endswith("/scenarios/nat-random-fully.yaml.html")


@pytest.mark.parametrize(
    ("name", "section", "entry"),
    [
        ("reference/commands/run", "Commands", "loadgen churn"),
        ("decisions/0012-the-tree", "Decisions", "1. One port at a time for late-range"),
        ("strategies", "Decisions", "TIME-WAIT and churn"),
    ],
)
def test_the_navigation_has_the_pages_of_a_folder(
    opened: Callable[..., Page], name: str, section: str, entry: str
) -> None:
    page = opened(name, viewport={"width": 1280, "height": 900})
    navigation = page.locator(".md-sidebar--primary")
    expect(navigation.get_by_role("link", name=section, exact=True)).to_be_visible()
    expect(navigation.get_by_role("link", name=entry)).to_be_visible()


def test_a_link_leads_to_a_page_and_its_heading(opened: Callable[..., Page]) -> None:
    page = opened("index", viewport={"width": 1280, "height": 900})
    page.get_by_role("link", name="late-range").first.click()
    expect(page.locator("#late-range")).to_be_in_viewport()
    assert page.url.endswith("/strategies.html#late-range")


@pytest.mark.parametrize("name", _PAGES)
def test_a_page_fits_a_narrow_window(opened: Callable[..., Page], name: str) -> None:
    """Tables and lines of code scroll by themselves."""
    page = opened(name, viewport=_NARROW)
    assert page.get_by_role("heading", level=1).is_visible()
    assert not scrolls_sideways(page)


@pytest.mark.parametrize(("scheme", "name"), [("light", "default"), ("dark", "slate")])
def test_colours_follow_the_system(opened: Callable[..., Page], scheme: str, name: str) -> None:
    page = opened("index", color_scheme=scheme)
    assert page.locator("body").get_attribute("data-md-color-scheme") == name


def test_pictures_are_there(opened: Callable[..., Page]) -> None:
    page = opened("index")
    sizes = page.evaluate("() => [...document.querySelectorAll('article img')].map((one) => one.naturalWidth)")
    assert len(sizes) >= 4
    assert min(sizes) > 0


def test_programs_find_the_markdown_of_each_page(site: Path) -> None:
    """As llms.txt says."""
    listed = [line.partition("](")[2].partition(")")[0] for line in (site / "llms.txt").read_text().splitlines()]
    pages = [page for page in listed if page.endswith(".md")]
    assert len(pages) > 40
    assert [page for page in pages if not (site / page).is_file()] == []


@pytest.mark.usefixtures("_mkdocs")
def test_a_mistake_ends_the_build(tmp_path: Path) -> None:
    """So that the strictness that all of this relies on is there: of headings in links, and of the navigation."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[a](b.md#nowhere)\n")
    (tmp_path / "docs" / "b.md").write_text("# B\n")
    done = build(tmp_path, hooks=[], nav=[{"A": "index.md"}], not_in_nav="")
    assert done.returncode == 1
    assert "does not contain an anchor '#nowhere'" in done.stderr
    assert 'not included in the "nav"' in done.stderr
