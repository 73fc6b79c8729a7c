"""Section 14: source NAT and BPF programs, which change ports between a program and the wire.

Sources: get_unique_tuple() and nf_nat_l4proto_unique_tuple() in net/netfilter/nf_nat_core.c; __nf_conntrack_confirm()
in net/netfilter/nf_conntrack_core.c; nft(8), statement snat; tools/testing/selftests/bpf/prog_tests/sock_addr.c.
"""

from __future__ import annotations

import socket
from typing import Final

from loadgen.facts import sock_addr
from loadgen.facts.base import CannotRunError, fact
from loadgen.facts.experiment import (
    FREEBIND6,
    LOCAL,
    LOCAL6,
    REUSEADDR,
    TARGET,
    Address,
    Attempt,
    Bench,
    Option,
    add_local_route,
    close_in_turn,
    in_both_families,
)
from loadgen.lab import rules

#: For each loopback address: the family's name in nft(8), a target, two clients, and the address of the NAT.
_NETS: Final = {
    LOCAL: ("ip", LOCAL, "127.0.0.2", "127.0.0.3", "127.0.0.9"),
    LOCAL6: ("ip6", "fd00:9::1", "fd00:9::2", "fd00:9::3", "fd00:9::9"),
}
#: A SYN that the NAT lets pass is answered within connect(), because all is on loopback.
_DROPPED_S: Final = 0.1


class NatBench(Bench):
    """A target behind source NAT, and clients that bind their addresses.

    family: the loopback address of the family. ports: of the NAT, "" for those of nft(8)'s own choice.
    """

    def __init__(self, family: str, ports: str = "") -> None:
        kind, address, self.client, self.other_client, nat = _NETS[family]
        self._options: tuple[Option, ...] = (REUSEADDR,)
        if family == LOCAL6:
            add_local_route("fd00:9::/64")
            self._options += (FREEBIND6,)
        to = f"[{nat}]:{ports}" if ports and family == LOCAL6 else f"{nat}:{ports}" if ports else nat
        rules.load(
            "the rules of this fact",
            f"table {kind} nat {{\n  chain out {{\n    type nat hook postrouting priority srcnat;\n"
            f"    {kind} saddr {{ {self.client}, {self.other_client} }} tcp dport {TARGET[1]} snat to {to}\n  }}\n}}\n",
            of_sinks=False,
        )
        self.target: Address = (address, TARGET[1])
        listening = self.listen(self.target, *self._options)
        if not listening.ok:
            raise CannotRunError(f"no listener behind the NAT: {listening}")
        self.listener = listening.sock

    def through(self, client: str, port: int) -> tuple[Attempt, socket.socket | None]:
        """Connect from a client's port; return the result, and the server's socket. A failed client is closed."""
        attempt = self.connect(self.target, *self._options, bind=(client, port), timeout_s=_DROPPED_S)
        if not attempt.ok:
            attempt.sock.close()
            return attempt, None
        server, _ = self.listener.accept()
        self.kept.append(server)
        return attempt, server

    def closed(self, port: int) -> str:
        """Connect from a port of the first client and close there; return the result of connect()."""
        attempt, server = self.through(self.client, port)
        if server is not None:
            close_in_turn(attempt.sock, server)
        return attempt.answer


@fact(
    "14.1",
    "source NAT keeps a source port that is free, and replaces one in use; the client is not told",
    expected="2 clients on port 40000, the target sees: 40000, another; getsockname: 40000, 40000; IPv6: the same",
    meaning="Ports in the log of a server behind NAT are not those of the client, and the NAT has one range for each "
    "target, however many clients there are.",
    source="get_unique_tuple(), net/netfilter/nf_nat_core.c",
)
def _replaced() -> str:
    return in_both_families(_clashing)


def _clashing(family: str) -> str:
    bench = NatBench(family)
    seen, named = [], []
    for client in (bench.client, bench.other_client):
        attempt, server = bench.through(client, 40000)
        if server is None:
            return str(attempt)
        seen.append("40000" if server.getpeername()[1] == 40000 else "another")
        named.append(str(attempt.port))
    return f"2 clients on port 40000, the target sees: {', '.join(seen)}; getsockname: {', '.join(named)}"


