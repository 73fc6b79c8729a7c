"""Lines that a table of messages must tell apart: which call, whose setting, prose or not."""

from __future__ import annotations

import pytest

from loadgen.explain.evidence import Complaint, Where
from loadgen.explain.formats.logs import errnos, table
from loadgen.outcomes import Syscall
from loadgen.strategies import Transport

HERE = Where("-", 1)


def complaints(line: str) -> list[Complaint]:
    return [one for one in table.complaints(line, HERE) if one]


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("connect: Cannot assign requested address", {Syscall.CONNECT}),
        ("bind: Cannot assign requested address", {Syscall.BIND}),
        ("Unable to connect: Cannot assign requested address", {Syscall.CONNECT, Syscall.BIND}),
        ("java.net.BindException: Cannot assign requested address", {Syscall.CONNECT, Syscall.BIND}),
        ("java.net.BindException: Cannot assign requested address (Bind failed)", {Syscall.BIND}),
        ("java.net.ConnectException: Cannot assign requested address", {Syscall.CONNECT}),
        ("OSError: [Errno 99] Cannot assign requested address", {Syscall.CONNECT, Syscall.BIND}),
        ("OSError: [Errno 99] address not available", {Syscall.CONNECT, Syscall.BIND}),
        ("we saw EADDRNOTAVAIL on Friday", {Syscall.CONNECT, Syscall.BIND}),
    ],
)
def test_a_line_names_the_call_or_leaves_it_open(line: str, calls: set[Syscall]) -> None:
    (found,) = complaints(line)
    assert found.syscalls == calls
    assert found.errno == "EADDRNOTAVAIL"


@pytest.mark.parametrize(
    "line",
    [
        "worker_connections are not enough",
        "Proxy web reached the configured maximum connection limit. Please check the global 'maxconn' value.",
        "pooler error: no more connections allowed (max_client_conn)",
        "AH00484: server reached MaxRequestWorkers setting, consider raising it",
        "ERROR 1040 (HY000): Too many connections",
        "ERR max number of clients reached",
    ],
)
def test_a_limit_of_the_program_is_no_limit_of_the_kernel(line: str) -> None:
    (found,) = complaints(line)
    assert (found.syscalls, found.errno, found.limit) == (frozenset(), "", "")


@pytest.mark.parametrize(
    "line",
    [
        "upstream timed out (110: Connection timed out) while reading response header from upstream",
        "dial tcp: lookup db on 10.96.0.10:53: no such host",
        "requests.exceptions.ReadTimeout: Read timed out. (read timeout=5)",
        "java.net.SocketTimeoutException: Read timed out",
        "connect() to unix:/run/app.sock failed (11: Resource temporarily unavailable) while connecting to upstream",
        "dial unix /var/run/docker.sock: connect: permission denied",
        "Error: socket hang up",
    ],
)
def test_what_is_not_about_connecting_is_understood_and_no_complaint(line: str) -> None:
    assert list(table.complaints(line, HERE)) == [None]


@pytest.mark.parametrize(
    "line",
    [
        "We get no EADDRNOTAVAIL any more.",
        "It ran a week without a single EADDRINUSE",
        "Is EADDRINUSE the same as a full range?",
        "if (errno == EADDRINUSE) {",
        "    except OSError: # EMFILE",
        '10.0.0.1 - - [29/Nov/2026:06:12:39 +0000] "GET /?q=EADDRNOTAVAIL HTTP/1.1" 200 5',
        "Permission denied (publickey,password).",
        "the connection refused to die",
        "Connection timed out waiting for the barber",
        "users connect, listen and bind",
        "MY_EADDRINUSE_COUNT=3",
    ],
)
def test_prose_and_code_are_no_messages(line: str) -> None:
    assert list(table.complaints(line, HERE)) == []


def test_the_transport_is_read_where_it_is_told() -> None:
    (udp,) = complaints("dial udp 10.0.0.7:53: connect: resource temporarily unavailable")
    (tcp,) = complaints("listen tcp6 [::]:80: bind: address already in use")
    assert (udp.transport, udp.errno, tcp.transport, tcp.source) == (Transport.UDP, "EAGAIN", Transport.TCP, "::")


def test_a_port_of_an_open_connection_is_not_told() -> None:
    """Each has another one, and it is not what failed."""
    (found,) = complaints("read tcp 10.0.0.9:41234->10.0.0.7:80: read: connection reset by peer")
    assert (found.source_port, found.target_port, found.syscalls) == (None, 80, frozenset({Syscall.RECV}))


def test_an_unknown_errno_is_not_guessed() -> None:
    assert complaints("connect() to 10.0.0.7:80 failed (250: Something new) while connecting to upstream") == []
    assert complaints("dial tcp 10.0.0.7:80: connect: something new") == []


def test_no_row_is_beyond_the_first_look() -> None:
    """A line without a sign is asked of no row, so each row that stands without an errno has its own signs there."""
    for row in table.ROWS:
        assert row.signs
        assert all(sign == sign.lower() for sign in row.signs)
        assert not row.bare or all(table.has_sign(sign) for sign in row.signs)
    assert [sign for sign in table.SIGNS if not any(part in sign for part in table.PARTS)] == []
    assert all(table.has_sign(name) for name in errnos.NAMES)
    assert not table.has_sign('10.0.0.1 - - "GET /connect HTTP/1.1" 200 listening, bind, accept')
