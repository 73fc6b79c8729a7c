"""Addresses with ports in all styles, and the reasons why a text is none."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats import endpoints
from loadgen.explain.formats.endpoints import ANY_FAMILY, ENDPOINT, Endpoints, Numbers


def read(text: str) -> tuple[int, str, int]:
    (record,) = np.frombuffer(Endpoints()[text], ENDPOINT)
    family = int(record["family"])
    data = record["address"].tobytes()
    if family == ANY_FAMILY:
        assert data == bytes(16)
        return family, "*", int(record["port"])
    return family, socket.inet_ntop(family, data[: 4 if family == socket.AF_INET else 16]), int(record["port"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:80", (socket.AF_INET, "10.0.0.1", 80)),
        ("0.0.0.0:*", (socket.AF_INET, "0.0.0.0", 0)),
        ("127.0.0.53%lo:53", (socket.AF_INET, "127.0.0.53", 53)),
        ("[::1]:443", (socket.AF_INET6, "::1", 443)),
        ("::1:443", (socket.AF_INET6, "::1", 443)),
        (":::*", (socket.AF_INET6, "::", 0)),
        ("[::ffff:1.2.3.4]:5", (socket.AF_INET6, "::ffff:1.2.3.4", 5)),
        ("::ffff:1.2.3.4:5", (socket.AF_INET6, "::ffff:1.2.3.4", 5)),
        ("[fe80::1]%eth0:546", (socket.AF_INET6, "fe80::1", 546)),
        ("[fe80::1%eth0]:546", (socket.AF_INET6, "fe80::1", 546)),
        ("fe80::1%eth0:546", (socket.AF_INET6, "fe80::1", 546)),
        ("*:22", (ANY_FAMILY, "*", 22)),
        ("*:*", (ANY_FAMILY, "*", 0)),
        ("10.0.0.1:https", (socket.AF_INET, "10.0.0.1", 443)),
        ("10.0.0.1:65535", (socket.AF_INET, "10.0.0.1", 65535)),
    ],
)
def test_endpoints(text: str, expected: tuple[int, str, int]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("web1.example:80", endpoints.NAMES),
        ("localhost:https", endpoints.NAMES),
        ("ec2-54-1-2-3.compute-:80", endpoints.NAMES),
        ("10.0.0.1:http-alt", endpoints.PORT_NAMES),
        ("*:filenet-tms", endpoints.PORT_NAMES),
        ("10.0.0.1:", endpoints.CUT),
        ("10.0.0.1", endpoints.CUT),
        ("10.0.0:80", endpoints.CUT),
        ("10.0.0.1:65536", endpoints.CUT),
        ("2001:db8:85a3:8d3::8443", endpoints.CUT),
        ("10.0.0.1:-1", endpoints.CUT),
        (":80", endpoints.CUT),
        ("", endpoints.CUT),
        ("1.2.3.4:\u0661", endpoints.CUT),
        ("\ud800:1", endpoints.CUT),
    ],
)
def test_what_is_no_endpoint_has_a_reason(text: str, why: str) -> None:
    assert (Endpoints()[text], endpoints.why_not("10.0.0.1:80", text)) == (b"", why)


def test_the_style_is_noticed() -> None:
    known = Endpoints()
    assert known["10.0.0.1:80"]
    assert known["*:80"]
    assert (known.bracketed, known.unbracketed) == (False, False)
    assert known["::1:80"]
    assert (known.bracketed, known.unbracketed) == (False, True)
    assert known["[::1]:80"]
    assert known.bracketed


def test_no_more_than_a_maximum_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_KNOWN_MAX", 10)
    known, numbers = Endpoints(), Numbers()
    for port in range(100):
        assert known[f"10.0.0.{port}:{port}"][-2:] == port.to_bytes(2, "big")
        assert numbers[str(port)] == port
    assert max(len(known), len(numbers), len(known._addresses), len(known._ports)) <= 10


@given(st.text(max_size=60))
def test_any_text_is_an_endpoint_or_none(text: str) -> None:
    assert len(Endpoints()[text]) in (0, ENDPOINT.itemsize)
    assert endpoints.why_not(text)
    assert -1 <= Numbers()[text] <= 0xFFFF_FFFF
