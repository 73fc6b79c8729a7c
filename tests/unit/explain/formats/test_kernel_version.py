"""The kernel's release from `uname -a` and /proc/version."""

from __future__ import annotations

import pytest

from tests.pasted import read, unread


@pytest.mark.parametrize(
    ("line", "release"),
    [
        (
            "Linux web1 5.15.0-91-generic #101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023 x86_64",
            "5.15.0-91-generic",
        ),
        ("Linux db 3.10.0-1160.el7.x86_64 #1 SMP Mon Oct 19 16:18:59 UTC 2020 x86_64", "3.10.0-1160.el7.x86_64"),
        ("Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP", "6.1.0-18-amd64"),
        ("[    0.000000] Linux version 4.19.0 (x@y) #1", "4.19.0"),
    ],
)
def test_releases(line: str, release: str) -> None:
    evidence = read(line)
    assert (evidence.kernel, unread(evidence)) == (release, [])


@pytest.mark.parametrize("line", ["Linux is great", "Linux web1", "Darwin mac 22.1.0 #1", "we run Linux web1 5.1 #1 x"])
def test_prose_has_none(line: str) -> None:
    assert read(line).kernel == ""
