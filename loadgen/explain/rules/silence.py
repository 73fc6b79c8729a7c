"""No answer, or a late one: tables and queues that are full, packets that are lost, a limit somewhere on the way.

All of them look the same to a client. What tells them apart are counters, and whose counters they are is often not
known: those of the client say nothing about the queue of the target. So a zero rules a full queue out only where the
evidence shows a listener of that target on the same host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from loadgen.explain.case import FULL, Case, KnownNumber, Movement
from loadgen.explain.evidence import RuleReading
from loadgen.explain.explanation import Proof
from loadgen.explain.rules.ports import place_of, proof_of, space_of, waits
from loadgen.explain.rules.sign import NOTHING, POSSIBLE, Rule, Sign, against, sign
from loadgen.explain.symptoms import Symptom, SymptomKind
from loadgen.kernel import release, retransmission
from loadgen.kernel.retransmission import RTO_MAX_MS, SYN_LINEAR, SYN_RETRIES
from loadgen.kernel.sockdiag import TcpState
from loadgen.results.weighing import Weight

#: A table this full had no room at the peaks; one with less than that had room, as in the verdict of a run.
_TABLE_FULL, _TABLE_ROOM = 0.95, 0.9
_OVERFLOWS: Final = ("TcpExt.ListenOverflows", "TcpExt.TCPReqQFullDrop")
_DEFAULT_NEIGHBOURS: Final = 1024
#: Connections that came in, as a share of those that went out, with which both ends are on one host.
_BOTH_ENDS: Final = 0.9
#: A translation with fewer ports than these has been given few on purpose.
_FEW_PORTS: Final = 28_232
#: Kernels from this one on have tcp_syn_linear_timeouts.
_LINEAR_SINCE: Final = (6, 5)


def times(case: Case) -> Iterator[Proof]:
    """Yield when the host of the evidence sends a SYN again, where its settings are known, all that it has."""
    retries, linear, longest = map(case.number, (SYN_RETRIES, SYN_LINEAR, RTO_MAX_MS))
    version = release.version(case.evidence.kernel)
    if retries is None or (linear is None and (version is None or version >= _LINEAR_SINCE)):
        return
    told = {
        name: str(one.value)
        for name, one in ((SYN_RETRIES, retries), (SYN_LINEAR, linear), (RTO_MAX_MS, longest))
        if one
    }
    if found := retransmission.of_settings(told):
        yield Proof(f"{retries.text}: a SYN is sent {found.text}", retries.where)


def _backlog(case: Case, symptom: Symptom) -> Sign:
    if symptom.kind is SymptomKind.RESET:  # a full queue resets only where it is told to (ip-sysctl.rst)
        aborts = case.number("net.ipv4.tcp_abort_on_overflow")
        if aborts is None or not aborts.value:
            return NOTHING
    if case.full_queues:
        proofs = [one.proof for one in case.full_queues]
        return sign(Weight.SHOWN, *proofs, because=proofs[0].text)
    if symptom.limits == ("backlog",) and symptom.complained:  # the kernel says so itself
        return sign(Weight.SHOWN)
    found = [one for name in _OVERFLOWS if (one := case.movement(name))]
    moved = [one for one in found if one.moved]
    if moved:
        return sign(Weight.STRONG, *map(_proof, moved), because=f"{moved[0].text}: the queue of a listener was full")
    if any(one.value and one.moved is None for one in found):
        of_target = _of_target(case, symptom)
        return sign(Weight.SUPPORTED if of_target else Weight.POSSIBLE, *(_proof(one) for one in found if one.value))
    if found and _of_target(case, symptom):
        return against(f"the listener's queue was never full ({found[0].text})")
    return POSSIBLE


def _proof(counter: Movement) -> Proof:
    return Proof(counter.text, counter.where)


def _of_target(case: Case, symptom: Symptom) -> bool:
    """Return True if the counters are those of the target: it is on loopback, or a listener of the evidence has it.

    Without a target, they are if about as many connections came in as went out: both ends are here.
    """
    if symptom.on_loopback:
        return True
    begun, came = case.movement("Tcp.ActiveOpens"), case.movement("Tcp.PassiveOpens")
    if not symptom.target and begun and came and begun.moved and came.moved:
        return came.moved >= _BOTH_ENDS * begun.moved
    return bool(symptom.target_port) and any(state is TcpState.LISTEN for _, state in case.holders(symptom.target_port))


def _syn_loss(case: Case, _: Symptom) -> Sign:
    again, overflows = case.movement("TcpExt.TCPSynRetrans"), case.movement("TcpExt.ListenOverflows")
    if case.full_queues and overflows and overflows.value:
        return against(f"the queue of a listener was full: {case.full_queues[0].proof.text}")
    rejected, recycle = case.movement("TcpExt.PAWSPassive"), case.number("net.ipv4.tcp_tw_recycle")
    if rejected and rejected.value and recycle and recycle.value:  # gone since Linux 4.12
        text = "tcp_tw_recycle rejects SYNs of clients behind one address for their time stamps"
        return sign(Weight.STRONG, _proof(rejected), recycle.proof, because=text)
    if again is None:
        return POSSIBLE
    if not again.value:
        return against("no SYN was sent again (TCPSynRetrans 0)")
    if again.moved == 0:
        return against("no SYN was sent again between the readings (TCPSynRetrans +0)")
    if again.moved and overflows and not overflows.value:
        return sign(Weight.SUPPORTED, _proof(again), _proof(overflows))
    return sign(Weight.SUPPORTED, _proof(again)) if again.moved else POSSIBLE


# --- Tables of this host --------------------------------------------------------------------------


def _conntrack(case: Case, symptom: Symptom) -> Sign:
    told = symptom.limits == ("conntrack",) and symptom.complained
    dropped = [one for name in ("drop", "early_drop") if (one := case.movement(f"conntrack.{name}")) and one.value]
    if case.tracked:
        count, size = case.tracked
        text = f"{count.value:,} of {size.value:,} entries of nf_conntrack in use"
        entries = Proof(text, count.where)
        if count.value >= _TABLE_FULL * size.value:
            shown = told or any(one.moved for one in dropped)
            return sign(Weight.SHOWN if shown else Weight.STRONG, entries, *map(_proof, dropped), because=text)
        if told:  # it was full when the kernel said so, and is not now
            doubt = f"but only {text} when they were counted, so it was full at another time"
            return replace(sign(Weight.SUPPORTED, entries), doubt=doubt)
        if count.value < _TABLE_ROOM * size.value:
            return against(f"{text}: the table had room")
    if told:
        return sign(Weight.SHOWN, *map(_proof, dropped))
    failed = case.movement("conntrack.insert_failed")
    if any(one.moved for one in dropped) and not (failed and failed.moved):
        return sign(Weight.SUPPORTED, *map(_proof, dropped))
    return NOTHING


def _nat_ports(case: Case, _: Symptom) -> Sign:
    failed = case.movement("conntrack.insert_failed")
    few = [Proof(f"rule: {one.text}", one.where) for one in case.evidence.rules if _gives_few_ports(one)]
    if failed is None:
        return sign(Weight.SUPPORTED, *few, because="a rule rewrites the source to few ports") if few else NOTHING
    if failed.moved == 0 and failed.value:  # it happened before the readings, if at all
        return POSSIBLE
    if not failed.value:
        return against(f"no packet was dropped for want of a translated port ({failed.text})")
    room = bool(case.tracked and case.tracked[0].value < _TABLE_ROOM * case.tracked[1].value)
    proofs = [_proof(failed), *few]
    if case.tracked and room:
        count, size = case.tracked
        proofs.append(Proof(f"{count.value:,} of {size.value:,} entries: the table had room", count.where))
    because = f"{failed.text}: translation found no free port"
    if failed.moved:
        return sign(Weight.STRONG if room or few else Weight.SUPPORTED, *proofs, because=because)
    return sign(Weight.STRONG if room and few else Weight.SUPPORTED, *proofs, because=because)


def given_ports(rule: RuleReading) -> int | None:
    """Return the ports that a rule gives to each destination, of all its addresses; None: it names none."""
    if rule.kind not in ("snat", "masquerade") or rule.ports is None:
        return None
    return (rule.ports[1] - rule.ports[0] + 1) * max(len(rule.addresses), 1)


def _gives_few_ports(rule: RuleReading) -> bool:
    return (given_ports(rule) or _FEW_PORTS) < _FEW_PORTS


def _neighbours(case: Case, symptom: Symptom) -> Sign:
    told = symptom.limits == ("neighbours",) and symptom.complained
    fulls = [one for name in ("neigh", "neigh6") if (one := case.movement(f"{name}.table_fulls")) and one.value]
    size = _table_size(case)
    entries = [case.gauge(f"{name}.entries") for name in ("neigh", "neigh6")]
    full = [one for one in entries if one and one.value >= _TABLE_FULL * (size.value if size else _DEFAULT_NEIGHBOURS)]
    proofs = [*map(_proof, fulls), *(one.proof for one in full), *([size.proof] if size else [])]
    if told:
        return sign(Weight.SHOWN, *proofs)
    if any(one.moved for one in fulls) or (full and size):
        return sign(Weight.STRONG, *proofs, because="the table of neighbours of this host is full")
    if fulls:
        return sign(Weight.SUPPORTED, *proofs)
    if symptom.on_loopback:
        return against("loopback has no neighbours")
    return NOTHING


def _table_size(case: Case) -> KnownNumber | None:
    return case.number("net.ipv4.neigh.default.gc_thresh3") or case.number("net.ipv6.neigh.default.gc_thresh3")


# --- On the way -----------------------------------------------------------------------------------


def _path_limit(case: Case, symptom: Symptom) -> Sign:
    account = space_of(case, symptom, by_source=False) if symptom.target else None
    if account is None:
        return POSSIBLE
    opened, waiting = (account.states.get(state, 0) for state in (TcpState.ESTABLISHED, TcpState.SYN_SENT))
    if opened and waiting:
        text = f"{place_of(account)}: {opened:,} connections are open, {waiting:,} wait for an answer to their SYN"
        return sign(Weight.SUPPORTED, Proof(text, account.row.where), account=account)
    if not opened:
        return against(f"{place_of(account)}: no connection is open")
    return POSSIBLE


def _blackhole(case: Case, symptom: Symptom) -> Sign:
    account = space_of(case, symptom, by_source=False)
    if symptom.kind is SymptomKind.CONNECT_NO_PORT:
        if account is None or account.share < FULL or not waits(account):
            return NOTHING
        text = f"attempts that nothing has answered hold the ports: {proof_of(account).text}"
        return sign(Weight.STRONG, Proof(text, account.row.where), account=account, because=text)
    if not symptom.target:
        return NOTHING
    waiting = account.states.get(TcpState.SYN_SENT, 0) if account else 0
    if account is None or not waiting or account.states.get(TcpState.ESTABLISHED, 0):
        return NOTHING
    text = f"{place_of(account)}: {waiting:,} connections wait for an answer to their SYN, and none is open"
    return sign(Weight.SUPPORTED, Proof(text, account.row.where), account=account)


RULES: Final[Mapping[str, Rule]] = {
    "conntrack": _conntrack,
    "nat-ports": _nat_ports,
    "neighbours": _neighbours,
    "backlog": _backlog,
    "syn-loss": _syn_loss,
    "path-limit": _path_limit,
    "blackhole": _blackhole,
}
