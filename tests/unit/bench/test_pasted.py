"""The listings that are measured are whole: each of their rows is read."""

from __future__ import annotations

import pytest

from bench import pasted
from tests import listings


@pytest.mark.parametrize("name", pasted.FORMATS)
def test_each_row_is_read(name: str) -> None:
    text = "".join(pasted.blocks(name, 200_000))
    evidence = listings.read(text)
    found = listings.listing(evidence)
    assert found.tcp.size == 5000
    assert (evidence.unread, found.whole) == ([], True)


def test_all_formats_have_the_same_sockets() -> None:
    """In the same order; so figures of different formats can be compared."""
    ends = [
        listings.listing(listings.read("".join(pasted.blocks(name, 1)))).tcp[
            ["state", "source_port", "destination_port", "source", "destination"]
        ]
        for name in pasted.FORMATS
    ]
    assert all(other.tolist() == ends[0].tolist() for other in ends[1:])
