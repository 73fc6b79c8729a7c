"""Which requests a server on loopback answers; that it answers is tested in tests/e2e/test_watch_exporter.py."""

from __future__ import annotations

import pytest

from loadgen.views.exporter.server import names_this_host


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1:9435", True),
        ("127.0.0.1", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("[::1]:9435", True),
        ("attacker.example:9435", False),
        ("127.0.0.1.attacker.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_only_names_that_no_dns_server_can_give(host: str, *, answered: bool) -> None:
    assert names_this_host(host) is answered
