"""`--otlp URL` of the commands that make runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from loadgen.cli import options
from loadgen.cli.streams import complain

if TYPE_CHECKING:
    from loadgen.views.otlp.pusher import Pusher

given: Final = options.all_of(
    click.option(
        "--otlp",
        "otlp_at",
        metavar="URL",
        help="Push the metrics of the dashboard during the run to a receiver of OTLP over HTTP, as http://127.0.0.1:4318.",
    ),
)


def made(url: str | None) -> Pusher | None:
    """Return what pushes to --otlp URL, not pushing yet; None without.

    Raises: UsageError for a URL, or a variable of the environment, that cannot be used; HostError without the extra.
    """
    if url is None:
        return None
    from loadgen.views.otlp import target as targets

    target = targets.target(url, os.environ)
    targets.require()
    has_headers = targets.hide_headers(os.environ)
    from loadgen.views.otlp.pusher import Pusher
    from loadgen.views.otlp.sender import Sender

    if has_headers and target.in_clear:
        complain(f"--otlp: the headers of {targets.HEADERS[1]} travel unencrypted; use an https URL")
    return Pusher(Sender(target).send, target.url, target.interval_s)


def opened(pusher: Pusher | None) -> Callable[[Path], None]:
    """Return what `Options.opened` is to be."""
    return pusher.opened if pusher else lambda _: None
