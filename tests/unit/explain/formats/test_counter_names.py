"""A counter's name in one word is the kernel's group and name."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.explain.formats import counter_names
from loadgen.kernel import snmp, snmp6

NET = Path(__file__).parents[3] / "data" / "proc" / "linux-6.18" / "net"


def test_every_name_of_a_kernel_comes_back() -> None:
    names = {**snmp.read(NET), **snmp6.read(NET)}
    assert len(names) > 300
    assert [name for name in names if counter_names.dotted(name.replace(".", "")) != name] == []


@pytest.mark.parametrize("word", ["", "Tcp", "tcpInSegs", "XfrmInError", "TcpExt.TW", "IpInReceives 3"])
def test_other_words_are_none(word: str) -> None:
    assert counter_names.dotted(word) == ""
