"""`loadgen run --dashboard`: its options, and the dashboard beside the view on the terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from loadgen.cli import options
from loadgen.cli.streams import complain
from loadgen.errors import UsageError

if TYPE_CHECKING:
    from loadgen.views.dashboard.dashboard import Dashboard
    from loadgen.views.live.view import RunObserver

given: Final = options.all_of(
    click.option(
        "--dashboard",
        "dashboard_at",
        metavar="[ADDR:PORT]",
        is_flag=False,
        flag_value="127.0.0.1:0",
        help="Serve a live page and Prometheus metrics during the run (default: on a free port of 127.0.0.1).",
    ),
    click.option(
        "--dashboard-public",
        is_flag=True,
        help="Permit --dashboard to listen on an address that other machines can reach, unencrypted.",
    ),
)


def made(address: str | None, results: Path, *, public: bool) -> Dashboard | None:
    """Return the dashboard for --dashboard ADDR:PORT, not serving yet; None without. Raises: UsageError."""
    if address is None:
        if public:
            raise UsageError("--dashboard-public says where --dashboard may listen; add --dashboard ADDR:PORT")
        return None
    from loadgen.views.dashboard.address import DASHBOARD, is_loopback, listen_at
    from loadgen.views.dashboard.dashboard import Dashboard

    at = listen_at(address, public=public)
    if not is_loopback(at.address):
        complain(f"--dashboard-public: the token in the URL travels unencrypted, {DASHBOARD.exposes}")
    return Dashboard(at, results=results, trouble=complain)


@contextmanager
def beside(view: AbstractContextManager[RunObserver], dashboard: Dashboard | None) -> Iterator[RunObserver]:
    """Open the view of one run; if there is a dashboard, it shows the same."""
    with view as shown:
        if dashboard is None:
            yield shown
            return
        from loadgen.views.live.view import Beside

        dashboard.begin()
        yield Beside(shown, dashboard)


@asynccontextmanager
async def serving(
    dashboard: Dashboard | None, interrupt: Callable[[], None], announce: Callable[[str], None]
) -> AsyncIterator[Callable[[], None]]:
    """Announce the dashboard, if there is one, and serve it. Yields: the function that interrupts the run."""
    if dashboard is None:
        yield interrupt
        return
    async with dashboard.serving(interrupt) as interrupt_shown:
        announce(f"dashboard at {dashboard.url}")
        yield interrupt_shown
