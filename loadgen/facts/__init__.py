"""Facts about how the running kernel picks source ports: numbered, each with an experiment.

The cost of a source port, the call that fails when there is none, and the event that frees it depend on the kernel,
and have changed several times. Each fact is an experiment on a handful of ports in a throwaway network namespace that
reports in a few words what it saw, beside the result expected of a recent kernel and the first kernel known to give
it. Nothing outside the namespaces is touched.

    choosing    1   connect() alone
    binding     2   bind() before connect(), SO_REUSEADDR, SO_REUSEPORT
    listening   2   wildcard addresses of both families, and who may listen
    latebind    3   IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
    narrowing   3   these options on other sockets, and values of the range
    buckets     4   effect of a bound port on the automatic choice of other sockets
    timewait    5   which side keeps TIME-WAIT, and when its four-tuple can be reused
    backlog     6   a listener that does not accept
    limits      7   descriptors, privileged ports, the range itself
    addresses   8   source addresses that work without having been added
    handshake   9   results of a non-blocking connect(), and how they are reported
    counters   10   events that the kernel counts, and those it does not
    udp        11   connected UDP sockets
    cost       12   time for each taken port, and for each socket on a port or in a hash table
    devices    13   sockets bound to a device, and VRFs
    rewriting  14   source NAT, connection tracking, BPF programs
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from loadgen.facts import base, runner
from loadgen.facts.base import Cost, Fact, FactFinding, FactVerdict
from loadgen.facts.document import to_json
from loadgen.facts.sections import SECTIONS
from loadgen.facts.table import render, render_list, summary_line

__all__ = [
    "Cost",
    "Fact",
    "FactFinding",
    "FactVerdict",
    "all_facts",
    "render",
    "render_list",
    "run_all",
    "summary_line",
    "to_json",
]


def all_facts(selection: Sequence[str] = ()) -> list[Fact]:
    """Return the facts in numeric order: all, or those with these numbers ("2.3") or of these sections ("2").

    Raises: UsageError for a number that matches no fact.
    """
    for section in SECTIONS:
        for module in section.modules:
            importlib.import_module(f"loadgen.facts.{module}")
    return base.select(base.registered(), tuple(selection))


def run_all(
    selection: Sequence[str] = (), on_finding: Callable[[FactFinding], None] = lambda _: None
) -> list[FactFinding]:
    """Run facts on this kernel, in about ten seconds, and return the findings in numeric order.

    on_finding: called with each finding as soon as it is known, in any order.

    Raises: UsageError, see `all_facts`; LabForbiddenError if no network namespace can be made.
    """
    return runner.run_facts(all_facts(selection), on_finding)
