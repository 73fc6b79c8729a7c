"""No free port: every one in use, in TIME-WAIT, held by others, or an address that cannot be used at all.

The errno says that a port is not free, not why. The account of the space says why: mostly in TIME-WAIT, mostly open,
or not full at all, so that the ports are held by sockets that ss does not list, or it is not about ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from loadgen.explain.accounts import Account, state_name
from loadgen.explain.case import FULL, ROOMY, Case
from loadgen.explain.evidence import AddressReading
from loadgen.explain.explanation import Proof
from loadgen.explain.rules.sign import NOTHING, POSSIBLE, Rule, Sign, against, sign
from loadgen.explain.symptoms import Symptom, SymptomKind
from loadgen.kernel.missing import MissingReason
from loadgen.kernel.sockdiag import TcpState
from loadgen.model import Endpoint
from loadgen.results.weighing import Weight
from loadgen.strategies import Transport

_BUCKETS: Final = "net.ipv4.tcp_max_tw_buckets"
#: Share of the sockets of a space in CLOSE-WAIT that is a leak of the program.
_LEAK: Final = 0.5


def place_of(account: Account) -> str:
    """Return a space in words: "10.0.0.5 to 10.0.0.7:443"."""
    row = account.row
    if row.scope == "pair":
        return f"{row.source} to {Endpoint(row.destination, row.destination_port)}"
    return f"{row.source}, whatever the destination"


def occupied(account: Account) -> str:
    """Return how full a space is: "28,232 of 28,232 ports in use, 27,900 of them in TIME-WAIT"."""
    row = account.row
    resting = f", {row.time_wait:,} of them in TIME-WAIT" if row.time_wait else ""
    assumed = " (the range is assumed)" if row.assumed else ""
    return f"{row.used:,} of {row.usable:,} ports in use{resting}{assumed}"


def proof_of(account: Account) -> Proof:
    """Return the space and how full it is, with its place."""
    return Proof(f"{place_of(account)}: {occupied(account)}", account.row.where)


def rests(account: Account) -> bool:
    """Return True if most of the ports in use are in TIME-WAIT."""
    return 2 * account.row.time_wait >= account.row.used


def space_of(case: Case, symptom: Symptom, *, by_source: bool) -> Account | None:
    """Return the fullest space that a symptom may be about; None: there is no account of it.

    by_source: a space of a source, whatever the destination; else one of source and destination.
    """
    transport = symptom.transport or Transport.TCP
    spaces = case.sources if by_source else case.pairs
    matching = [one for one in spaces if one.row.transport is transport and _matches(one, symptom)]
    return matching[0] if matching else None


def _matches(account: Account, symptom: Symptom) -> bool:
    row = account.row
    if symptom.source and _plain(symptom.source) not in ("", row.source):
        return False
    if row.scope == "source" or not symptom.target:
        return True
    if symptom.target_port and symptom.target_port != row.destination_port:
        return False
    target = _plain(symptom.target)
    return target in ("", row.destination)


def _is_link_local(text: str) -> bool:
    address = _plain(text)
    return bool(address) and ipaddress.ip_address(address).is_link_local


def _plain(text: str) -> str:
    """Return an address as accounts have it; "" of a name, or of all addresses."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if address.is_unspecified:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _few_sockets(case: Case) -> str:
    """Return the fact that there are too few sockets to fill any space; "" if there is none."""
    total = case.sockets
    if total and total.value < ROOMY * case.settings.count:
        return f"{total.text}, and {case.settings.count:,} ports ({case.settings.text})"
    return ""


def _unused(case: Case, symptom: Symptom) -> str:
    """Return the fact that a listing shows no socket of the source or target that failed; "" if there is none."""
    source, target = _plain(symptom.source), _plain(symptom.target)
    if not case.lists_all or symptom.transport is Transport.UDP or not (source or target):
        return ""
    return f"the listing has no connection{f' from {source}' if source else ''}{f' to {symptom.to}' if target else ''}"


def _four_tuples(case: Case, symptom: Symptom) -> Sign:
    return _full_space(case, symptom, space_of(case, symptom, by_source=False))


