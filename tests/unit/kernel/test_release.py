"""The version of a kernel, by its release."""

from __future__ import annotations

import pytest

from loadgen.kernel import release


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("6.18.44-fc-v669", (6, 18, 44)),
        ("6.6.119-1-amd64", (6, 6, 119)),
        ("7.0-rc3", (7, 0)),
        ("4.18.0-553.el8_10.x86_64", (4, 18, 0)),
        ("6.8.0+", (6, 8, 0)),
        ("", None),
        ("linux", None),
        ("6", None),
    ],
)
def test_the_numbers_that_a_release_begins_with(text: str, version: tuple[int, ...] | None) -> None:
    assert release.version(text) == version


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("7.0.1", False),
        ("6.19.0", False),
        ("6.19-rc1", False),
        ("6.18.44-fc", False),
        ("6.18.1", True),
        ("6.18.0-rc7", True),
        ("6.17.13", False),
        ("6.17.12", True),
        ("6.16.9", True),
        ("6.12.62", True),
        ("6.6.120", False),
        ("6.6.119-1-amd64", True),
        ("5.15.0-91-generic", True),
        ("", False),
    ],
)
def test_kernels_whose_lookup_may_miss_a_socket(text: str, *, may: bool) -> None:
    assert release.may_miss_sockets(text) is may
