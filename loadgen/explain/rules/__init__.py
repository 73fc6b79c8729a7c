"""The evidence for and against each limit, by what was pasted: one rule for each limit.

sign        what a rule says: the weight, the words and their places
ports       no free port: every one in use, in TIME-WAIT, held by others; a source address that cannot be used
silence     no answer, or a late one: full tables and queues, lost packets, a limit on the way
host        descriptors, memory, a rule that forbids, and what an errno names by itself

A rule says what supports its limit, whether that alone shows it, and what rules it out. How the limits that share a
symptom are weighed against each other is said once, for the verdict of a run as well: `loadgen.results.weighing`.

Unknown is not zero: what was not pasted neither supports a limit nor rules it out. Counters of a host are no proof
where it is not known whether that host is the client or the target.
"""

from collections.abc import Mapping
from typing import Final

from loadgen.explain.rules import host, ports, silence
from loadgen.explain.rules.sign import Rule, Sign

RULES: Final[Mapping[str, Rule]] = {**ports.RULES, **host.RULES, **silence.RULES}

__all__ = ["RULES", "Rule", "Sign"]
