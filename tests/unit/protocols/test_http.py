"""Options of HTTP requests, and the right reply."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen import protocols
from loadgen.model import Endpoint, Traffic
from loadgen.protocols.http import Http, named


def test_http_is_an_exchange_with_each_target_unless_aiohttp_is_to_make_it() -> None:
    assert "http" in protocols.names()
    assert protocols.needs_stream("http")
    assert not protocols.needs_stream("echo")
    assert isinstance(protocols.make(Traffic("http")), protocols.PerTarget)
    assert protocols.own_connector(Traffic("http")) == protocols.own_connector(Traffic()) == ""
    by_aiohttp = Traffic("http", {"client": "aiohttp"})
    assert protocols.make(by_aiohttp) is None
    assert protocols.own_connector(by_aiohttp) == "loadgen.worker.aiohttp_client:connector_of"


@pytest.mark.parametrize(
    ("target", "host", "secured", "name"),
    [
        ("127.0.0.1:9000", "", False, "127.0.0.1:9000"),
        ("127.0.0.1:80", "", False, "127.0.0.1"),
        ("127.0.0.1:80", "", True, "127.0.0.1:80"),
        ("127.0.0.1:443", "site.example", True, "site.example"),
        ("127.0.0.1:443", "site.example", False, "site.example:443"),
        ("[fe80::1%lo]:9000", "", False, "[fe80::1]:9000"),
        ("[::1]:80", "", False, "[::1]"),
    ],
)
def test_a_target_is_named_by_host_or_address_without_the_default_port(
    target: str, host: str, secured: bool, name: str
) -> None:
    address, _, port = target.rpartition(":")
    assert named(Endpoint(address.strip("[]"), int(port)), host, secured=secured) == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": ""}, "method such as GET"),
        ({"method": "GET /"}, "method such as GET"),
        ({"method": "CONNECT"}, "method such as GET"),
        ({"path": "health"}, "begins with /"),
        ({"path": ""}, "begins with /"),
        ({"path": "/a b"}, "no space"),
        ({"path": "/a\r\nX: y"}, "no space"),
        ({"path": "/a#b"}, "no #"),
        ({"path": "/ä"}, "begins with /"),
        ({"headers": {"X y": "z"}}, "NAME: VALUE"),
        ({"headers": {"X": "y\r\nZ: z"}}, "NAME: VALUE"),
        ({"headers": {"": "y"}}, "NAME: VALUE"),
        ({"status": 100}, "200 to 599"),
        ({"status": (200, 600)}, "200 to 599"),
        ({"status": ()}, "200 to 599"),
        ({"max_body": -1}, "max_body"),
        ({"max_body": (1 << 30) + 1}, "max_body"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Http(**options)


def test_statuses_may_be_one_or_several_and_come_as_a_list() -> None:
    assert Http().statuses == (200,)
    assert Http(status=(200, 204)).statuses == (200, 204)
    assert Http(status=[200, 204]).statuses == (200, 204)  # type: ignore[arg-type]  # as a plan carries it


@pytest.mark.parametrize(
    ("http", "status", "body", "right"),
    [
        (Http(), 200, b"", True),
        (Http(), 204, b"", False),
        (Http(status=(200, 204)), 204, b"", True),
        (Http(expect="größer"), 200, "noch größer".encode(), True),
        (Http(expect="größer"), 200, b"hello", False),
        (Http(max_body=5), 200, b"hello", True),
        (Http(max_body=5), 200, b"hello!", False),
        (Http(max_body=0), 200, b"", True),
    ],
)
def test_the_right_reply(http: Http, status: int, body: bytes, right: bool) -> None:
    assert http.right(status, body) is right
    assert http.right(status, bytearray(body)) is right
