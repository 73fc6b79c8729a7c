"""Facts about how the running kernel picks source ports: numbered, each with an experiment.

The cost of a source port, the call that fails when there is none, and the event that frees it depend on the kernel,
and have changed several times. Each fact is an experiment on a handful of ports in a throwaway network namespace that
reports in a few words what it saw, beside the result expected of a recent kernel and the first kernel known to give
it. Nothing outside the namespaces is touched.

    choosing    1   connect() alone
    binding     2   bind() before connect(), SO_REUSEADDR, SO_REUSEPORT
    latebind    3   IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
    buckets     4   effect of a bound port on the automatic choice of other sockets
    timewait    5   which side keeps TIME-WAIT, and when its four-tuple can be reused
    backlog     6   a listener that does not accept
    limits      7   descriptors, privileged ports, the range itself
    addresses   8   source addresses that work without having been added
    handshake   9   results of a non-blocking connect(), and how they are reported
    counters   10   events that the kernel counts, and those it does not
    udp        11   connected UDP sockets
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Final

from loadgen.facts import base, runner
from loadgen.facts.base import Fact, FactFinding, FactVerdict
from loadgen.facts.table import markdown_row, render, render_list, summary_line, to_json

__all__ = [
    "Fact",
    "FactFinding",
    "FactVerdict",
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
    """Return the facts in numeric order: all, or those with these numbers ("2.3") or of these sections ("2").

    Raises: UsageError for a number that matches no fact.
    """
    for section in _SECTIONS:
        importlib.import_module(f"loadgen.facts.{section}")
    return base.select(base.registered(), tuple(selection))


def run_all(
    selection: Sequence[str] = (), on_finding: Callable[[FactFinding], None] = lambda _: None
) -> list[FactFinding]:
    """Run facts on this kernel, in about ten seconds, and return the findings in numeric order.

    on_finding: called with each finding as soon as it is known, in any order.

    Raises: UsageError, see `all_facts`; LabForbiddenError if no network namespace can be made.
    """
    return runner.run_facts(all_facts(selection), on_finding)
