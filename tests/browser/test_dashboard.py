"""The dashboard in a browser: charts that live, figures, the stop button, and nothing that comes from elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import structs
from playwright.sync_api import Browser, Page

from loadgen.errors import ExitCode
from loadgen.model import Endpoint, Phase, Plan
from loadgen.results import run_directory
from loadgen.results.schema.line import ErrorTally, Line
from loadgen.views.dashboard.dashboard import Dashboard
from tests import samples

from .conftest import ATTACK, ATTACK_SEEN, CHECKOUT, PATIENCE_S, Tabs, scrolls_sideways, wait_until
from .test_report import drawn

_STATE: Final = "() => document.getElementById('phase').textContent"
_FIGURES: Final = """() => Object.fromEntries([...document.querySelectorAll("#figures > div")].map(
    (figure) => [figure.id.slice(7), figure.querySelector(".value").textContent]))"""
#: 256 ports for 400 connections, so that there are errors, and a hold that the test ends.
_SCENARIO: Final[dict[str, Any]] = {
    "name": "live",
    "interval": "100ms",
    "lab": {"sysctls": {"net.ipv4.ip_local_port_range": "40000 40255"}},
    "sources": {"addresses": "127.0.1.1"},
    "targets": [{"address": "127.0.0.1:9000", "sink": True}],
    "connections": 400,
    "arrival": {"rate": "800/s"},
    "protocol": {"name": "echo"},
    "hold": "10m",
}


@dataclass(frozen=True, slots=True)
class Running:
    """loadgen under way, with its dashboard."""

    process: subprocess.Popen[bytes]
    url: str


@contextmanager
def running(home: Path, **changes: Any) -> Iterator[Running]:
    """Meanwhile a run with a dashboard goes on; what the test did not end is killed."""
    scenario, said = home / "scenario.yaml", home / "stderr"
    scenario.write_text(json.dumps(_SCENARIO | changes))
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "loadgen", "run", str(scenario), "--force", "--dashboard"]
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=home,
            env={**kept, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(r"dashboard at (\S+/)\n", said.read_text())):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.02)
        yield Running(process, found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)


class Stage:
    """A dashboard on an event loop of its own, in a thread: the test plays the run."""

    def __init__(self, results: Path) -> None:
        self.interrupts = 0
        self.trouble: list[str] = []
        self._ready = threading.Event()
        self._dashboard = Dashboard(Endpoint("127.0.0.1", 0), results=results, trouble=self.trouble.append)
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        self.url = self._dashboard.url

    def tell(self, what: Callable[[Dashboard], None]) -> None:
        """On the loop of the dashboard, as the orchestrator does."""
        self._loop.call_soon_threadsafe(what, self._dashboard)

    def close(self) -> None:
        """The process ends."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self.trouble == []

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._dashboard.serving(self._interrupt):
            self._ready.set()
            await self._over.wait()

    def _interrupt(self) -> None:
        self.interrupts += 1


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "results")
    yield stage
    stage.close()


def looking(tabs: Tabs, url: str, **options: Any) -> Page:
    """A tab that may ask this dashboard, and nobody else."""
    origin = "/".join(url.split("/")[:3]) + "/"
    page = tabs(allows=lambda asked: asked.startswith(origin), **options)
    page.goto(url)
    return page


def charts(page: Page) -> set[str]:
    """Those that are shown."""
    return {figure.chart for figure in drawn(page)}


def assert_no_chart_is_empty(page: Page) -> None:
    """Each has something coloured on a canvas of its own, as wide as there is room."""
    found = drawn(page)
    assert found
    for figure in found:
        assert figure.coloured >= 20, figure
        assert 0.9 * figure.room <= figure.width <= figure.room + 1, figure


def played(run: Path) -> tuple[Plan, tuple[Line, ...]]:
    """The plan of a run that is over, and its lines."""
    found = run_directory.read(run)
    return found.plan, found.series