@fact(
    "14.2",
    "a NAT without a free port drops the SYN: connect() waits",
    expected="4 ports: 4 connected, then connect timeout; IPv6: the same",
    meaning="Exhausted ports of a NAT look like packet loss, with no errno; on the NAT's host `conntrack -S` counts "
    "insert_failed. Give it more addresses.",
    source="__nf_conntrack_confirm(), net/netfilter/nf_conntrack_core.c",
)
def _no_port_outside() -> str:
    return in_both_families(_filled)


def _filled(family: str) -> str:
    bench = NatBench(family, "50000-50003")
    results = [bench.through(bench.client, 40000 + number)[0] for number in range(5)]
    return f"4 ports: {sum(attempt.ok for attempt in results)} connected, then {results[-1]}"


@fact(
    "14.3",
    "a client may reopen its own closed four-tuple through connection tracking and NAT, at once",
    expected="1 port outside, the same source port 4 times: ok, ok, ok, ok; IPv6: the same",
    meaning="Entries of closed connections (120 s) do not get in the way of strategy `explicit`, nor of tcp_tw_reuse.",
    source="nf_conntrack_tcp_packet(), net/netfilter/nf_conntrack_proto_tcp.c; RFC 9293 3.6.1",
)
def _own_again() -> str:
    return in_both_families(_reopened)


def _reopened(family: str) -> str:
    bench = NatBench(family, "50000")
    return f"1 port outside, the same source port 4 times: {', '.join(bench.closed(40000) for _ in range(4))}"


@fact(
    "14.4",
    "a NAT gives the port of a closed connection to another, if the sequence number has advanced: every second time",
    expected="1 port outside, closed: free for another source port within 20",
    since="6.5",
    meaning="A short port range of a NAT sustains more churn than its size per 120 s. Before, or by chance, connect() "
    "waits until the entry expires (nf_conntrack_tcp_timeout_time_wait).",
    source="nf_nat_used_tuple_harder(), net/netfilter/nf_nat_core.c; 458972550287",
)
def _another_source() -> str:
    bench = NatBench(LOCAL, "50000")
    first = bench.closed(40000)
    if first != "ok":
        raise CannotRunError(f"no connection through the NAT: {first}")
    # Initial sequence numbers of different four-tuples are unrelated: one try fails every second time, twenty do so
    # once in a million.
    free = any(bench.through(bench.client, port)[0].ok for port in range(40001, 40021))
    return f"1 port outside, closed: {'free for another source port within 20' if free else 'not free'}"


@fact(
    "14.5",
    "a BPF program of a control group can rewrite source port and target, and hide both from getsockname()",
    expected="bind 40000, connect 9000: ok; getsockname 40000, getpeername 9000; on the wire 40001 to 9001; IPv6: "
    "the same",
    since="5.8",
    meaning="Under Cilium's socket load balancing, or what works like it, the four-tuple that a program sees is not "
    "the one that the kernel counts: ask ss, which shows the real one.",
    source="tools/testing/selftests/bpf/prog_tests/sock_addr.c; bpf_sock_addr, include/uapi/linux/bpf.h; 1b66d253610c",
)
def _bpf() -> str:
    with sock_addr.rewriting({40000: 40001}, {9000: 9001}):
        return in_both_families(_rewritten)


def _rewritten(address: str) -> str:
    bench = Bench()
    (listener,) = bench.listeners((address, 9001))
    attempt = bench.connect((address, 9000), bind=(address, 40000))
    if not attempt.ok:
        return f"bind 40000, connect 9000: {attempt}"
    _, peer = listener.accept()
    names = f"getsockname {attempt.port}, getpeername {attempt.sock.getpeername()[1]}"
    return f"bind 40000, connect 9000: ok; {names}; on the wire {peer[1]} to {listener.getsockname()[1]}"