def _source_ports(case: Case, symptom: Symptom) -> Sign:
    if symptom.kind is SymptomKind.LISTEN:  # it is not told whether this is a client or a service
        return sign(Weight.SUPPORTED)
    account = space_of(case, symptom, by_source=True)
    found = _full_space(case, symptom, account)
    if account and account.row.strategy and found.weight >= Weight.SUPPORTED:
        why = Proof(f"{account.row.source} looks like early binding: {account.row.because}", account.row.where)
        return sign(found.weight, *found.proofs, why, account=account, because=found.because)
    return found


def _full_space(case: Case, symptom: Symptom, account: Account | None) -> Sign:
    if account is None:
        if few := _few_sockets(case) or _unused(case, symptom):
            return against(few)
        return sign(Weight.SUPPORTED) if symptom.complained else NOTHING
    if account.share >= FULL:
        if waits(account):
            return against("most of the ports in use wait for an answer")
        if rests(account):
            return against(f"{account.row.time_wait:,} of {account.row.used:,} ports in use are in TIME-WAIT")
        weight = Weight.SHOWN if symptom.complained else Weight.STRONG
        return sign(weight, proof_of(account), *_half_closed(account), account=account, because=proof_of(account).text)
    if account.share < ROOMY and account.full_listing:
        return against(f"{place_of(account)}: {occupied(account)}")
    return sign(Weight.SUPPORTED, proof_of(account), account=account)


def leaks(account: Account) -> bool:
    """Return True if most of the ports in use have a connection that the program forgot to close."""
    return account.states.get(TcpState.CLOSE_WAIT, 0) > _LEAK * account.row.used


def waits(account: Account) -> bool:
    """Return True if most of the ports in use have an attempt that nothing has answered."""
    return account.states.get(TcpState.SYN_SENT, 0) > _LEAK * account.row.used


def _half_closed(account: Account) -> Iterator[Proof]:
    """Yield the state that most connections are in, if it is one of a close that has not ended."""
    for state, why in _HALF_CLOSED.items():
        found = account.states.get(state, 0)
        if found > _LEAK * account.row.used:
            whose = f" ({account.row.owners[0][0]})" if account.row.owners else ""
            yield Proof(f"{found:,} of them are in {state_name(state)}: {why.format(whose=whose)}", account.row.where)


#: What is missing in each state, RFC 9293 3.3.2.
_HALF_CLOSED: Final = {
    TcpState.CLOSE_WAIT: "the other side has closed, and the program{whose} has not",
    TcpState.FIN_WAIT1: "this side has closed, and the other side has not acknowledged it",
    TcpState.FIN_WAIT2: "this side has closed, and the other side has not",
    TcpState.LAST_ACK: "both sides have closed, and the last acknowledgement is missing",
}


# --- TIME-WAIT ------------------------------------------------------------------------------------


def _time_wait(case: Case, symptom: Symptom) -> Sign:
    if symptom.transport is Transport.UDP:
        return against("UDP has no TIME-WAIT")
    if symptom.kind is SymptomKind.REUSE_OFF:
        return sign(Weight.STRONG)
    if symptom.kind in (SymptomKind.FIXED_PORT, SymptomKind.LISTEN):
        return _time_wait_of_port(case, symptom)
    if _port_not_told(case, symptom):
        row = next((one.row for one in case.sources if one.row.time_wait and _matches(one, symptom)), None)
        words = f"{row.time_wait:,} ports of {row.source} are in TIME-WAIT" if row else ""
        return sign(Weight.SUPPORTED, Proof(words, row.where)) if row else POSSIBLE
    account = space_of(case, symptom, by_source=symptom.kind is SymptomKind.BIND_NO_PORT)
    buckets = case.number(_BUCKETS)
    if buckets and buckets.value < ROOMY * case.settings.count:
        return against(f"the kernel keeps at most {buckets.value:,} sockets in TIME-WAIT ({buckets.text})")
    if account:
        if account.share >= FULL:
            if waits(account) or not rests(account):
                return against(f"{account.row.time_wait:,} of {account.row.used:,} ports in use are in TIME-WAIT")
            weight = Weight.SHOWN if symptom.complained else Weight.STRONG
            return sign(weight, proof_of(account), account=account, because=proof_of(account).text)
        if account.share < ROOMY and account.full_listing:
            return against(f"{place_of(account)}: {occupied(account)}")
        return sign(Weight.SUPPORTED, proof_of(account), account=account) if rests(account) else NOTHING
    if unused := _unused(case, symptom):
        return against(unused)
    resting = case.time_wait
    if resting is None:
        return POSSIBLE
    if resting.value >= FULL * case.settings.count:
        return sign(Weight.STRONG, Proof(f"{resting.value:,} sockets in TIME-WAIT", resting.where))
    if resting.value >= ROOMY * case.settings.count:
        return sign(Weight.SUPPORTED, Proof(f"{resting.value:,} sockets in TIME-WAIT", resting.where))
    if case.sockets is None:  # a count of TIME-WAIT alone, as of loadgen's doctor, may be of another time
        return POSSIBLE
    return against(f"{resting.value:,} sockets in TIME-WAIT in all, and {case.settings.count:,} ports")


