"""Listening ports from the files of two kernels, and malformed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.kernel import tcp

PROC = Path(__file__).parents[2] / "data" / "proc"


def test_listeners_of_both_families_and_nothing_else() -> None:
    """The files also have established connections and a TIME-WAIT."""
    assert tcp.listeners(PROC / "linux-6.18" / "net") == {8080, 9443, 8443}


def test_a_kernel_without_ipv6() -> None:
    assert tcp.listeners(PROC / "linux-5.10" / "net") == {8080}


def test_a_file_without_sockets_has_no_listeners() -> None:
    header = (PROC / "linux-6.18" / "net" / "tcp").read_text().splitlines()[0]
    assert tcp.parse(f"{header}\n") == set()


@pytest.mark.parametrize("text", ["", "\n", "   0: 0100007F:1F90 00000000:0000 0A\n"])
def test_a_text_without_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no header"):
        tcp.parse(text)


@pytest.mark.parametrize("line", ["0: 0100007F:1F90", "0: 0100007F 0:0 0A", "0: 0100007F:port 0:0 0A"])
def test_the_line_that_breaks_the_format_is_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=f"'{line}'"):
        tcp.parse(f"  sl  local_address rem_address   st\n{line}\n")


def test_a_process_that_has_exited(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tcp.listeners(tmp_path)
