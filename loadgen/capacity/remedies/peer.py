"""Remedies at the other side and on the way: mostly what to look at, because loadgen cannot change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from loadgen.capacity.remedies.host import opened_in_each
from loadgen.capacity.remedies.remedy import Remedy
from loadgen.capacity.remedies.situation import RemedyMaker, Situation
from loadgen.capacity.remedies.space import with_sources, with_targets
from loadgen.kernel import retransmission


def faster_accept(situation: Situation) -> Iterator[Remedy]:
    """Make the target accept as fast as connections come."""
    somaxconn, here = situation.sysctl("net.core.somaxconn"), all(target.sink for target in situation.plan.targets)
    cap = f" (here {int(somaxconn):,})" if somaxconn.isdecimal() and here else " there"
    yield Remedy("make the target accept faster, or with more processes")
    yield Remedy(f"raise the target's listen backlog, which net.core.somaxconn caps{cap}")
    program = "lower the rate of new connections to what the target accepts"
    yield Remedy("lower the arrival rate, or `in_flight`, to what the target accepts", program=program)


def find_loss(situation: Situation) -> Iterator[Remedy]:
    """Find the place where packets are lost."""
    yield Remedy(f"see which SYNs arrive (tcpdump here and at {situation.target}); a box between drops the others")
    yield Remedy("see whether a box on the way drops a SYN whose four-tuple it still remembers; use other source ports")


def wider_path(situation: Situation) -> Iterator[Remedy]:
    """Find the box that holds the number, or use another source or target; each is good for as many once more."""
    yield Remedy("raise the limit on the way: ports of a NAT gateway, its table, the target's limit for each client")
    plan, opened = situation.plan, opened_in_each(situation)
    if plan.churn or not opened:
        return
    ways = (
        (with_targets, len(plan.sources), "has ports of its own at a gateway's NAT"),
        (with_sources, len(plan.targets), "counts apart where the limit is for each client, behind no NAT"),
    )
    for way, pairs, because in ways:
        if found := way(situation, lambda changed: opened * changed.spaces, 1):
            yield replace(found[0].adding(f", which {because}"), gain=opened * pairs)


def find_silence(situation: Situation) -> Iterator[Remedy]:
    """Find where packets are lost."""
    yield Remedy("see whether SYNs arrive and answers leave (tcpdump at the target): a firewall may drop them")
    yield Remedy(f"see that {situation.target} has a way back to every source address (ip route get, there)")
    slow = "if the target is only slow"
    times = retransmission.of_settings(situation.facts.sysctls)
    if times and situation.plan.timeout_s >= times.gives_up_s:
        retries = situation.sysctl(retransmission.SYN_RETRIES)
        given_up = f"the kernel gives up after {times.gives_up_s:g} s"
        yield Remedy(f"raise {retransmission.SYN_RETRIES} above {retries}, {slow}: {given_up}")
        return
    text = f"raise `timeout` above {situation.plan.timeout_s:g} s {slow}"
    yield Remedy(text, program=f"raise the program's time-out of connect() {slow}")


def start_server(situation: Situation) -> Iterator[Remedy]:
    """Start a listener at the target."""
    yield Remedy(f"start the server at {situation.target}; a refusal means that nothing listens there")
    if not any(target.sink for target in situation.plan.targets):
        yield Remedy("or write `sink: true` at the target, and loadgen listens there itself", program=None)


def leave_target_ports(situation: Situation) -> Iterator[Remedy]:
    """Keep source ports apart from target ports."""
    yield Remedy(f"start the server at {situation.target}")
    yield Remedy(f"keep target ports outside {situation.plan.ports}, the range that source ports are taken from")


def look_at_losses(situation: Situation) -> Iterator[Remedy]:
    """Advise by the errno with which connections ended."""
    if "EOF" in situation.errnos:
        yield Remedy("look at the target's idle time-out, its limit of connections and its log")
    if "ECONNRESET" in situation.errnos:
        yield Remedy("look for a crash of the target, or a firewall that forgets idle connections")
    if "ECONNREFUSED" in situation.errnos:
        yield Remedy(f"start the server at {situation.target}; nothing has that port there")


def mend_tls(situation: Situation) -> Iterator[Remedy]:
    """Advise by the reasons for which handshakes failed."""
    errnos = situation.errnos
    remedies = []
    if "CERTIFICATE_UNKNOWN_ISSUER" in errnos:
        remedies.append(Remedy("name the file of the target's authority in `tls.ca`"))
    if "CERTIFICATE_WRONG_NAME" in errnos:
        remedies.append(Remedy("give the name that the certificate is for in `tls.server_name`"))
    if any(name.startswith("CERTIFICATE") for name in errnos):
        remedies.append(Remedy("or take every certificate with `tls.verify` false", set={"tls.verify": False}))
    if "NOT_TLS" in errnos:
        remedies.append(Remedy(f"leave out `tls`, or name the port on which {situation.target} speaks it"))
    command = f"openssl s_client -connect {situation.target}"
    yield from remedies or [Remedy(f"compare what both sides offer: {command}", command=command)]


def wait_for_answers(situation: Situation) -> Iterator[Remedy]:
    """Find why the target does not answer."""
    timeout_s = situation.plan.timeout_s
    yield Remedy("look for the target's limit of connections: those beyond it may be kept waiting (a proxy's maxconn)")
    yield Remedy(f"raise `timeout` above {timeout_s:g} s, or `heartbeat.every`, if the target is only slow")


def wider_window(situation: Situation) -> Iterator[Remedy]:
    """Allow more attempts at a time, or fewer arrivals."""
    yield Remedy(f"raise `{'churn.concurrency' if situation.plan.churn else 'in_flight'}`")
    yield Remedy("lower the rate")
    yield Remedy("find out why the target answers late")


def sentences(*texts: str) -> RemedyMaker:
    """Return a maker of remedies that are only text."""
    return lambda _: (Remedy(text) for text in texts)