@pytest.mark.usefixtures("_network_namespaces")
def test_a_run_is_followed_and_stopped(tabs: Tabs, tmp_path: Path) -> None:
    with running(tmp_path) as run:
        page = looking(tabs, run.url, viewport={"width": 1280, "height": 900})
        wait_until(page, lambda: page.evaluate(_STATE) == "holding", "hold")
        wait_until(page, lambda: {"connections", "rate", "errors", "percentiles"} <= charts(page), "charts of the ramp")
        assert_no_chart_is_empty(page)
        figures = page.evaluate(_FIGURES)
        assert figures["open"] == "256"
        assert figures["failed"] != "0"
        assert figures["occupancy"] == "100 %"
        assert page.locator("#errors-rows tr").count() == 1
        assert "EADDRNOTAVAIL" in page.locator("#errors-rows").inner_text()
        assert page.locator("#scenario").inner_text() == "live"
        page.focus("#stop")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Stop the run").click()
        wait_until(page, lambda: page.locator("#ending").is_visible(), "verdict")
        assert page.locator("#ending-code").inner_text() == "130"
        assert page.locator("#ending-report").inner_text().endswith("/report.html")
        assert page.evaluate(_STATE) == "over"
        assert run.process.wait(PATIENCE_S) == 130
        wait_until(page, lambda: "has ended" in page.locator("#link").inner_text(), "end of the stream")
        assert page.locator("#stop").is_disabled()
        assert_no_chart_is_empty(page)  # of what it showed last


