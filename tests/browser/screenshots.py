"""The pictures in docs/images, taken anew from runs made for them: `make screenshots`, two minutes.

Debian's chromium looks at report, matrix report and dashboard; the terminal is drawn by rich, which draws it on a
terminal too.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from loadgen.model import Phase
from loadgen.results import run_directory
from loadgen.views import live

CHECKOUT: Final = Path(__file__).resolve().parents[2]
IMAGES: Final = CHECKOUT / "docs" / "images"
SCENARIOS: Final = CHECKOUT / "scenarios"
PATIENCE_S: Final = 90.0


def main() -> None:
    """Take them all. Raises: CalledProcessError when a run was not fine."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("screenshots need Debian's package chromium")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        home = Path(place)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        matrix = recorded(home / "matrix", "parity-cliff.yaml")
        take(browser, (matrix / "report.html").as_uri(), "matrix-report.png", 1500)
        run = dashboard(browser, home / "run", "past-64k.yaml", "--set", "hold=20s")
        take(browser, (run / "report.html").as_uri(), "report.png", 1900)
        take(browser, (run / "report.html").as_uri(), "report-dark.png", 1900, color_scheme="dark")
        terminal(run)
        browser.close()


def recorded(results: Path, scenario: str, *arguments: str) -> Path:
    """The directory of a run that was made now."""
    command = [sys.executable, "-m", "loadgen", "run", str(SCENARIOS / scenario), "--out", str(results), "--quiet"]
    subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S)
    (run,) = results.iterdir()
    return run


def dashboard(browser: Browser, results: Path, scenario: str, *arguments: str) -> Path:
    """A run whose dashboard is taken while it holds its connections; its directory."""
    command = [sys.executable, "-m", "loadgen", "run", str(SCENARIOS / scenario), "--out", str(results), "--dashboard"]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        url = next(found[1] for line in process.stderr if (found := re.search(r"dashboard at (\S+/)$", line)))
        page = opened(browser, 1500)
        page.goto(url)
        page.wait_for_function("() => document.getElementById('phase').textContent === 'holding'")
        page.wait_for_timeout(6000)
        page.screenshot(path=IMAGES / "dashboard.png")
        page.close()
        process.stderr.read()
        assert process.wait(PATIENCE_S) == 0
    (run,) = results.iterdir()
    return run


def take(browser: Browser, url: str, name: str, height: int, **options: str) -> None:
    """The top of a page."""
    page = opened(browser, height, **options)
    page.goto(url)
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / name)
    page.close()


def opened(browser: Browser, height: int, **options: str) -> Page:
    """A tab as wide as the page wants to be."""
    return browser.new_page(viewport={"width": 1180, "height": height}, **options)  # type: ignore[arg-type]


def terminal(run: Path) -> None:
    """A frame of when two thirds of the time to open them all had gone by."""
    recorded_run = run_directory.read(run)
    opening = [line for line in recorded_run.series if line.phase is Phase.RAMP]
    console = Console(
        file=io.StringIO(), record=True, width=88, height=24, force_terminal=True, color_system="truecolor", _environ={}
    )
    live.draw(console, recorded_run.plan, opening[: len(opening) * 2 // 3])
    # rich would have the picture load its font from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\n", "", console.export_svg(title="loadgen run"), flags=re.DOTALL)
    (IMAGES / "terminal.svg").write_text(svg)


if __name__ == "__main__":
    began_s = time.monotonic()
    main()
    print(f"took {time.monotonic() - began_s:.0f} s")
