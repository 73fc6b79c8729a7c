"""The sentence of a finding: what was seen, and the limit that explains it, as far as the evidence goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.explain.accounts import Account
from loadgen.explain.rules.ports import occupied, place_of
from loadgen.explain.symptoms import Symptom, SymptomKind
from loadgen.model import Endpoint
from loadgen.results.weighing import Weight

if TYPE_CHECKING:
    from loadgen.explain.judge import Judged

#: Figures of a run in the sentences of that table, which nothing else has.
_OF_A_RUN: Final = ("{not_started", "{because}", "{doubt}", "{pause}")
#: Reasons that are worded for a run in the table of limits.
_REASONS: Final = {
    "port-held": "the source ports that were missing are held by other sockets",
    "source-address": "the source address cannot be used on this host",
    "other": "it is no limit that loadgen knows",
    "conntrack": "the connection tracking table is full, or was",
    "neighbours": "a table of neighbours is full, so new addresses on the segment get no answer",
    "forbidden": "a rule of this host, or of its kernel, forbids it",
    "reset": "{target} took the SYN and reset the connection",
}


def target_of(account: Account) -> str:
    """Return the destination of a pair in words; "" of a source."""
    row = account.row
    return str(Endpoint(row.destination, row.destination_port)) if row.scope == "pair" else ""


def reason(limit: str, symptom: Symptom) -> str:
    """Return what a limit says, for this symptom."""
    port = symptom.source_port
    if symptom.kind is SymptomKind.LISTEN:
        what = {"port-held": "another socket has", "time-wait": "a connection in TIME-WAIT has"}
        if limit in what:
            return f"{what[limit]} port {port}" if port else f"{what[limit]} the port"
    if symptom.kind is SymptomKind.FIXED_PORT:
        what = {
            "port-held": "another socket has port {}",
            "time-wait": "the last connection from port {} is in TIME-WAIT",
        }
        if limit in what:
            return what[limit].format(port)
    template = _REASONS.get(limit) or EVERY_LIMIT[limit].sentence
    if any(word in template for word in _OF_A_RUN):
        return EVERY_LIMIT[limit].meaning
    return template.format(target=symptom.to or "the target", translator="this host")


def sentence(judged: Judged) -> str:
    """Return the sentence of a finding."""
    symptom, sign = judged.symptom, judged.sign
    because = f": {sign.because}" if sign.because else ""
    if symptom.kind is SymptomKind.REUSE_OFF:
        return "tcp_tw_reuse=1 has no effect while tcp_timestamps=0: no port leaves TIME-WAIT early."
    if symptom.limits == ("other",) and not symptom.calls:
        whose = " and ".join(symptom.programs) or "the program"
        return f"{_seen(symptom)}: a setting of {whose}, not a limit of the kernel."
    if not symptom.complained:
        if sign.account:
            return f"{_nearly(judged, sign.account)}."
        return f"{_first_up(reason(judged.limit, symptom))}{because}."
    if judged.reasoned.confidence == "open" and not judged.reasoned.candidates:
        facts = ", and ".join(one.because for one in judged.reasoned.refuted)
        return f"{_seen(symptom)}: the evidence contradicts itself, because {facts}."
    if judged.reasoned.candidates[1:] and judged.limit == "blackhole":  # which only says what was seen
        others = ", or that ".join(reason(name, symptom) for name in judged.named[1:])
        return f"{_seen(symptom)}: {reason('blackhole', symptom)}; it may be that {others}{because}."
    if judged.reasoned.candidates[1:]:
        either = ", or ".join(reason(name, symptom) for name in judged.named)
        return f"{_seen(symptom)}: the evidence does not decide; either {either}{because}."
    if sign.doubt:
        return f"{_seen(symptom)}: {reason(judged.limit, symptom)}, {sign.doubt}."
    likely = "most likely " if judged.reasoned.confidence == "likely" else ""
    return f"{_seen(symptom)}: {likely}{reason(judged.limit, symptom)}{because}{_unless(judged)}."


def _nearly(judged: Judged, account: Account) -> str:
    how = "every port is in use" if not account.row.free else "nearly every port is in use"
    if judged.symptom.kind is SymptomKind.SILENCE:
        return f"{place_of(account)}: connections wait for an answer to their SYN; {_either(judged)}"
    return f"{place_of(account)}: {how} ({occupied(account)}), so that the next connections fail"


def _either(judged: Judged) -> str:
    named = [reason(name, judged.symptom) for name in judged.named]
    return named[0] if len(named) == 1 else "either " + ", or ".join(named)


def _unless(judged: Judged) -> str:
    """Return the limits that cannot be seen in this evidence, and would explain it as well."""
    hidden = [
        name
        for name, sign in judged.signs.items()
        if sign.weight is Weight.POSSIBLE and name != judged.limit and not sign.refuted
    ]
    if judged.reasoned.confidence != "likely" or not hidden:
        return ""
    return f", unless {', or '.join(reason(name, judged.symptom) for name in hidden)}"


def _seen(symptom: Symptom) -> str:
    who = ", ".join(symptom.programs[:3]) or "a program"
    if not symptom.call:
        said = "the log of the kernel" if who == "kernel" else who
        return said + _times(symptom.count)
    place = _place(symptom)
    return f"{who}: {symptom.call}{place}{_times(symptom.count)}"


def _place(symptom: Symptom) -> str:
    source = ""
    if symptom.source:
        port = f":{symptom.source_port}" if symptom.source_port is not None else ""
        host = f"[{symptom.source}]" if ":" in symptom.source and port else symptom.source
        source = f" at {host}{port}" if symptom.listening else f" from {host}{port}"
    elif symptom.source_port:
        source = f" at port {symptom.source_port}"
    return f"{source} to {symptom.to}" if symptom.to else source


def _times(count: int) -> str:
    return f", {count:,} times" if count > 1 else ""


def _first_up(text: str) -> str:
    return text if text.startswith(("tcp_", "net.")) else text[:1].upper() + text[1:]
