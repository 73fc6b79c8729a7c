"""What the tests in a browser share: Debian's chromium, tabs that tell on their page, and runs to look at.

A page is there to be read offline. So a tab takes note of every request, every warning of the console and every error
of a script, and fails its test at the end if there was any. The browser has no way out either: it resolves no name.

Playwright's calls run an event loop of their own in this very thread for as long as the browser is open. So no test
here is a coroutine, and the browser is closed before the tests of another folder begin.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, sync_playwright

from tests.hostile import attacked

CHECKOUT: Final = Path(__file__).resolve().parents[2]
#: In the place of every name and word that somebody else chooses: a way out of a script and of an attribute, an element
#: that runs code, a character that turns the text around (U+202E), and two commands to a terminal.
ATTACK: Final = "</script><img src=x onerror='window.__pwned = 1'>\"'&\u202e\u2066\x1b[2J\x1b]0;title\x07"
#: What of it is to be read on the page.
ATTACK_SEEN: Final = "</script><img src=x onerror='window.__pwned = 1'>"
#: No run or page here takes a tenth of it, unless it hangs.
PATIENCE_S: Final = 60.0
_POLL_MS: Final = 20


@pytest.fixture(scope="package")
def browser(_chromium: None) -> Iterator[Browser]:
    """Chromium as Debian packages it."""
    chromium = shutil.which("chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@dataclass
class Observed:
    """What a page did that a page should not do, in the order it happened.

    requests: those that are neither the document itself nor allowed. complaints: of the console, and errors of scripts.
    """

    allows: Callable[[str], bool]
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Take note from now on."""
        page.on("request", self._requested)
        page.on("console", self._said)
        page.on("pageerror", self._failed)

    def _requested(self, request: Request) -> None:
        document = request.is_navigation_request() and request.frame.parent_frame is None
        if not document and not self.allows(request.url):
            self.requests.append(f"{request.method} {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _failed(self, error: Error) -> None:
        self.complaints.append(f"uncaught: {error.message}")


class Tabs:
    """Opens tabs, each in a profile of its own, and knows what their pages did."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._observed: list[Observed] = []

    def __call__(self, *, allows: Callable[[str], bool] = lambda _: False, **options: Any) -> Page:
        """A new tab.

        allows: which URLs the page may request besides its document; none unless said.
        options: of Browser.new_context, such as color_scheme, viewport and java_script_enabled.
        """
        context = self._browser.new_context(**options)
        context.set_default_timeout(1000 * PATIENCE_S)
        observed = Observed(allows)
        self._contexts.append(context)
        self._observed.append(observed)
        page = context.new_page()
        observed.watch(page)
        return page

    def close(self) -> None:
        """Close them all, and fail the test when a page requested something or complained."""
        for context in self._contexts:
            context.close()
        for observed in self._observed:
            assert observed.requests == [], "the page asked for more than itself"
            assert observed.complaints == []


@pytest.fixture
def tabs(browser: Browser) -> Iterator[Tabs]:
    """For tests that need a tab of a certain kind, or several."""
    tabs = Tabs(browser)
    yield tabs
    tabs.close()


@pytest.fixture
def page(tabs: Tabs) -> Page:
    """A tab as most people have it: light, 1,280 pixels wide."""
    return tabs(viewport={"width": 1280, "height": 900}, color_scheme="light")


def show(page: Page, file: Path) -> None:
    """Open a file in a tab, and wait until it is drawn once."""
    page.goto(file.as_uri())
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def wait_until(page: Page, look: Callable[[], object], what: str) -> None:
    """Let the page go on until `look` says yes; fails the test when that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        if time.monotonic() > deadline:
            pytest.fail(f"no {what} within {PATIENCE_S:g} s")
        page.wait_for_timeout(_POLL_MS)


def scrolls_sideways(page: Page) -> bool:
    """Whether the page is wider than its window."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth"))


def hostile(value: Any) -> Any:
    """The same JSON with the attack behind every text that is free to choose, and no name of a key changed."""
    return attacked(value, ATTACK)


def loadgen(home: Path, *arguments: str | Path) -> None:
    """Run the command line to its end, at home in a directory, where results/ is made."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "loadgen", *map(str, arguments)],
        cwd=home,
        env={**kept, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


def recorded(home: Path, **keys: Any) -> Path:
    """The run directory of a scenario with these keys, really run in a lab of its own."""
    scenario = home / "scenario.yaml"
    scenario.write_text(json.dumps({"interval": "50ms", **keys}, indent=2))
    loadgen(home, "run", scenario, "--force", "--quiet")
    (run,) = (home / "results").iterdir()
    return run


#: 256 ports for 400 connections, which --force permits: some fail, so there are errors to be drawn.
_FULL: Final[dict[str, Any]] = {
    "name": "full",
    "lab": {"sysctls": {"net.ipv4.ip_local_port_range": "40000 40255"}},
    "sources": {"addresses": "127.0.1.1"},
    "targets": [{"address": "127.0.0.1:9000", "sink": True}],
    "connections": 400,
    "arrival": {"rate": "800/s"},
    "protocol": {"name": "echo"},
    "hold": "300ms",
}
#: A cable between two namespaces, where TIME-WAIT is seen on either side.
_CHURN: Final[dict[str, Any]] = {
    "name": "churn",
    "lab": {
        "topology": "veth",
        "sysctls": {"net.ipv4.ip_local_port_range": "40000 40299", "net.ipv4.tcp_tw_reuse": 0},
    },
    "sources": {"addresses": "198.18.0.1"},
    "targets": [{"address": "198.19.0.1:9000", "sink": True}],
    "churn": {"duration": "1s", "concurrency": 8},
}


@pytest.fixture(scope="session")
def runs(_network_namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run directories by name: `full`, of which a third failed, and `churn`."""
    kinds = (_FULL, _CHURN)
    return {keys["name"]: recorded(tmp_path_factory.mktemp(keys["name"]), **keys) for keys in kinds}
