"""Recipes for limits of the host itself: addresses, descriptors, permissions, the connection tracking table."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from loadgen import format as fmt
from loadgen.kernel.missing import MissingReason
from loadgen.model import PortRange
from loadgen.reproduce.draft import CHOSEN, Draft, Noted
from loadgen.reproduce.of_path import chain, destinations, timed_out
from loadgen.reproduce.rebuilt import NotReproducibleError, Rebuilt, expect, require_tcp
from loadgen.scenario.fields import DESCRIPTORS_MAX
from loadgen.strategies import Strategy, Transport

_IPV6_OFF: Final = "net.ipv6.conf.lo.disable_ipv6"
#: An address that no lab has, by IP version.
_ABSENT: Final = {4: "198.18.0.77", 6: "fd00:77::1"}
#: Descriptors that a worker has at least, and those of a scaled one.
_DESCRIPTORS_MIN: Final = 128
_DESCRIPTORS: Final = 256
#: Entries that are left in the tracking table.
_TRACKING_LEFT: Final = 60
_WIDEST: Final = PortRange(1024, 65535)
_PORTS_OF_TARGET: Final = 40


def source_address(rebuilt: Rebuilt) -> Draft:
    """Return connections from an address that this host cannot use, by the reason of the evidence."""
    facts = rebuilt.circumstances
    reason = facts.reason
    binds = (facts.fails or ("", ""))[0] == "bind" or (facts.strategy is not None and facts.strategy.row.binds_address)
    six = any(":" in source.rpartition("%")[0] or source.count(":") > 1 for source in facts.sources)
    of_ipv6 = reason in (MissingReason.IPV6_OFF, MissingReason.NO_IPV6)
    if not binds and not of_ipv6 and facts.fails:
        of_ipv6 = six = True  # connect() without bind() fails in this way where its family has no address at all
    known = facts.strategy
    offered = known and (facts.transport is Transport.TCP or known.row.udp)
    strategy = known if known and offered and known.row.binds_address == binds else None
    strategy = strategy or (Strategy.LATE if binds or not of_ipv6 else Strategy.KERNEL)
    plain = replace(facts, sources=(), targets=("[::1]:9000",) if of_ipv6 or six else (), strategy=strategy, fails=None)
    alone = replace(rebuilt.resized(None), circumstances=plain)
    draft = alone.draft("The source address cannot be used on this host.", sink=not of_ipv6)
    draft.sources["strategy"] = Noted(
        strategy.value, rebuilt.because("strategy", otherwise="it fails in the same call")
    )
    why = rebuilt.because("sources", "here an address of the lab")
    if of_ipv6:
        draft.sysctls[_IPV6_OFF] = Noted(1, rebuilt.because("reason"))
        draft.sources["addresses"] = Noted("::1", why)
        if reason == MissingReason.NO_IPV6:
            draft.about.append("There the kernel runs without IPv6; here IPv6 is off, which fails in the same way.")
    else:
        draft.sources["addresses"] = Noted(_ABSENT[6 if six else 4], why)
    if not of_ipv6 and reason not in ("", MissingReason.ABSENT):
        draft.about.append(
            f"There the address is {fmt.on_one_line(reason)[:40]}, which a lab cannot rebuild; here it is on no "
            "interface: the call, the errno and the limit are the same, the remedy is not."
        )
    draft.keys["connections"] = Noted(5, f"{CHOSEN}: each of them fails")
    call = "connect" if not strategy.row.binds_address else "bind"
    return expect(draft, rebuilt, "source-address", error=f"{call}.EADDRNOTAVAIL")


def descriptors(rebuilt: Rebuilt) -> Draft:
    """Return more connections than one process may have descriptors."""
    facts = rebuilt.circumstances
    if facts.fails and facts.fails[1] == "ENFILE":
        raise NotReproducibleError(
            "the whole host is out of descriptors (ENFILE), and fs.file-max exists once per host; a lab has none of "
            "its own. With EMFILE, the limit of one process, it can be rebuilt"
        )
    known = facts.descriptors
    number = max(_DESCRIPTORS_MIN, min(known or _DESCRIPTORS, DESCRIPTORS_MAX if rebuilt.full_size else _DESCRIPTORS))
    wanted = number + number // 3
    plain = replace(facts, sources=facts.sources[:1], targets=facts.targets[:1], fails=None, source_port=None)
    alone = replace(rebuilt.resized(None), circumstances=plain)
    draft = alone.draft("One process wants more connections than it may have files open.")
    if known and number < known:
        draft.about.append(f"Scaled so that it takes seconds: {number:,} descriptors instead of {known:,}.")
    if wanted > 20_000:  # more than the ports of one target
        draft.sysctls["net.ipv4.ip_local_port_range"] = Noted(
            f"{_WIDEST.low} {_WIDEST.high}", f"{CHOSEN}: room for all"
        )
        address = str(alone.ends.targets[0]).rpartition(":")[0]
        targets = -(-wanted // 50_000)
        draft.targets = [Noted({"address": f"{address}:900-{899 + targets}", "sink": True}, f"{CHOSEN}: room for all")]
    draft.keys["connections"] = Noted(wanted, f"{CHOSEN}: a third more")
    draft.keys["workers"] = Noted(1, "one process, as there")
    draft.keys["descriptors"] = Noted(
        number, rebuilt.because("descriptors", rebuilt.instead_of(number, known or number, ""))
    )
    return expect(draft, rebuilt, "descriptors", error="socket.EMFILE")


def memory(rebuilt: Rebuilt) -> Draft:
    """Refuse: what ran out exists once per host."""
    raise NotReproducibleError(
        "memory for sockets cannot run out in a lab alone: tcp_mem and udp_mem exist once per host, and a limit of a "
        "control group is set outside of loadgen. Run more connections inside a control group with a small memory.max: "
        f"systemd-run --scope -p MemoryMax=... loadgen run ({rebuilt.circumstances.limit})"
    )


def forbidden(rebuilt: Rebuilt) -> Draft:
    """Return connections that a rule forbids."""
    facts = rebuilt.circumstances
    rebuilt = rebuilt.resized(None)
    if facts.transport is Transport.UDP:
        draft = rebuilt.draft("A rule of this host drops what is sent, and send() says so.")
        rule = f"{destinations(rebuilt.ends.targets, facts.transport)} drop"
        draft.lab["rules"] = Noted(chain("output", rule), f"{CHOSEN}: stands in for the rule of the other host")
        draft.keys["connections"] = Noted(5, f"{CHOSEN}: each of them fails")
        draft.keys["protocol"] = Noted("echo", "connect() sends nothing over UDP")
        return expect(draft, rebuilt, "forbidden", error="send.EPERM")
    plain = replace(facts, sources=(), targets=("[::1]:9000",), fails=None, source_port=None)
    alone = replace(rebuilt, circumstances=plain)
    draft = alone.draft("A rule says that the connection is forbidden.")
    rule = f"{destinations(alone.ends.targets, Transport.TCP)} reject with icmpv6 type admin-prohibited"
    draft.lab["rules"] = Noted(
        chain("output", rule), f"{CHOSEN}: the answer that makes connect() say EACCES, of IPv6 only"
    )
    if facts.fails and facts.fails[1] != "EACCES":
        draft.about.append(
            "There it is EPERM, which eBPF programs and security modules say; a lab has none of them, so here it is "
            "EACCES: the limit is the same."
        )
    draft.keys["connections"] = Noted(5, f"{CHOSEN}: each of them fails")
    draft.keys["timeout"] = Noted("5s", f"{CHOSEN}: the answer counts when the SYN is repeated, a second later")
    return expect(draft, rebuilt, "forbidden", error="connect.EACCES")


def conntrack(rebuilt: Rebuilt) -> Draft:
    """Return connections that find the connection tracking table full."""
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None)
    facts = rebuilt.circumstances
    draft = rebuilt.draft(
        f"The connection tracking table has room for {_TRACKING_LEFT} entries. Its size is that of the host, so the "
        "rest of it is filled with entries of connections that never were."
    )
    draft.lab["rules"] = Noted(
        chain("input", "ct state established,related accept"), "a rule that has connections tracked"
    )
    known = f"of {facts.tracked_max:,} there" if facts.tracked_max else ""
    draft.lab["tracking_left"] = Noted(_TRACKING_LEFT, f"{CHOSEN}; {rebuilt.because('tracked_max', known)}")
    count = _TRACKING_LEFT + 60
    draft.keys["connections"] = Noted(count, f"{CHOSEN}: twice as many as find room")
    return timed_out(rebuilt, draft, "conntrack")


def self_connect(rebuilt: Rebuilt) -> Draft:
    """Return connections to a closed port of the range, from the same address."""
    require_tcp(rebuilt)
    facts = rebuilt.circumstances
    six = any(target.startswith("[") for target in facts.targets)
    plain = replace(facts, sources=(), targets=("[::1]:9000",) if six else (), fails=None, ports=None, strategy=None)
    alone = replace(rebuilt.resized(8), circumstances=replace(plain, reserved=(), held=(), source_port=None))
    draft = alone.draft(
        "Nothing listens at a port of the range, and at times connect() takes that very port.", sink=False
    )
    address = "::1" if six else "127.0.0.1"
    shown = f"[{address}]" if six else address
    # Of the parity of the low end, which connect() prefers.
    port = alone.scale.ours.low + len(alone.scale.ours) // 2
    draft.sources["addresses"] = Noted(address, "that of the target, as for every loopback target")
    draft.targets = [Noted({"address": f"{shown}:{port}"}, rebuilt.because("targets", "in the range of the lab"))]
    draft.keys["connections"] = Noted(60, f"{CHOSEN}: one in eight meets itself")
    return expect(draft, rebuilt, "self-connect", error="getsockname.SELF")
