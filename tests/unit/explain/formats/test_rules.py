"""Addresses and ports of translations, in the words of nft and of iptables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats.rules import LISTED_MAX, Translation, translation


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.5", (("10.0.0.5",), None)),
        ("10.0.0.5:1024-1123", (("10.0.0.5",), (1024, 1123))),
        ("10.0.0.5-10.0.0.6:80", (("10.0.0.5", "10.0.0.6"), (80, 80))),
        (":2000-2099", ((), (2000, 2099))),
        ("2001:db8::1", (("2001:db8::1",), None)),
        ("2001:db8::1-2001:db8::2", (("2001:db8::1", "2001:db8::2"), None)),
        ("[2001:db8::1]:80-90", (("2001:db8::1",), (80, 90))),
        ("[2001:db8::1]-[2001:db8::2]:80", (("2001:db8::1", "2001:db8::2"), (80, 80))),
        ("10.0.0.0-10.0.9.255", (("10.0.0.0-10.0.9.255",), None)),
    ],
)
def test_every_form(text: str, found: Translation) -> None:
    assert translation(text) == found


@pytest.mark.parametrize(
    "text",
    ["", ":", "ip", "@outer", "10.0.0.6-10.0.0.5", "10.0.0.5:90-80", "10.0.0.5:99999", "10.0.0.5-::1", "[x]:1", "-:1"],
)
def test_no_translation(text: str) -> None:
    assert translation(text) is None


@given(st.text(alphabet="0123456789.:-[]abc", max_size=60) | st.text(max_size=30))
def test_any_text_is_one_or_none(text: str) -> None:
    found = translation(text)
    assert found is None or len(found[0]) <= LISTED_MAX
