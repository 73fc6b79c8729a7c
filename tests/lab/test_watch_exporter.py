"""The metrics against the kernel: a pair that is full is one at which connect() fails."""

from __future__ import annotations

import socket
import urllib.request
from contextlib import ExitStack
from errno import EADDRNOTAVAIL
from os import strerror

import pytest

from loadgen.model import Endpoint
from loadgen.views.dashboard.address import EXPORTER, listener_at
from loadgen.views.exporter.metrics import Watching, exposition
from loadgen.views.exporter.server import Exporter
from loadgen.watch.snapshot import Watcher

from .support import listen

HERE = "127.0.0.1"
pytestmark = pytest.mark.lab("40000 40009")


def test_a_pair_that_is_full_says_so_to_a_scrape(keep: ExitStack) -> None:
    at = Endpoint(HERE, 9435)
    target = keep.enter_context(listen(Endpoint(HERE, 9000)))
    exporter = keep.enter_context(Exporter(listener_at(at, EXPORTER), at))
    watcher, watching = keep.enter_context(Watcher()), Watching()
    for _ in range(10):
        keep.enter_context(socket.create_connection(target.getsockname()))
    with pytest.raises(OSError, match=strerror(EADDRNOTAVAIL)):
        socket.create_connection(target.getsockname())
    watching.update(watcher.snapshot(), took_s=0.1, pause_s=5.0, at_s=0.0)
    exporter.publish(exposition(watching))
    with urllib.request.urlopen(exporter.url) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    labels = f'{{destination="{HERE}:9000",source="{HERE}"}}'
    assert f"loadgen_watch_pair_used_ports{labels} 10.0\n" in text
    assert f"loadgen_watch_pair_exhausts_in_seconds{labels} 0.0\n" in text
    assert 'loadgen_watch_fullest_ratio{account="pairs"} 1.0\n' in text
