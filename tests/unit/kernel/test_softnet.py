"""Packet counters from the files of two kernels, counters that wrap, and malformed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.kernel import softnet

PROC = Path(__file__).parents[2] / "data" / "proc"


def test_the_first_columns_are_summed_over_the_cores() -> None:
    assert softnet.read(PROC / "linux-6.18" / "net") == {
        "processed": 0x9A86819 + 0x981DD4F,
        "dropped": 0x175 + 0x38C,
        "time_squeeze": 0x139 + 0x12C,
    }


def test_an_older_kernel_has_fewer_columns() -> None:
    assert softnet.read(PROC / "linux-4.19" / "net") == {
        "processed": 0xFFFFFF7A + 0x953D1A + 0x8EEB9A,
        "dropped": 0x6283 + 0x446,
        "time_squeeze": 0x1F + 1,
    }


def test_delta_is_the_increase() -> None:
    before = softnet.parse("00000005 00000001 00000002\n00000001 00000000 00000000\n")
    after = softnet.parse("0000000a 00000001 00000003\n00000001 00000000 00000000\n")
    assert softnet.delta(before, after) == {"processed": 5, "time_squeeze": 1}
    assert softnet.delta(after, after) == {}


def test_a_counter_that_wrapped() -> None:
    """Two cores, one of which passed 32 bits: 6 packets and 4."""
    before = softnet.parse("fffffffe 00000000 00000000\n00000010 00000000 00000000\n")
    after = softnet.parse("00000004 00000000 00000000\n00000014 00000000 00000000\n")
    assert softnet.delta(before, after) == {"processed": 10}


@pytest.mark.parametrize("line", ["00000001 00000000", "00000001 0000000g 00000000", "cpu 0 0"])
def test_the_line_that_breaks_the_format_is_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=f"'{line}'"):
        softnet.parse(f"00000001 00000000 00000000\n{line}\n")


def test_a_file_without_cores_is_refused() -> None:
    with pytest.raises(ValueError, match="no core"):
        softnet.parse("")


def test_a_process_that_has_exited(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        softnet.read(tmp_path)
