"""How the kernel at hand picks source ports: numbered facts, each tried out.

What a source port costs, which call fails when there is none, and what gives it back depends on the
kernel, and has changed several times. Each fact here is an experiment on a handful of ports in a
throwaway network namespace, which says in a few words what it saw; beside it stands what is
expected of a recent kernel, and since which one. Nothing outside the namespaces is touched.

    choosing    1   connect() alone
    binding     2   bind() before connect(), SO_REUSEADDR, SO_REUSEPORT
    latebind    3   IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
    buckets     4   what a bound port does to the automatic choice of everybody else
    timewait    5   who keeps TIME-WAIT, and who may reuse its four-tuple
    backlog     6   a listener that does not accept
    limits      7   descriptors, privileged ports, the range itself
    addresses   8   which source addresses work without having been added
    handshake   9   what a non-blocking connect() tells, and how
    counters   10   what the kernel counts, and what it does not
    udp        11   connected sockets of UDP
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Final

from loadgen.facts import base, runner
from loadgen.facts.base import Fact, Finding, Verdict
from loadgen.facts.table import markdown_row, render, render_list, summary_line, to_json

__all__ = [
    "Fact",
    "Finding",
    "Verdict",
    "all_facts",
    "markdown_row",
    "render",
    "render_list",
    "run_all",
    "summary_line",
    "to_json",
]

_SECTIONS: Final = (
    "choosing",
    "binding",
    "latebind",
    "buckets",
    "timewait",
    "backlog",
    "limits",
    "addresses",
    "handshake",
    "counters",
    "udp",
)


def all_facts(selection: Sequence[str] = ()) -> list[Fact]:
    """The facts in numeric order: all, or those with these numbers ("2.3") or of these sections ("2").

    Raises: UsageError for a number that matches no fact.
    """
    for section in _SECTIONS:
        importlib.import_module(f"loadgen.facts.{section}")
    return base.select(base.registered(), tuple(selection))


def run_all(selection: Sequence[str] = (), on_finding: Callable[[Finding], None] = lambda _: None) -> list[Finding]:
    """Run them on this kernel, in about ten seconds; the findings in numeric order.

    on_finding: called with each finding as it comes in, in any order.

    Raises: UsageError as `all_facts`; LabForbiddenError where no network namespace can be made.
    """
    return runner.run_facts(all_facts(selection), on_finding)