def test_charts_of_churn_are_drawn_as_well(tabs: Tabs, stage: Stage, runs: dict[str, Path]) -> None:
    plan, lines = played(runs["churn"])
    page = looking(tabs, stage.url)
    for line in lines:
        stage.tell(lambda dashboard, line=line: dashboard.update(plan, line))  # type: ignore[misc]
    wait_until(page, lambda: {"time-wait", "time-wait-rate", "rate"} <= charts(page), "charts of churn")
    assert_no_chart_is_empty(page)


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_screen(tabs: Tabs, stage: Stage, runs: dict[str, Path], width: int, scheme: str) -> None:
    plan, lines = played(runs["full"])
    page = looking(tabs, stage.url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for line in lines:
        stage.tell(lambda dashboard, line=line: dashboard.update(plan, line))  # type: ignore[misc]
    wait_until(page, lambda: "errors" in charts(page) and page.evaluate(_STATE) == "done", "charts and the last line")
    assert_no_chart_is_empty(page)
    assert not scrolls_sideways(page)
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") != "rgb(253, 253, 252)"
    assert dark == (scheme == "dark")


def test_names_that_attack_stay_text(tabs: Tabs, stage: Stage, runs: dict[str, Path], tmp_path: Path) -> None:
    plan, lines = played(runs["full"])
    before = tmp_path / "results" / "20260131T120000Z-mine-1f3a"
    before.mkdir(parents=True)
    samples.write(before, {"plan.json": {"name": ATTACK}})
    (before / "report.html").write_text("<p>a report</p>")
    page = looking(tabs, stage.url)
    plan = replace(plan, name=ATTACK)
    attacked = structs.replace(lines[-1], errors=(ErrorTally(ATTACK, ATTACK, ATTACK, 9),), failed=9)
    stage.tell(lambda dashboard: dashboard.say(ATTACK))
    stage.tell(lambda dashboard: dashboard.begin())
    for line in (*lines[:-1], attacked):
        stage.tell(lambda dashboard, line=line: dashboard.update(plan, line))  # type: ignore[misc]
    stage.tell(lambda dashboard: dashboard.notice(ATTACK))
    stage.tell(
        lambda dashboard: dashboard.over(
            tmp_path / ATTACK.replace("/", "|"), samples.summary({"verdict.text": ATTACK}), ExitCode.FINE
        )
    )
    wait_until(page, lambda: page.locator("#ending").is_visible(), "verdict")
    wait_until(page, lambda: "errors" in charts(page), "chart of the errors")
    for place in ("scenario", "place", "ending-text", "errors-rows", "notices", "runs-rows"):
        assert ATTACK_SEEN in page.locator(f"#{place}").inner_text(), place
    assert page.evaluate("() => window.__pwned") is None
    assert page.locator("img").count() == 0
    assert "\u202e" not in page.content()
    assert "javascript:" not in page.content()


def test_two_browsers_see_the_same_and_press_once(tabs: Tabs, stage: Stage, runs: dict[str, Path]) -> None:
    plan, lines = played(runs["full"])
    first, second = looking(tabs, stage.url), looking(tabs, stage.url)
    opening = next(line for line in lines if line.phase is Phase.RAMP)
    stage.tell(lambda dashboard: dashboard.update(plan, opening))
    for page in (first, second):
        wait_until(page, lambda page=page: page.evaluate(_STATE) == "opening", "phase")  # type: ignore[misc]
    assert first.evaluate(_FIGURES) == second.evaluate(_FIGURES)
    for page in (first, second):
        page.click("#stop")
    first.click("#asked-yes")
    for page in (first, second):
        wait_until(page, lambda page=page: page.inner_text("#stop") == "Stop at once", "second step")  # type: ignore[misc]
    assert stage.interrupts == 1
    assert not second.locator("dialog").is_visible(), "what was asked there is answered"
    second.click("#stop")
    second.click("#asked-yes")
    for page in (first, second):
        wait_until(page, lambda page=page: page.locator("#stop").is_disabled(), "end of pressing")  # type: ignore[misc]
    assert stage.interrupts == 2


def test_a_report_opens_from_the_list_and_reaches_nobody(
    tabs: Tabs, stage: Stage, runs: dict[str, Path], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / runs["full"].name).symlink_to(runs["full"], target_is_directory=True)
    copied = results / "20260131T120000Z-mine-1f3a"
    copied.mkdir()
    for file in runs["full"].iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    page = looking(tabs, stage.url)
    wait_until(page, lambda: page.locator("#runs-rows a").count() == 1, "one report, without the one behind a link")
    page.click("#runs-rows a")
    page.wait_for_load_state()
    wait_until(page, lambda: charts(page), "charts of the report")
    assert_no_chart_is_empty(page)
    assert stage.url.split("/")[3] not in page.url
    assert page.evaluate("() => window.origin") == "null"


def test_a_forged_report_can_press_nothing(browser: Browser, stage: Stage, tmp_path: Path) -> None:
    """Not even where it knows the token, which it does not."""
    forged = tmp_path / "results" / "20260131T120000Z-mine-1f3a"
    forged.mkdir(parents=True)
    (forged / "plan.json").write_text("{}")
    script = f"fetch({stage.url + 'stop?step=drain'!r}, {{method: 'POST', mode: 'no-cors'}})"
    script += ".then(() => 'sent', () => 'refused').then((said) => { document.title = said; })"
    (forged / "report.html").write_text(f"<title>forged</title><script>{script}</script>")
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(stage.url)
        wait_until(page, lambda: page.locator("#runs-rows a").count() == 1, "forged report in the list")
        page.click("#runs-rows a")
        wait_until(page, lambda: page.title() in ("sent", "refused"), "answer")
        assert page.title() == "refused"
        assert stage.interrupts == 0
    finally:
        context.close()


def test_without_scripts_it_says_so(tabs: Tabs, stage: Stage) -> None:
    page = looking(tabs, stage.url, java_script_enabled=False)
    assert "needs JavaScript" in page.inner_text("main")


def test_when_the_process_is_gone_the_page_says_so_and_stays(tabs: Tabs, stage: Stage, runs: dict[str, Path]) -> None:
    plan, lines = played(runs["full"])
    page = looking(tabs, stage.url)
    for line in lines:
        stage.tell(lambda dashboard, line=line: dashboard.update(plan, line))  # type: ignore[misc]
    wait_until(page, lambda: "errors" in charts(page), "charts")
    stage.close()
    wait_until(page, lambda: "has ended" in page.inner_text("#link"), "end of the stream")
    assert page.evaluate(_FIGURES)["established"] == "256"
    assert_no_chart_is_empty(page)
