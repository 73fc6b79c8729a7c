"""Frames belong to their message, and show which call it was."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.logs import traces
from loadgen.outcomes import Syscall


@pytest.mark.parametrize(
    ("line", "before"),
    [
        ("\tat java.base/sun.nio.ch.Net.bind0(Native Method)", "java.net.BindException: x"),
        ("\t... 12 more", "\tat a"),
        ("Caused by: java.net.BindException: x", "\tat a"),
        (" ---> System.Net.Sockets.SocketException (99): x", "System.Net.Http.HttpRequestException: x"),
        ("    sock.connect(sa)", '  File "/usr/lib/python3.11/socket.py", line 836, in create_connection'),
        ("  errno: -99,", "    at internalConnect (node:net:1098:16) {"),
        ("}", "  port: 80"),
        ("main.main()", "goroutine 1 [running]:"),
        ("\t/srv/app/g.go:21 +0x78e", "main.main()"),
        ("\tfrom r.rb:3:in `new'", "r.rb:3:in `initialize': x"),
        ("#0 /srv/app/a.php(3): fsockopen()", "PHP Warning: x"),
    ],
)
def test_a_frame_continues(line: str, before: str) -> None:
    assert traces.continues(line, before)


@pytest.mark.parametrize(
    ("line", "before"),
    [
        ("{", "bind: Address already in use"),
        ("}", "bind: Address already in use"),
        ("  port: 80", "bind: Address already in use"),
        ("    inet 10.0.0.9/24 scope global eth0", "bind: Address already in use"),
        ("tcp  LISTEN 0 128 0.0.0.0:80", "\tat a"),
        ("Traceback (most recent call last):", "OSError: x"),
    ],
)
def test_another_line_does_not(line: str, before: str) -> None:
    assert not traces.continues(line, before)


def test_the_nearest_frame_shows_the_call() -> None:
    java = ["java.net.BindException: x", "\tat sun.nio.ch.Net.connect0(Native Method)", "\tat a.Server.bind(S.java:1)"]
    python = ['  File "s.py", line 1, in f', "    self.socket.bind(address)", "OSError: [Errno 98] x"]
    raised = ["    raise exceptions[0]", *python]
    assert traces.shown_call(java, 0) == {Syscall.CONNECT}
    assert traces.shown_call(python, 2) == {Syscall.BIND}
    assert traces.shown_call(raised, 3) == {Syscall.BIND}
    assert traces.shown_call(["OSError: x"], 0) == frozenset()


def test_frames_show_whether_it_is_a_service() -> None:
    assert traces.listens(["\tat java.net.ServerSocket.bind(S.java:1)"]) is True
    assert traces.listens(["in create_connection"]) is False
    assert traces.listens(["\tat java.net.ServerSocket.bind(S.java:1)", "in create_connection"]) is None
    assert traces.listens([]) is None


def test_properties_of_several_errors_are_kept_apart() -> None:
    lines = [
        "  code: 'ECONNREFUSED',",
        "  syscall: 'connect',",
        "  address: '::1',",
        "  code: 'E', syscall: 'bind'",
        "  port: 3",
    ]
    assert traces.properties(lines) == [
        {"code": "ECONNREFUSED", "syscall": "connect", "address": "::1"},
        {"code": "E", "syscall": "bind", "port": "3"},
    ]
