"""The message is found inside prefixes, JSON and escapes, and its program by the prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats.logs import unwrap


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("bind: Address in use", ["bind: Address in use"]),
        ('{"msg": "a\\nb", "n": 1}', ["a", "b"]),
        ('web_1  | {"err": {"stack": ["x", {"y": "z"}]}}', ["web_1  | ", "x", "z"]),
        ('level=error err="Get \\"http://x/\\": dial"', ['level=error err="Get "http://x/": dial"']),
        ('{"log": "cut off\\nin the mid', ['{"log": "cut off', "in the mid"]),
        (
            '{"code": "E", "syscall": "connect", "port": 80}',
            ["code: 'E', syscall: 'connect', port: '80'", "E", "connect"],
        ),
    ],
)
def test_texts(line: str, texts: list[str]) -> None:
    assert unwrap.texts(line) == texts


@given(
    st.text(max_size=200)
    | st.recursive(st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=5), inner)).map(str)
)
def test_any_line_has_texts(line: str) -> None:
    assert all("\n" not in text or "\n" in line for text in unwrap.texts(line))


@pytest.mark.parametrize(
    ("said", "line", "program"),
    [
        ("Go", "Nov 29 06:00:01 web1 dockerd[812]: listen tcp", "dockerd"),
        ("Go", "<30>Nov 29 06:00:01 web1 /usr/bin/consul: dial tcp", "consul"),
        ("", "2026-11-29T06:00:01.000+00:00 web1 kamailio[7]: bind", "kamailio"),
        ("Go", "2026-11-29T06:00:01Z error main: dial tcp", "Go"),
        ("nginx", "Nov 29 06:00:01 web1 docker[812]: connect() failed", "nginx"),
        ("Go", 'level=warning msg="Request Failed" error="dial tcp', "k6"),
        ("Java", "> j.n.BindException: Address already in use", "Gatling"),
        ("", "Nov 29 06:00:01 web1 kernel: x", ""),
    ],
)
def test_program(said: str, line: str, program: str) -> None:
    assert unwrap.program(said, line) == program
