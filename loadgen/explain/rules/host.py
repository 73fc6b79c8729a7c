"""Descriptors, memory, a rule that forbids, and the other limits that call and errno name by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loadgen.explain.case import Case, plain_number
from loadgen.explain.evidence import RuleReading
from loadgen.explain.explanation import Proof
from loadgen.explain.rules.sign import NOTHING, Rule, Sign, sign
from loadgen.explain.symptoms import Symptom
from loadgen.results.weighing import Weight

#: The name in /proc/PID/limits.
_OPEN_FILES: Final = "Max open files"


def _by_errno(_: Case, symptom: Symptom) -> Sign:
    """Call and errno say it, or the message does."""
    return sign(Weight.SUPPORTED) if symptom.complained else NOTHING


def _descriptors(case: Case, symptom: Symptom) -> Sign:
    if any(name == "ENFILE" for _, name in symptom.calls) or not symptom.calls:  # the kernel's log has the host's
        limit = case.number("fs.file-max")
        return sign(Weight.SHOWN, *([limit.proof] if limit else []), because="the host's limit, fs.file-max")
    found = [one for one in case.evidence.limits if one.name == _OPEN_FILES]
    proofs = [Proof(f"{_OPEN_FILES}: soft {_told(one.soft)}, hard {_told(one.hard)}", one.where) for one in found]
    return sign(Weight.SHOWN, *proofs, because=proofs[0].text if proofs else "")


def _told(limit: int | None) -> str:
    return "unlimited" if limit is None else f"{limit:,}"


def _memory(case: Case, symptom: Symptom) -> Sign:
    used, limits = case.gauge("sockstat.tcp_mem"), case.evidence.sysctl("net.ipv4.tcp_mem")
    proofs = []
    if used and limits and len(numbers := limits.value.split()) == 3 and plain_number(numbers[2]):
        text = f"TCP has {used.value:,} pages of memory, at most {int(numbers[2]):,} (net.ipv4.tcp_mem)"
        if used.value >= int(numbers[2]):
            return sign(Weight.SHOWN, Proof(text, used.where), because=text)
        proofs.append(Proof(text, used.where))
    return sign(Weight.SUPPORTED, *proofs) if symptom.complained else NOTHING


def _forbidden(case: Case, symptom: Symptom) -> Sign:
    rules = [Proof(f"rule: {one.text}", one.where) for one in case.evidence.rules if _forbids(one)]
    return sign(Weight.SUPPORTED, *rules) if symptom.complained else NOTHING


def _forbids(rule: RuleReading) -> bool:
    return rule.kind in ("drop", "reject")


RULES: Final[Mapping[str, Rule]] = {
    "descriptors": _descriptors,
    "memory": _memory,
    "forbidden": _forbidden,
    "refused": _by_errno,
    "reset": _by_errno,
    "unreachable": _by_errno,
    "lost": _by_errno,
    "tls": _by_errno,
    "other": _by_errno,
    "processes": _by_errno,
    "watches": _by_errno,
}
