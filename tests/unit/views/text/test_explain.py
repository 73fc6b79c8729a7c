"""The answer as text: labelled, harmless, and complete in what decides."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadgen.explain.explanation import Explanation
from loadgen.views.text import explain as view
from tests.unit.explain.samples import LISTEN, NGINX, RANGE, TIMEOUT, explained, listing, space


def shown(explanation: Explanation, width: int = 100) -> str:
    stream = io.StringIO()
    view.render(explanation, Console(file=stream, width=width, color_system=None))
    return stream.getvalue()


def test_findings_spaces_and_what_is_missing_have_labels() -> None:
    text = shown(explained(NGINX, RANGE, listing(*space("ESTAB", 100))))
    assert [line.split()[0] for line in text.splitlines() if line[:1].strip()] == [
        "read",
        "finding",
        "evidence",
        "ruled",
        "remedies",
        "ports",
    ]
    assert "four-tuples (certain)" in text
    assert "100 % 10.0.0.5 to 10.0.0.7:80: 100 open, 0 in TIME-WAIT, 0 of 100 ports free" in text


def test_no_finding_never_says_that_there_is_no_limit() -> None:
    text = shown(explained(""))
    assert "no limit shows in this evidence" in text
    assert "no limit was met" not in text


def test_unread_lines_are_told_by_number_and_reason() -> None:
    text = shown(
        explained(
            "prose\nmore\n",
            NGINX,
            "and\n",
            "$ ss -ta\nState Recv-Q Send-Q Local Address:Port Peer Address:Port\nESTAB 0 0 web1:40000 db1:postgresql\n",
        )
    )
    assert "lines 1-2, 4" in text
    assert "not understood" in text
    assert "run ss with -n" in text


def test_a_command_that_decides_is_told_once() -> None:
    text = shown(explained(LISTEN), width=200)
    assert text.count("ss -tanp 'sport = :38151'") == 1
    assert shown(explained(TIMEOUT), width=200).count("tcpdump 'tcp[tcpflags]") == 2  # of two limits
    assert "tcpdump -ni any" not in shown(explained(TIMEOUT), width=200)


@pytest.mark.parametrize(
    "hostile", ["\x1b[31mred", "[bold]x[/bold]", "<script>", "\u202e\u2066", "\x07\x08", "a" * 9000]
)
def test_hostile_words_are_harmless(hostile: str) -> None:
    line = f"dial tcp 10.0.0.7:80: connect: connection refused {hostile}\n"
    text = shown(explained(line))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "refused (certain)" in text
