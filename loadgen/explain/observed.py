"""Symptoms that the evidence shows without a complaint: spaces, queues and tables that are full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from loadgen.explain import accounts
from loadgen.explain.accounts import Account
from loadgen.explain.case import FULL, Case
from loadgen.explain.rules import silence
from loadgen.explain.rules.ports import rests
from loadgen.explain.symptoms import CANDIDATES, Symptom, SymptomKind
from loadgen.kernel.sockdiag import TcpState
from loadgen.results.weighing import Weight
from loadgen.strategies import Transport
from loadgen.watch.space import Reuse

#: Connections of a pair without an answer to their SYN that are more than those just under way: in number, and as a
#: share of those that are not in TIME-WAIT.
_SILENT_MIN: Final = 10
_SILENT_SHARE: Final = 0.2
#: Limits of which a gauge or a counter of this host is a symptom by itself, and those that share it.
_OF_COUNTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "conntrack": (),
    "nat-ports": (),
    "neighbours": (),
    "backlog": ("syn-loss",),
}
#: SYNs sent again that are more than what gets lost anywhere: in number, and as a share of the connections begun.
_AGAIN_MIN: Final = 10
_AGAIN_SHARE: Final = 0.01
#: Of tcp_tw_reuse, since Linux 4.19: between loopback addresses.
_REUSE_DEFAULT: Final = 2
#: Sockets that are named one by one.
_QUOTED: Final = 3


def of_case(case: Case) -> Iterator[Symptom]:
    """Yield the symptoms without a complaint."""
    for account in case.accounts:
        yield from _of_account(case, account)
    seen = Symptom((SymptomKind.NAMED,), ("none",), complained=False)
    for name, neighbours in _OF_COUNTERS.items():
        if silence.RULES[name](case, seen).weight >= Weight.STRONG:
            yield Symptom((SymptomKind.NAMED,), (name, *neighbours), count=0, complained=False)
    yield from _reuse_is_off(case)
    yield from _syns_again(case)
    if meeting := [one for listing in case.evidence.listings for one in accounts.self_connected(listing)]:
        proofs, (address, port) = tuple(proof for proof, _, _ in meeting[:_QUOTED]), meeting[0][1:]
        yield Symptom(
            (SymptomKind.NAMED,),
            ("self-connect",),
            count=0,
            source=address,
            target=address,
            target_port=port,
            proofs=proofs,
            complained=False,
        )


def _reused(case: Case, account: Account) -> bool:
    """Return True if connect() takes the ports of this space out of TIME-WAIT, so that the next connection opens."""
    reuse, timestamps = case.number("net.ipv4.tcp_tw_reuse"), case.number("net.ipv4.tcp_timestamps")
    kernel = Reuse(reuse.value if reuse else _REUSE_DEFAULT, timestamps is None or timestamps.value != 0)
    return rests(account) and kernel.applies(account.row.source, account.row.destination)


def _of_account(case: Case, account: Account) -> Iterator[Symptom]:
    row = account.row
    if row.scope == "pair":
        waiting = account.states.get(TcpState.SYN_SENT, 0)
        if account.share >= FULL and not _reused(case, account):
            yield _about(account, SymptomKind.CONNECT_NO_PORT)
        elif waiting >= _SILENT_MIN and waiting >= _SILENT_SHARE * row.in_use:
            yield _about(account, SymptomKind.SILENCE)
    elif account.share >= FULL and (row.strategy or row.transport is Transport.UDP):
        yield _about(account, SymptomKind.BIND_NO_PORT)


def _about(account: Account, kind: SymptomKind) -> Symptom:
    row = account.row
    return Symptom(
        kinds=(kind,),
        limits=CANDIDATES[kind],
        count=0,
        source=row.source,
        target=row.destination,
        target_port=row.destination_port,
        transport=row.transport,
        strategy=row.strategy,
        complained=False,
    )


def _syns_again(case: Case) -> Iterator[Symptom]:
    """Many SYNs that were sent again between two readings."""
    again, begun = case.movement("TcpExt.TCPSynRetrans"), case.movement("Tcp.ActiveOpens")
    if again is None or begun is None or not again.moved or not begun.moved:
        return
    if again.moved >= max(_AGAIN_MIN, _AGAIN_SHARE * begun.moved):
        yield Symptom((SymptomKind.NAMED,), ("syn-loss", "backlog"), count=0, complained=False)


def _reuse_is_off(case: Case) -> Iterator[Symptom]:
    """tcp_tw_reuse needs timestamps (tcp_twsk_unique(), net/ipv4/tcp_ipv4.c)."""
    reuse, timestamps = case.number("net.ipv4.tcp_tw_reuse"), case.number("net.ipv4.tcp_timestamps")
    if reuse and timestamps and reuse.value == 1 and not timestamps.value:
        proofs = (reuse.proof, timestamps.proof)
        yield Symptom(
            (SymptomKind.REUSE_OFF,), CANDIDATES[SymptomKind.REUSE_OFF], count=0, proofs=proofs, complained=False
        )