def _port_not_told(case: Case, symptom: Symptom) -> bool:
    """Return True if a client may have named the port that it could not bind: then it is about that port alone.

    Where the space is full, no port was left to any client, and that explains it.
    """
    if (
        symptom.transport is Transport.UDP
        or symptom.kind is not SymptomKind.BIND_NO_PORT
        or symptom.source_port is not None
    ):
        return False
    account = space_of(case, symptom, by_source=True)
    return symptom.complained and (account is None or account.share < FULL)


def _time_wait_of_port(case: Case, symptom: Symptom) -> Sign:
    port = symptom.source_port or 0
    held = list(case.holders(port))
    resting = [proof for proof, state in held if state is TcpState.TIME_WAIT]
    if not port:
        return POSSIBLE
    others = [proof for proof, state in held if state is not TcpState.TIME_WAIT]
    if others:
        return against(f"the port is held by an open socket: {others[0].text}")
    if resting:
        return sign(Weight.SHOWN, *resting, because=resting[0].text)
    if case.lists_tcp:
        return against(f"no socket in TIME-WAIT has port {port}")
    return sign(Weight.SUPPORTED) if symptom.kind is SymptomKind.FIXED_PORT else POSSIBLE


# --- Ports that others hold -----------------------------------------------------------------------


def _port_held(case: Case, symptom: Symptom) -> Sign:
    if symptom.kind in (SymptomKind.FIXED_PORT, SymptomKind.LISTEN):
        return _holder_of_port(case, symptom)
    if _port_not_told(case, symptom):
        return sign(Weight.SUPPORTED)
    account = space_of(case, symptom, by_source=symptom.kind is SymptomKind.BIND_NO_PORT)
    if symptom.transport is Transport.UDP:  # of which every socket that has a port is listed
        return NOTHING
    unseen = "sockets that are bound and not connected hold ports, and neither ss nor netstat shows them"
    if account and account.share >= FULL:
        return against(f"{place_of(account)} is full without them")
    if account and account.full_listing:
        return sign(Weight.SUPPORTED, proof_of(account), because=f"{proof_of(account).text}; {unseen}")
    if fresh := case.unconnected:
        if fresh.value >= ROOMY * case.settings.count:
            return sign(Weight.SUPPORTED, fresh.proof, because=f"{fresh.text}; {unseen}")
        return against(f"{fresh.text}, and {case.settings.count:,} ports")
    return NOTHING


def _holder_of_port(case: Case, symptom: Symptom) -> Sign:
    port = symptom.source_port or 0
    held = [proof for proof, state in case.holders(port) if state is not TcpState.TIME_WAIT]
    if held:
        return sign(Weight.SHOWN, *held, because=f"{held[0].text} has it")
    if any(state is TcpState.TIME_WAIT for _, state in case.holders(port)):
        return against("only sockets in TIME-WAIT have the port")
    return sign(Weight.SUPPORTED) if symptom.kind is SymptomKind.LISTEN else POSSIBLE


# --- The source address ---------------------------------------------------------------------------


def _source_address(case: Case, symptom: Symptom) -> Sign:
    bound = SymptomKind.SOURCE in symptom.kinds
    found = _reason(case, symptom, bound=bound)
    if found.weight or found.refuted:
        return found
    if bound:
        return sign(Weight.SHOWN if symptom.kinds == (SymptomKind.SOURCE,) else Weight.SUPPORTED)
    if symptom.family == 6:
        return sign(Weight.SUPPORTED)
    if symptom.family is None and symptom.on_loopback:  # localhost may be ::1
        return POSSIBLE
    if symptom.family == 4:
        return against(
            "connect() says this over IPv4 only where no port is free; without an address it says ENETUNREACH"
        )
    return NOTHING


