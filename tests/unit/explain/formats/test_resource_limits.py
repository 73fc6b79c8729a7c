"""Limits as shells, /proc, prlimit and systemd print them, under the names of /proc and in its units."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.resource_limits import PRLIMIT, PROC_LIMITS, SYSTEMD_LIMITS, ULIMIT
from tests.pasted import CAPTURED, captured, limits, read, unread

BOTH = {"Max open files": 20000, "Max processes": 96365, "Max locked memory": 8388608}


@pytest.mark.parametrize("name", ["limits-linux-6.18", "prlimit-util-linux-2.38"])
def test_soft_and_hard_limits(name: str) -> None:
    evidence = captured(name)
    found = limits(evidence)
    assert {limit: found[limit] for limit in BOTH} == {limit: (value, value) for limit, value in BOTH.items()}
    assert found["Max cpu time"] == (None, None)
    assert unread(evidence) == []


@pytest.mark.parametrize("name", ["ulimit-a-bash-5.2", "ulimit-a-dash-0.5.12", "ulimit-a-zsh-5.9"])
def test_shells_show_soft_limits(name: str) -> None:
    evidence = captured(name)
    found = limits(evidence)
    assert {limit: found[limit] for limit in BOTH} == {limit: (value, None) for limit, value in BOTH.items()}
    assert (unread(evidence), len(evidence.pieces)) == ([], 1)
    assert "Max core file size" not in found  # in blocks, which are not the same everywhere


def test_ulimit_with_h_shows_hard_limits() -> None:
    text = (CAPTURED / "ulimit-a-bash-5.2").read_text()
    assert limits(read(f"$ ulimit -aH\n{text}"))["Max open files"] == (None, 20000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LimitNOFILE=65536\n", (65536, 65536)),
        ("LimitNOFILE = 1024:524288\n", (1024, 524288)),
        ("LimitNOFILE=infinity\n", (None, None)),
        ("DefaultLimitNOFILE=1K\n", (1024, 1024)),
        ("LimitNOFILE=524288\nLimitNOFILESoft=1024\n", (1024, 524288)),
        ("LimitNOFILESoft=1024\n", (1024, None)),
        ("open files                      (-n) 1024\n", (1024, None)),
        ("-n: file descriptors          1024\n", (1024, None)),
        ("nofiles              1024\n", (1024, None)),
        ("/proc/4711/limits:Max open files            1024       4096     files\n", (1024, 4096)),
    ],
)
def test_a_line_alone(text: str, expected: tuple[int | None, int | None]) -> None:
    evidence = read(text)
    assert (limits(evidence), unread(evidence)) == ({"Max open files": expected}, [])


def test_systemctl_show_has_the_hard_limit_in_the_line_that_a_unit_has_both_in() -> None:
    for text, soft in (("LimitNOFILE=524288\n", None), ("LimitNOFILESoft=1024\nLimitNOFILE=524288\n", 1024)):
        assert limits(read(f"$ systemctl show -p LimitNOFILE nginx\n{text}")) == {"Max open files": (soft, 524288)}


@pytest.mark.parametrize(
    "text",
    [
        "process 4711\n",
        "time 5\n",
        "Max retries 5 10\nx",
        "Maximum open files 5 10\n",
        "LimitNOFILE=\n",
        "LimitNOFILE=many\n",
        "open files (-n) many\n",
        "open files (-n) " + "9" * 5000 + "\n",
        "ERROR something went wrong 5 10\n",
    ],
)
def test_other_lines_are_not_read(text: str) -> None:
    assert set(limits(read(text, ULIMIT, PROC_LIMITS, PRLIMIT, SYSTEMD_LIMITS))) <= {"Max retries"}
