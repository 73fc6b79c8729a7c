"""Files of counters with a line for each core, malformed ones too."""

from __future__ import annotations

import pytest

from loadgen.kernel import core_stats


def test_counters_are_summed_and_entries_are_of_the_whole_table() -> None:
    text = "entries  allocs table_fulls\n00000010 00000001 00000002\n00000010 0000000f 00000000\n"
    assert core_stats.parse(text) == {"entries": 16, "allocs": 16, "table_fulls": 2}


@pytest.mark.parametrize("text", ["", "\n", "searched drop\n0 0\n", "entries drop\n"])
def test_a_text_without_header_and_cores_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no header"):
        core_stats.parse(text)


@pytest.mark.parametrize("line", ["00000001", "00000001 00000002 00000003", "00000001 many"])
def test_the_line_that_breaks_the_format_is_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=f"'{line}'"):
        core_stats.parse(f"entries drop\n00000001 00000002\n{line}\n")
