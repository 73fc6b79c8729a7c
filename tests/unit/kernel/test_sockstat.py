"""Socket counts from the files of two kernels, and malformed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.kernel import sockstat

PROC = Path(__file__).parents[2] / "data" / "proc"


def test_both_families() -> None:
    numbers = sockstat.read(PROC / "linux-6.18" / "net")
    tcp = {name: number for name, number in numbers.items() if name.startswith("tcp")}
    assert tcp == {
        "tcp_inuse": 6,
        "tcp_orphan": 0,
        "tcp_tw": 1,
        "tcp_alloc": 10,
        "tcp_mem": 29,
        "tcp6_inuse": 3,
    }
    assert numbers["sockets_used"] == 9
    assert numbers["udp_inuse"] == 0


def test_without_ipv6_its_numbers_are_missing() -> None:
    numbers = sockstat.read(PROC / "linux-5.10" / "net")
    assert numbers["tcp_tw"] == 2
    assert "tcp6_inuse" not in numbers


def test_unknown_protocols_and_fields_are_included() -> None:
    assert sockstat.parse("QUIC: inuse 3 paths 4\n") == {"quic_inuse": 3, "quic_paths": 4}


def test_an_empty_file_has_no_numbers() -> None:
    assert sockstat.parse("") == {}


@pytest.mark.parametrize("line", ["TCP", "TCP:", "TCP: inuse", "TCP: inuse 1 tw", "TCP: inuse many"])
def test_the_line_that_breaks_the_format_is_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=f"'{line}'"):
        sockstat.parse(f"UDP: inuse 0\n{line}\n")


def test_a_process_that_has_exited(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sockstat.read(tmp_path)