def _reason(case: Case, symptom: Symptom, *, bound: bool) -> Sign:
    """Return why the address cannot be used, as far as the evidence has addresses and settings."""
    address = _plain(symptom.source if bound else symptom.target)
    entries = [one for one in case.evidence.addresses if _plain(one.address) == address]
    if not bound and not (symptom.family == 6 and symptom.on_loopback):
        entries = []  # another host has it
    six = symptom.family == 6
    interface = "lo" if address == "::1" else next((one.device for one in entries), "")
    if six and (off := _ipv6_off(case, interface)):
        return sign(Weight.SHOWN, off, reason=MissingReason.IPV6_OFF, because="IPv6 is off")
    for entry in entries:
        if flagged := _flagged(entry):
            return flagged
    if bound and not symptom.source:
        every = [one for one in case.evidence.addresses if not _is_link_local(one.address)]
        found = {one.address: flagged for one in every if (flagged := _flagged(one))}
        if len(found) == 1:  # the only address here that bind() would refuse
            ((source, flagged),) = found.items()
            return replace(flagged, weight=Weight.STRONG, source=source)
    if bound and entries:
        there = Proof(f"{address} is on {entries[0].device or 'an interface'}", entries[0].where)
        doubt = f"but {there.text} where this was read: another host, another network namespace, or another time"
        return replace(sign(Weight.SUPPORTED, there), doubt=doubt)
    if six and not bound and entries:
        return against(f"{address} is on {entries[0].device}")
    if bound and six and not entries and (routed := _routed_here(case, address)):
        words = f"{address} is routed to this host, but on no interface"
        return sign(Weight.SHOWN, routed, reason=MissingReason.NEEDS_FREEBIND, because=words)
    if case.evidence.addresses and address and not entries and (bound or (six and symptom.on_loopback)):
        listed = case.evidence.addresses[0].where
        six_listed = any(":" in one.address for one in case.evidence.addresses)
        reason = MissingReason.IPV6_OFF if six and not six_listed else MissingReason.ABSENT
        words = "no interface has an IPv6 address" if six and not six_listed else f"no interface has {address}"
        return sign(Weight.SHOWN if bound else Weight.STRONG, Proof(words, listed), reason=reason, because=words)
    if six and not bound and address == "::1" and (on := case.number("net.ipv6.conf.lo.disable_ipv6")) and not on.value:
        return against(f"IPv6 is on ({on.text})")
    return NOTHING


def _routed_here(case: Case, address: str) -> Proof | None:
    """Return the route that makes a prefix local, where the address is in one."""
    for route in case.evidence.routes:
        try:
            network = ipaddress.ip_network(route.network, strict=False)
        except ValueError:
            continue
        if route.kind == "local" and network.num_addresses > 1 and ipaddress.ip_address(address) in network:
            return Proof(f"local {route.network} dev {route.device}", route.where)
    return None


def _ipv6_off(case: Case, interface: str) -> Proof | None:
    names = [f"net.ipv6.conf.{interface}.disable_ipv6"] if interface else []
    names.append("net.ipv6.conf.all.disable_ipv6")
    for name in names:
        if (value := case.number(name)) and value.value == 1:
            return value.proof
        if value and interface and name.startswith(f"net.ipv6.conf.{interface}."):
            return None  # the interface's own setting decides
    return None


def _flagged(entry: AddressReading) -> Sign | None:
    reasons = {"dadfailed": MissingReason.DUPLICATE, "tentative": MissingReason.TENTATIVE}
    for flag, reason in reasons.items():
        if flag in entry.flags and "optimistic" not in entry.flags:
            words = f"{entry.address} is on {entry.device}, {flag}"
            return sign(Weight.SHOWN, Proof(words, entry.where), reason=reason, because=words)
    return None


def _self_connect(_: Case, symptom: Symptom) -> Sign:
    return sign(Weight.SHOWN if symptom.limits == ("self-connect",) else Weight.NOTHING)


RULES: Final[Mapping[str, Rule]] = {
    "four-tuples": _four_tuples,
    "source-ports": _source_ports,
    "port-held": _port_held,
    "time-wait": _time_wait,
    "source-address": _source_address,
    "self-connect": _self_connect,
}
