"""The pictures in docs/images, taken anew from runs made for them: `make screenshots`, two minutes.

Debian's chromium looks at report, matrix report and dashboard; the live view is recorded from a pseudo terminal.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import film
from tests.terminals import PseudoTerminal

CHECKOUT: Final = Path(__file__).resolve().parents[2]
IMAGES: Final = CHECKOUT / "docs" / "images"
SCENARIOS: Final = CHECKOUT / "scenarios"
PATIENCE_S: Final = 90.0
#: Of the terminal that the live view is recorded on.
COLUMNS: Final = 88
LINES: Final = 25
VERDICT: Final = "100,000 of 100,000 connections opened"
#: The picture of the live view in words.
DESCRIPTION: Final = (
    "The table of loadgen run while it opens 100,000 connections and holds them for four seconds: a bar with the share "
    "that is done, open and failed connections, their rate, latencies, sockets in TIME-WAIT, processors in use, and "
    "how full each source address is. At the end the summary takes its place: 100,000 of 100,000 connections opened, "
    "no limit was met."
)


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
        browser.close()
        live_view(home / "live")


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


def live_view(home: Path) -> None:
    """A run from its command to its verdict, as a terminal shows it. Raises: CalledProcessError if it was not fine."""
    shutil.copytree(SCENARIOS, home / "scenarios")
    said = "loadgen run scenarios/past-64k.yaml --set hold=4s --set interval=250ms"
    program = shlex.join([sys.executable, "-m", "loadgen"])
    terminal = PseudoTerminal(
        ["sh", "-c", f"echo {shlex.quote('$ ' + said)}; exec {program}{said.removeprefix('loadgen')}"],
        cwd=home,
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(CHECKOUT),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        },
        width=COLUMNS,
        height=LINES,
    )
    frames = film.record(terminal)
    code = terminal.end()
    if code:
        raise subprocess.CalledProcessError(code, said, terminal.text)
    if VERDICT not in str(frames[-1].rows):
        sys.exit(f"the run that is recorded should end with {VERDICT!r}, and this machine was too busy: try again")
    opening = [number for number, frame in enumerate(frames) if "opening" in str(frame.rows[1])]
    still = opening[len(opening) * 2 // 3]
    title = "loadgen run on a terminal"
    (IMAGES / "live.svg").write_text(
        film.svg(frames, columns=COLUMNS, lines=LINES, still=still, title=title, description=DESCRIPTION)
    )


if __name__ == "__main__":
    began_s = time.monotonic()
    main()
    print(f"took {time.monotonic() - began_s:.0f} s")
