"""strace among other text: one trace in several pieces, and failures that are counted once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.strace import STRACE
from loadgen.explain.reader import read
from loadgen.outcomes import Syscall
from loadgen.strategies import Strategy

DATA = Path(__file__).parents[3] / "data" / "explain" / "strace"


def evidence_of(text: str, file: str = "-") -> Evidence:
    evidence = Evidence()
    read(evidence, io.BytesIO(text.encode()), file, [STRACE])
    return evidence


@pytest.mark.parametrize("path", sorted(DATA.glob("*.txt")), ids=lambda path: str(path.stem))
def test_a_capture_is_one_piece_and_nothing_of_it_is_unread(path: Path) -> None:
    evidence = evidence_of(path.read_text(), path.name)
    assert [(piece.format, piece.file, piece.first) for piece in evidence.pieces] == [("strace", path.name, 1)]
    assert evidence.unread == []
    assert {way.file for way in evidence.ways} <= {path.name}


def test_the_output_of_the_program_between_the_lines_does_not_end_the_trace() -> None:
    evidence = evidence_of(
        "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3\n"
        "setsockopt(3, SOL_IP, IP_BIND_ADDRESS_NO_PORT, [1], 4) = 0\n"
        "hello from the program\n"
        'bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("10.0.0.5")}, 16) = 0\n'
        "and again\n"
        'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.7")}, 16) = '
        "-1 EADDRNOTAVAIL (Cannot assign requested address)\n"
    )
    (way,) = evidence.ways
    assert (way.strategy, way.line, way.file) == (Strategy.LATE, 1, "-")
    assert way.failed == {("connect", "EADDRNOTAVAIL"): 1}
    assert [(unread.first, unread.last) for unread in evidence.unread] == [(3, 3), (5, 5)]
    assert list(evidence.complaints) == [], "it is counted with its way"


def test_a_line_alone_is_a_complaint() -> None:
    evidence = evidence_of(
        "[pid 12] connect(5, {sa_family=AF_INET, sin_port=htons(80), "
        'sin_addr=inet_addr("10.0.0.7")}, 16) = -1 EADDRNOTAVAIL (Cannot assign requested address)\n'
    )
    assert evidence.ways == []
    (complaints,) = evidence.complaints
    one = complaints.first
    assert (one.syscalls, one.errno, one.target, one.target_port) == (
        frozenset({Syscall.CONNECT}),
        "EADDRNOTAVAIL",
        "10.0.0.7",
        80,
    )
    assert (one.transport, one.listening, str(one.where)) == (None, False, "line 1")


def test_a_service_that_cannot_have_its_port_complains_each_time() -> None:
    once = (
        "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 7\n"
        'bind(7, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("0.0.0.0")}, 16) = '
        "-1 EADDRINUSE (Address already in use)\n"
        "close(7) = 0\n"
    )
    evidence = evidence_of(once + "not of the trace\n" + once)
    assert evidence.ways == []
    (complaints,) = evidence.complaints
    assert (complaints.first.syscalls, complaints.first.source_port, complaints.count) == (
        frozenset({Syscall.BIND}),
        8080,
        2,
    )


def test_no_descriptor_is_left_is_a_complaint_about_socket() -> None:
    evidence = evidence_of(
        "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = -1 EMFILE (Too many open files)\n"
        "accept4(3, NULL, NULL, SOCK_CLOEXEC) = -1 EMFILE (Too many open files)\n"
        "socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP) = -1 EAFNOSUPPORT (Address family not supported by protocol)\n"
    )
    found = [(one.first.syscalls, one.first.errno, one.first.listening) for one in evidence.complaints]
    assert found == [(frozenset({Syscall.SOCKET}), "EMFILE", None), (frozenset(), "EMFILE", True)]


def test_traces_of_two_files_are_two() -> None:
    evidence = Evidence()
    opened, connected = (
        b"socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3\n",
        (b'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.7")}, 16) = 0\n'),
    )
    read(evidence, io.BytesIO(opened), "a", [STRACE])
    read(evidence, io.BytesIO(connected), "b", [STRACE])
    assert evidence.ways == []


@given(st.lists(st.sampled_from(["connect(3, ", "socket(AF_INET", ") = 3", "\n", "x", "<unfinished ...>", "[pid 1] "])))
def test_no_text_breaks_the_reading(parts: list[str]) -> None:
    evidence = evidence_of("".join(parts))
    assert sum(piece.last - piece.first + 1 for piece in evidence.pieces) <= "".join(parts).count("\n") + 1
