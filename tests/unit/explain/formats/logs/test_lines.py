"""Each fixture of log lines gives these complaints; prose and other formats give none; no text makes it fail."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.evidence import Complaint, Evidence
from loadgen.explain.formats import base
from loadgen.explain.formats.logs import LOGS
from loadgen.explain.reader import read
from loadgen.outcomes import Syscall

DATA: Final = Path(__file__).parents[4] / "data" / "explain" / "logs"
#: For each file the number of lines that are left unread, and its complaints: how often, then the line of the first,
#: program, system calls, errno, local side, target, and whether it is a service that could not listen.
EXPECTED: Final[dict[str, tuple[int | str, ...]]] = {
    "ab.txt": (
        8,
        "1x 8 ab connect EADDRNOTAVAIL - - client",
        "1x 9 ab recv ECONNRESET - - client",
        "1x 11 ab connect ECONNREFUSED - - client",
    ),
    "apache.txt": (
        5,
        "1x 3 httpd connect ECONNREFUSED - 10.0.0.7:81 client",
        "1x 5 httpd wait ETIMEDOUT - 198.51.100.5:81 client",
        "1x 7 httpd connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 10 httpd bind EADDRINUSE 127.0.0.1:8200 - service",
    ),
    "containers.txt": (
        0,
        "1x 1 gRPC connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 2 Go connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 3 nginx connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 4 Go bind EADDRINUSE :8080 - service",
        "1x 5 dockerd bind EADDRINUSE 0.0.0.0:80 - service",
        "1x 6 docker - - 0.0.0.0:80 - service",
        "1x 7 kubelet connect ECONNREFUSED - 10.1.2.3:8080 client",
        "2x 10 Go socket EMFILE - - service",
        "1x 12 docker bind EADDRINUSE 0.0.0.0:8080 - service",
        "1x 13 systemd bind EADDRINUSE :::80 - service",
        "1x 14 haproxy socket EMFILE - - -",
        "1x 15 haproxy connect EADDRINUSE - - client",
    ),
    "curl.txt": (
        18,
        "3x 2 curl connect EADDRNOTAVAIL - 10.0.0.7 client",
        "4x 17 curl bind EADDRNOTAVAIL - - client",
        "4x 23 curl bind EADDRINUSE - - client",
        "1x 35 curl connect EADDRNOTAVAIL - 198.51.100.5 client",
        "2x 41 curl connect ENETUNREACH - 203.0.113.5 client",
        "1x 74 curl connect ECONNREFUSED - 10.0.0.7:81 client",
        "1x 80 curl wait ETIMEDOUT - - client",
        "2x 81 curl wait ETIMEDOUT - 198.51.100.5:80 client",
    ),
    "envoy.txt": (
        0,
        "1x 1 envoy bind EADDRINUSE 127.0.0.6:0 - client",
        "2x 2 envoy connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "2x 3 envoy connect ECONNREFUSED - - client",
        "1x 5 envoy bind EADDRINUSE 0.0.0.0:80 - service",
        "1x 6 envoy wait ETIMEDOUT - - client",
        "1x 7 envoy - - - - -",
    ),
    "erlang.txt": (
        0,
        "3x 1 Erlang bind/connect EADDRNOTAVAIL - - -",
        "2x 2 Erlang bind/connect EADDRINUSE - - -",
    ),
    "gatling.txt": (
        1,
        "1x 1 Gatling bind/connect EADDRNOTAVAIL - - -",
        "1x 2 Gatling connect EADDRNOTAVAIL - 10.0.0.7:80 client",
    ),
    "go.txt": (
        0,
        "2x 1 Go connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 2 Go bind EADDRINUSE 127.0.0.6:0 10.0.0.7:80 client",
        "2x 3 Go bind EADDRNOTAVAIL 10.9.9.9:0 10.0.0.7:80 client",
        "2x 4 Go bind EADDRINUSE 10.0.0.9:40003 10.0.0.7:80 client",
        "1x 5 Go connect EADDRNOTAVAIL - 10.0.0.7:81 client",
        "1x 6 Go connect EADDRNOTAVAIL - ::1:81 client",
        "1x 7 Go connect EADDRNOTAVAIL - 198.51.100.5:81 client",
        "2x 8 Go connect ENETUNREACH - 203.0.113.5:81 client",
        "2x 9 Go bind EADDRINUSE 10.0.0.7:80 - service",
        "2x 10 Go bind EADDRNOTAVAIL 10.9.9.9:80 - service",
        "2x 11 Go bind EADDRNOTAVAIL 10.9.9.9:80 - service",
        "2x 12 Go connect ENETUNREACH - 10.255.255.53:53 client",
        "2x 14 Go connect EADDRNOTAVAIL - 198.51.100.5:80 client",
        "1x 23 Go connect ECONNREFUSED - 10.0.0.7:81 client",
        "1x 24 Go connect ECONNREFUSED - ::1:81 client",
        "1x 25 Go wait ETIMEDOUT - 198.51.100.5:81 client",
        "1x 31 Go recv ECONNRESET - 10.0.0.7:80 -",
        "2x 32 Go wait ETIMEDOUT - 198.51.100.5:80 client",
        "1x 39 Go socket EMFILE 10.9.9.9:0 10.0.0.7:80 client",
        "1x 40 Go socket EMFILE 10.0.0.9:40003 10.0.0.7:80 client",
        "1x 41 Go socket EMFILE - 10.0.0.7:81 client",
        "1x 42 Go socket EMFILE - ::1:81 client",
        "1x 43 Go socket EMFILE - 198.51.100.5:81 client",
        "1x 44 Go socket EMFILE - 203.0.113.5:81 client",
    ),
    "haproxy.txt": (
        3,
        "2x 1 haproxy connect ECONNREFUSED - - client",
        "2x 5 haproxy wait ETIMEDOUT - - client",
        "5x 9 haproxy connect EADDRNOTAVAIL - - client",
        "1x 15 haproxy bind - - - client",
        "1x 22 haproxy bind EADDRNOTAVAIL 10.9.9.9:8100 - service",
    ),
    "java-older.txt": (
        0,
        "4x 1 Java connect EADDRNOTAVAIL - - client",
        "1x 4 Java bind EADDRINUSE - - service",
        "1x 9 Java connect EADDRINUSE - - client",
        "1x 10 Java bind EADDRINUSE - - -",
        "1x 15 Java connect ECONNREFUSED - - client",
        "1x 16 Java connect ECONNREFUSED - localhost:8080 client",
        "1x 21 Java bind EADDRINUSE :8080 - service",
    ),
    "java.txt": (
        11,
        "6x 1 Java connect EADDRNOTAVAIL - - client",
        "1x 14 Java bind EADDRINUSE - - client",
        "1x 26 Java bind EADDRNOTAVAIL - - client",
        "1x 61 Java connect ENETUNREACH - - client",
        "2x 74 Java bind EADDRINUSE - - service",
        "1x 84 Java bind EADDRNOTAVAIL - - service",
        "1x 158 Java connect ECONNREFUSED - - client",
        "1x 171 Java wait ETIMEDOUT - - client",
    ),
    "jmeter.txt": (
        1,
        "1x 1 JMeter connect EADDRNOTAVAIL - - client",
        "1x 2 JMeter connect EADDRINUSE - - client",
        "1x 3 JMeter connect ECONNREFUSED - 10.0.0.7:80 client",
        "1x 4 JMeter bind/connect - - - client",
        "1x 6 JMeter wait ETIMEDOUT - 10.0.0.7:80 client",
    ),
    "k6.txt": (
        0,
        "1x 1 k6 connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 2 k6 bind EADDRINUSE :0 10.0.0.7:80 client",
        "1x 3 k6 wait ETIMEDOUT - - client",
        "1x 4 k6 socket EMFILE - 10.0.0.7:80 client",
    ),
    "libpq.txt": (
        3,
        "1x 1 libpq connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 3 libpq connect EADDRNOTAVAIL - 10.0.0.7:81 client",
        "1x 5 libpq connect EADDRNOTAVAIL - localhost:81 client",
        "1x 11 libpq connect ECONNREFUSED - 10.0.0.7:81 client",
        "1x 13 libpq connect ECONNREFUSED - localhost:81 client",
    ),
    "mysql.txt": (
        1,
        "2x 1 mysql connect EADDRNOTAVAIL - 10.0.0.7 client",
        "1x 5 mysql connect - - 10.0.0.7 client",
    ),
    "netty.txt": (
        0,
        "1x 1 Java connect EADDRNOTAVAIL - 127.0.0.1:8080 client",
        "1x 2 Java bind EADDRINUSE - - -",
        "1x 3 Java socket EMFILE - - -",
    ),
    "nginx.txt": (
        2,
        "1x 1 nginx bind EADDRNOTAVAIL 10.9.9.9:0 10.0.0.7:80 client",
        "1x 2 nginx connect ECONNREFUSED - 10.0.0.7:81 client",
        "1x 4 nginx connect ECONNREFUSED - ::1:81 client",
        "1x 5 nginx connect ENETUNREACH - 203.0.113.5:81 client",
        "1x 8 nginx bind EADDRINUSE 10.0.0.9:40003 10.0.0.7:80 client",
        "3x 10 nginx wait ETIMEDOUT - 198.51.100.5:81 client",
        "2x 11 nginx connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 13 nginx bind EADDRINUSE 127.0.0.1:8000 - service",
        "1x 15 nginx bind EADDRNOTAVAIL 10.5.5.5:8000 - service",
        "1x 16 nginx socket EMFILE - 198.51.100.5:81 client",
        "1x 17 nginx socket EMFILE - - service",
        "2x 19 nginx - - - - -",
    ),
    "node-others.txt": (
        1,
        "1x 1 node bind EADDRINUSE :::3000 - service",
        "2x 2 node connect ECONNREFUSED - ::1:3000 client",
        "1x 3 node connect EADDRNOTAVAIL 10.0.0.9:0 10.0.0.7:80 client",
        "1x 4 node socket EMFILE - 10.0.0.7:80 client",
        "1x 5 node - EMFILE - - -",
        "1x 6 node recv ECONNRESET - - -",
        "1x 20 node connect ECONNREFUSED - 127.0.0.1:3000 client",
        "1x 32 node connect EADDRNOTAVAIL - 10.0.0.8:8080 client",
        "1x 37 node connect EADDRNOTAVAIL - 10.0.0.9:80 client",
    ),
    "node.txt": (
        0,
        "3x 1 node connect EADDRNOTAVAIL :0 10.0.0.7:80 client",
        "1x 12 node bind EADDRINUSE - 10.0.0.7:80 client",
        "1x 20 node bind EADDRNOTAVAIL 10.9.9.9 - -",
        "2x 30 node connect EADDRNOTAVAIL 10.0.0.9:40003 10.0.0.7:80 client",
        "1x 41 node connect EADDRNOTAVAIL :0 10.0.0.7:81 client",
        "1x 52 node connect EADDRNOTAVAIL :0 127.0.0.1:81 client",
        "2x 63 node connect ENETUNREACH :0 203.0.113.5:81 client",
        "2x 74 node bind EADDRINUSE 10.0.0.7:80 - service",
        "2x 85 node bind EADDRNOTAVAIL 10.9.9.9:80 - service",
        "1x 155 node connect ECONNREFUSED - 10.0.0.7:81 client",
        "1x 163 node connect ECONNREFUSED - 127.0.0.1:81 client",
    ),
    "others.txt": (
        1,
        "1x 1 ab socket EMFILE - - client",
        "2x 2 Rust connect EADDRNOTAVAIL - - client",
        "1x 4 .NET bind/connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 7 .NET bind EADDRINUSE :::5000 - service",
        "1x 8 Erlang bind/connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 9 Erlang bind EADDRINUSE - - service",
        "1x 10 Erlang bind/connect EADDRNOTAVAIL - - -",
        "1x 11 redis bind EADDRINUSE *:6379 - service",
        "1x 12 mysql connect EADDRNOTAVAIL - 10.0.0.7:3306 client",
        "1x 13 PHP connect EADDRNOTAVAIL - - client",
        "1x 14 gRPC connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "2x 15 - bind EADDRINUSE - - -",
        "3x 16 - connect EADDRNOTAVAIL - - client",
        "1x 19 - bind EADDRINUSE 10.0.0.9 - -",
        "1x 20 squid bind EADDRINUSE 10.0.0.9 - -",
        "1x 21 - bind/connect EADDRINUSE - - -",
        "1x 22 nginx connect EADDRNOTAVAIL - ::1:6432 client",
        "1x 23 nginx - EMFILE - - -",
        "1x 27 postgres bind EADDRNOTAVAIL 10.0.0.99 - service",
    ),
    "pgbouncer.txt": (
        8,
        "1x 5 pgbouncer connect - - 10.0.0.7:81 client",
        "1x 9 pgbouncer connect - - 198.51.100.5:81 client",
        "4x 10 pgbouncer - - - - -",
        "1x 14 pgbouncer connect EADDRNOTAVAIL - - client",
        "1x 16 pgbouncer bind EADDRINUSE 127.0.0.1:8300 - service",
    ),
    "php.txt": (
        1,
        "3x 1 PHP connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 2 PHP connect EADDRNOTAVAIL - 10.0.0.7:81 client",
        "2x 5 PHP bind EADDRINUSE 10.0.0.7:80 - service",
        "1x 6 PHP connect EADDRNOTAVAIL - 10.0.0.7 client",
        "1x 8 PHP connect ECONNREFUSED - 10.0.0.7:81 client",
    ),
    "prose.txt": (
        14,
        "2x 1 - bind/connect EADDRNOTAVAIL - - -",
        "1x 13 - bind EADDRINUSE - - service",
    ),
    "python-libraries.txt": (
        0,
        "1x 1 Python bind EADDRINUSE 0.0.0.0:8080 - -",
        "1x 2 Python connect ECONNREFUSED - ::1:8080 client",
        "1x 2 Python connect EADDRNOTAVAIL - 127.0.0.1:8080 client",
        "2x 3 Python bind/connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 4 Python connect - - 10.0.0.7:80 client",
        "1x 6 Python wait ETIMEDOUT - 10.0.0.7:80 client",
        "1x 7 Python connect EADDRNOTAVAIL - localhost:6379 client",
        "1x 8 libpq connect EADDRNOTAVAIL - - client",
        "1x 11 mysql connect EADDRNOTAVAIL - 10.0.0.7 client",
        "2x 12 Python bind/connect EADDRNOTAVAIL - - -",
        "1x 14 Python bind EADDRINUSE 0.0.0.0:8000 - service",
        "1x 15 Python bind EADDRINUSE 127.0.0.1:8000 - -",
    ),
    "python-refused.txt": (
        0,
        "1x 12 Python connect ECONNREFUSED - - client",
        "1x 24 Python connect ETIMEDOUT - - client",
        "1x 61 Python recv ECONNRESET - - client",
        "1x 93 Python connect ECONNREFUSED - 10.0.0.7:81 client",
        "1x 125 Python connect ECONNREFUSED - 127.0.0.1:81 client",
    ),
    "python.txt": (
        0,
        "7x 12 Python connect EADDRNOTAVAIL - - client",
        "1x 24 Python bind EADDRINUSE - - client",
        "1x 36 Python bind EADDRNOTAVAIL - - client",
        "1x 121 Python bind EADDRINUSE - - service",
        "1x 244 Python bind EADDRINUSE 127.0.0.6:0 - client",
        "1x 269 Python bind EADDRINUSE 10.0.0.7:80 - service",
        "1x 294 Python bind EADDRNOTAVAIL 10.9.9.9:80 - service",
        "1x 307 Python socket EMFILE - - -",
    ),
    "redis.txt": (
        1,
        "1x 1 redis-cli connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 2 redis-cli connect EADDRNOTAVAIL - 10.0.0.7:81 client",
        "1x 4 redis-cli connect ECONNREFUSED - 10.0.0.7:81 client",
    ),
    "ruby.txt": (
        0,
        "2x 1 Ruby connect EADDRNOTAVAIL - 10.0.0.7:80 client",
        "1x 6 Ruby bind EADDRINUSE 127.0.0.6:0 - -",
        "1x 11 Ruby connect EADDRNOTAVAIL - 10.0.0.7:81 client",
        "1x 16 Ruby bind EADDRINUSE 10.0.0.7:80 - -",
        "1x 21 Ruby bind EADDRNOTAVAIL 10.9.9.9:80 - -",
        "1x 35 Ruby connect ECONNREFUSED - 10.0.0.7:81 client",
    ),
    "rust.txt": (
        0,
        "4x 1 Rust bind/connect EADDRNOTAVAIL - - -",
        "1x 4 Rust bind/connect EADDRINUSE - - -",
    ),
    "siege.txt": (
        15,
        "3x 1 siege connect EADDRNOTAVAIL - - client",
        "1x 5 siege connect ECONNREFUSED - - client",
        "3x 7 siege socket EMFILE - - -",
        "2x 10 siege recv ECONNRESET - - client",
    ),
    "squid.txt": (
        7,
        "1x 2 squid bind EADDRNOTAVAIL 10.9.9.9:0 - client",
        "1x 4 squid bind EADDRINUSE 127.0.0.6:0 - client",
    ),
    "varnish.txt": (
        4,
        "1x 1 varnish connect ECONNREFUSED - - client",
        "1x 3 varnish connect ETIMEDOUT - - client",
        "1x 5 varnish connect EADDRNOTAVAIL - - client",
        "1x 7 varnish bind EADDRINUSE 127.0.0.1:8400 - service",
    ),
    "wrk.txt": (
        8,
        "1x 1 wrk connect EADDRNOTAVAIL - 10.0.0.7 client",
        "1x 2 wrk connect EADDRNOTAVAIL - 10.0.0.7:81 client",
        "1x 10 wrk connect - - - client",
        "1x 14 wrk connect ECONNREFUSED - 10.0.0.7:81 client",
    ),
}


def told(complaint: Complaint) -> str:
    """Write the complaint as the table has it."""
    calls = "/".join(sorted(call.name.lower() for call in complaint.syscalls)) or "-"
    local = complaint.source + ("" if complaint.source_port is None else f":{complaint.source_port}")
    target = complaint.target + (f":{complaint.target_port}" if complaint.target_port else "")
    role = {True: "service", False: "client", None: "-"}[complaint.listening]
    errno = complaint.errno or "-"
    return f"{complaint.where.line} {complaint.program or '-'} {calls} {errno} {local or '-'} {target or '-'} {role}"


def evidence_of(text: bytes) -> Evidence:
    evidence = Evidence()
    read(evidence, io.BytesIO(text), "-", [LOGS])
    return evidence


def only(text: str) -> Complaint:
    """Return the complaint of a text that has one."""
    (found,) = evidence_of(text.encode()).complaints
    return found.first


def unread(evidence: Evidence) -> int:
    return sum(one.last - one.first + 1 for one in evidence.unread)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_file_gives_these_complaints(name: str) -> None:
    evidence = evidence_of((DATA / name).read_bytes())
    found = [f"{one.count}x {told(one.first)}" for one in evidence.complaints]
    assert (unread(evidence), *found) == EXPECTED[name]


def test_every_fixture_is_expected() -> None:
    assert {path.name for path in DATA.glob("*.txt")} == set(EXPECTED)


def test_a_trace_in_two_blocks_is_one_piece() -> None:
    """The lines of a large file come in lists, and a trace may lie in two of them."""
    evidence = Evidence()
    reader = LOGS.reader(evidence, "-")
    head = ["java.net.BindException: Address already in use", "\tat java.base/sun.nio.ch.Net.bind0(Native Method)"]
    rest = ["\tat java.base/sun.nio.ch.Net.bind(Net.java:555)", "\t... 3 more", "INFO started"]
    assert reader.feed(head, 0, 1) == 2
    assert reader.feed(rest, 0, 3) == 2
    reader.finish()
    assert len(list(evidence.complaints)) == 1


def test_a_piece_names_its_programs() -> None:
    lines = b"worker_connections are not enough\nlisten tcp :80: bind: address already in use\nbind: Address in use\n"
    (piece,) = evidence_of(lines).pieces
    assert piece.what == "log lines of nginx, Go"


def test_a_trace_about_something_else_stays_unread() -> None:
    text = (
        "java.lang.IllegalStateException: bad order\n\tat a.B.c(B.java:12)\nCaused by: a.NoSuchCustomerException: x\n"
    )
    text += 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nKeyError: 7\n'
    evidence = evidence_of(text.encode())
    assert (unread(evidence), list(evidence.complaints), evidence.pieces) == (7, [], [])


def test_a_json_document_below_a_line_is_left_to_its_format() -> None:
    text = b'bind: Address already in use\n{\n  "schema": "loadgen.watch/1",\n  "port": 80\n}\n'
    assert [(one.first, one.last) for one in evidence_of(text).pieces] == [(1, 1)]


def test_the_errno_of_a_colour_terminal_is_read() -> None:
    assert (
        only("\x1b[31mdial tcp 10.0.0.7:80: connect: \x1b[1mcannot assign requested address\x1b[0m").target_port == 80
    )


def test_a_message_behind_a_long_line_is_not_looked_for() -> None:
    assert not list(evidence_of(b"x" * 20_000 + b" bind: Address already in use").complaints)


@pytest.mark.parametrize(
    "text",
    [
        "connect() failed (" + "9" * 5000 + ": x)",
        "dial tcp 10.0.0.7:99999: connect: cannot assign requested address",
        "Os { code: " + "9" * 3 + ', kind: X, message: "',
        "[" * 8000 + "bind: Address already in use",
        '{"a":' * 3000 + '"bind: Address already in use"' + "}" * 3000,
        '{"msg": "bind: Address already in use", "n": ' + "9" * 6000 + "}",
        "Errno::" * 2000 + "EADDRINUSE",
        "connect(" * 2000 + "Address already in use",
        "host='" * 2000 + "Failed to establish a new connection: [Errno 99] Cannot assign requested address",
        "a." * 4000 + "Exception: Address already in use",
        " " * 8000 + "bind: Address already in use",
        "listen" * 1500 + " eaddrinuse",
    ],
)
def test_hostile_lines_end(text: str) -> None:
    """No expression goes back and forth over a long line, and no number is too large."""
    for complaint in evidence_of(text.encode()).complaints:
        assert complaint.first.target_port < 65_536
        assert len(complaint.first.text) <= 300


WORDS: Final = st.sampled_from(
    [
        *("connect", "bind", "listen", "dial tcp ", "failed", "EADDRINUSE", "[Errno 99] ", "Address already in use"),
        *(
            "Cannot assign requested address",
            "10.0.0.7:80",
            "[::1]:",
            "{",
            "}",
            '"',
            "\\n",
            "Traceback (most recent call last):",
        ),
        *(
            "\n\tat sun.nio.ch.Net.bind0",
            "java.net.BindException: ",
            "  code: 'EADDRINUSE',",
            "  syscall: 'connect'",
            "\n",
        ),
        *("upstream timed out (110: x) while connecting to upstream", " - Local (", ")", "host='", "Os { code: 99"),
    ]
)


@given(st.lists(WORDS | st.text(max_size=20), max_size=12).map("".join))
def test_any_text_gives_complaints_or_none(text: str) -> None:
    evidence = evidence_of(text.encode("utf-8", "surrogatepass"))
    lines = text.encode("utf-8", "surrogatepass").count(b"\n") + 1
    for one in evidence.complaints:
        assert 1 <= one.first.where.line <= lines
        assert 0 <= one.first.target_port < 65_536
        assert one.first.source_port is None or 0 <= one.first.source_port < 65_536
        assert one.first.syscalls or not one.first.errno or one.first.errno in ("EMFILE", "ENFILE")


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_left(data: bytes) -> None:
    evidence = evidence_of(data)
    taken = sum(piece.last - piece.first + 1 for piece in evidence.pieces)
    assert taken + unread(evidence) <= data.count(b"\n") + 1


def test_the_reader_is_a_format_reader() -> None:
    reader: base.FormatReader = LOGS.reader(Evidence(), "-")
    assert (reader.what, reader.feed(["nothing"], 0, 1)) == ("log lines", 0)


def test_a_wait_of_nginx_is_no_errno_of_connect() -> None:
    """nginx writes 110 for its own timer as well as for the kernel's; the words in front tell them apart."""
    own = "upstream timed out (110: Connection timed out) while connecting to upstream"
    kernel = "connect() failed (110: Connection timed out) while connecting to upstream"
    assert [only(text).syscalls for text in (own, kernel)] == [{Syscall.WAIT}, {Syscall.CONNECT}]
