"""Who is let in: the rules alone; the same through HTTP is in tests/lab/test_dashboard.py."""

from __future__ import annotations

import pytest

from loadgen.model import Endpoint
from loadgen.views.dashboard.access import HEADERS, REPORT_POLICY, Door

LOOPBACK = Door(Endpoint("127.0.0.1", 8080))
EVERYWHERE = Door(Endpoint("0.0.0.0", 8080))
SIX = Door(Endpoint("::1", 8080))


@pytest.mark.parametrize(
    ("door", "host"),
    [
        (LOOPBACK, "127.0.0.1:8080"),
        (LOOPBACK, "localhost:8080"),
        (LOOPBACK, "LOCALHOST:8080"),
        (SIX, "[::1]:8080"),
        (SIX, "localhost:8080"),
        (EVERYWHERE, "192.0.2.7:8080"),
        (EVERYWHERE, "localhost:8080"),
        (Door(Endpoint("192.0.2.7", 8080)), "192.0.2.7:8080"),
    ],
)
def test_a_host_that_is_ours(door: Door, host: str) -> None:
    assert door.knows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.2:8080",
        "localhost",
        "localhost:08080",
        "localhost:8081",
        "localhost.:8080",
        "evil.example:8080",
        "127.0.0.1.evil.example:8080",
        "[::1]:8080",
        "::1:8080",
        "127.0.0.1:8080:8080",
        "127.0.0.1:٨٠٨٠",
    ],
)
def test_a_host_that_is_not(host: str) -> None:
    assert not LOOPBACK.knows_host(host)


@pytest.mark.parametrize("host", ["evil.example:8080", "lab-7:8080", "0.0.0.0:9"])
def test_who_listens_everywhere_still_knows_no_names(host: str) -> None:
    assert not EVERYWHERE.knows_host(host)


def test_a_door_of_one_address_does_not_know_localhost() -> None:
    assert not Door(Endpoint("192.0.2.7", 8080)).knows_host("localhost:8080")


def test_each_door_has_a_token_of_its_own_and_tells_it_in_its_url_alone() -> None:
    assert len(LOOPBACK.token) >= 32
    assert LOOPBACK.token != EVERYWHERE.token
    assert LOOPBACK.url == f"http://127.0.0.1:8080/{LOOPBACK.token}/"
    assert SIX.url.startswith("http://[::1]:8080/")
    assert LOOPBACK.token not in repr(LOOPBACK)


def test_tokens_and_bearers() -> None:
    assert LOOPBACK.knows_token(LOOPBACK.token)
    assert not LOOPBACK.knows_token(LOOPBACK.token[:-1])
    assert not LOOPBACK.knows_token("")
    assert not LOOPBACK.knows_token("€" * 32)
    assert LOOPBACK.knows_bearer(f"Bearer {LOOPBACK.token}")
    assert LOOPBACK.knows_bearer(f"bearer  {LOOPBACK.token} ")
    assert not LOOPBACK.knows_bearer(f"Basic {LOOPBACK.token}")
    assert not LOOPBACK.knows_bearer(LOOPBACK.token)
    assert not LOOPBACK.knows_bearer("")
    assert not LOOPBACK.knows_bearer(b"Bearer \xff\xc3\xa9".decode("utf-8", "surrogateescape")), "as aiohttp reads it"


def test_an_origin_is_that_of_the_host_that_was_asked_for() -> None:
    assert LOOPBACK.knows_origin(None, "localhost:8080")
    assert LOOPBACK.knows_origin("http://localhost:8080", "localhost:8080")
    for foreign in ("null", "http://evil.example", "https://localhost:8080", "http://localhost:8081", ""):
        assert not LOOPBACK.knows_origin(foreign, "localhost:8080")


def test_a_report_has_an_address_that_tells_no_token() -> None:
    address = LOOPBACK.address_of("20260131T120000Z-mine-1f3a")
    assert address == LOOPBACK.address_of("20260131T120000Z-mine-1f3a")
    assert address != LOOPBACK.address_of("20260131T120000Z-mine-1f3b")
    assert address != EVERYWHERE.address_of("20260131T120000Z-mine-1f3a")
    assert LOOPBACK.token not in address
    assert LOOPBACK.address_of("not UTF-8: \udcff")


def test_no_policy_lets_anything_in_from_elsewhere() -> None:
    for policy in (HEADERS["Content-Security-Policy"], REPORT_POLICY):
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "*" not in policy
        assert "http" not in policy
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert "connect-src" not in REPORT_POLICY
    assert "allow-same-origin" not in REPORT_POLICY
