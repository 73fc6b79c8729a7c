"""Sysctls of a pod are read as settings; other names with values are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats.pod_sysctls import POD_SYSCTLS
from tests.pasted import read, unread

POD = """\
  securityContext:
    sysctls:
    - name: net.ipv4.ip_local_port_range
      value: "1024 65535"
    - value: '1'
      name: net/ipv4/tcp_tw_reuse
  containers:
    - name: web
      env:
        - name: PORT
          value: "8080"
"""


def test_a_pod() -> None:
    evidence = read(POD)
    assert [(one.name, one.value, one.where.line) for one in evidence.sysctls] == [
        ("net.ipv4.ip_local_port_range", "1024 65535", 3),
        ("net.ipv4.tcp_tw_reuse", "1", 5),
    ]
    assert unread(evidence) == [(1, 1), (7, 11)]


def test_what_is_in_force_counts_more() -> None:
    evidence = read("net.core.somaxconn = 128\n- name: net.core.somaxconn\n  value: '4096'\n")
    assert [one.value for one in evidence.sysctls] == ["128"]


@pytest.mark.parametrize(
    "text",
    [
        "- name: net.core.somaxconn\n",
        "- name: net.core.somaxconn\n- value: '5'\n",
        "name: net.core.somaxconn\nvalue: 5\n",
        "- name: user.email\n  value: '5'\n",
        '- name: net.core.somaxconn\n  value: "many"\n',
        "- name: 'net.core.somaxconn\n  value: '5'\n",
        "sysctls:\n",
    ],
)
def test_what_is_no_pair_is_left_alone(text: str) -> None:
    evidence = read(text, POD_SYSCTLS)
    assert not evidence.sysctls
    assert not evidence.pieces


@given(st.lists(st.sampled_from(POD.splitlines()), max_size=6), st.text(max_size=9), st.integers(0, 40))
def test_damaged_lines_are_answered(lines: list[str], foreign: str, at: int) -> None:
    text = "\n".join(line[:at] + foreign + line[at:] for line in lines)
    pieces = read(text, POD_SYSCTLS).pieces
    assert all(1 <= piece.first <= piece.last <= text.count("\n") + 1 for piece in pieces)
