"""The table of limits: one row for each thing that can stop a run, from its name to the changes that move it.

The plan, the refusal of a run, the verdict, the doctor and docs/verdict.md read a limit here; a new one is a new row
(and where it is first seen: a line of the plan in `loadgen.capacity.demands`, or a rule in
`loadgen.results.verdict`). Names do not change: scripts and `expect:` lines rely on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadgen.capacity import remedies
from loadgen.capacity.remedies import Remedy, RemedyMaker, Situation
from loadgen.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit.

    name: as in `verdict.limit`. sentence: the reason in a verdict; {target}, {not_started}, {window}, {because},
    {doubt}, {not_started_too} and {translator} are filled in. meaning, shown_by, helps: the columns of
    docs/verdict.md: the missing resource, the evidence, and how to change it.
    look: what would tell it from its neighbours where loadgen cannot see it, with the place; {target} is filled in.
    outcomes: of attempts, that point at this limit. also_explains: other limits that errors point at before the rules
    look closer. counters: of the kernel, that move with it; none moves when ports run out.
    makers: of its remedies, in order of effort.
    uses_ports: the plan's source ports are used up, by the run or by others. of_this_host: a resource that an arrival
    may wait for. of_open: open connections meet it; which of the targets theirs is, is not counted. planned: `loadgen
    plan` can predict it. only_slows: a run that meets it goes on, at another cost, as its plan says.
    """

    name: str
    sentence: str
    meaning: str
    shown_by: str = ""
    helps: str = ""
    look: str = ""
    outcomes: tuple[Outcome, ...] = ()
    also_explains: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    makers: tuple[RemedyMaker, ...] = ()
    uses_ports: bool = False
    of_this_host: bool = False
    of_open: bool = False
    planned: bool = False
    only_slows: bool = False

    @property
    def explains(self) -> frozenset[str]:
        """The limits that the errors of a run with this limit point at."""
        return frozenset({self.name, *self.also_explains})

    def remedies(self, situation: Situation) -> list[Remedy]:
        """Return the changes that would move the limit: those that gain enough first, each group in order of effort."""
        remedies = [remedy for maker in self.makers for remedy in maker(situation)]
        return sorted(remedies, key=lambda remedy: 0 < (remedy.gain or 0) < situation.short)


_NO_PORT: Final = ("four-tuples", "source-ports")

#: In order of nearness to loadgen, which decides between limits that cost equally many connections.
_ROWS: Final = (
    LimitRow(
        "four-tuples",
        "no free four-tuple was left",
        "a (source, target) has a connection on every port",
        "connect EADDRNOTAVAIL; the pair is (nearly) full",
        "source addresses, a wider range, more targets",
        outcomes=(Outcome.NO_FREE_FOUR_TUPLE,),
        also_explains=_NO_PORT,
        makers=(remedies.more_ports,),
        uses_ports=True,
        of_this_host=True,
        planned=True,
    ),
    LimitRow(
        "source-ports",
        "no free source port was left to bind",
        "a source address has bound every port, whatever the target",
        "bind EADDRINUSE, over UDP connect EAGAIN; the source is (nearly) full",
        "a strategy that shares ports: late-range; source addresses",
        outcomes=(Outcome.NO_FREE_PORT,),
        also_explains=_NO_PORT,
        makers=(remedies.more_ports,),
        uses_ports=True,
        of_this_host=True,
        planned=True,
    ),
    LimitRow(
        "port-held",
        "source ports that the plan counts on are held by others",
        "ports the plan counts on belong to a listener or another process",
        "the same errors while the space is not full",
        "`loadgen watch` names the holder; other `ports`; for services ip_local_reserved_ports, "
        "SO_REUSEADDR on both sides",
        also_explains=_NO_PORT,
        makers=(remedies.free_held_ports,),
        uses_ports=True,
        planned=True,
    ),
    LimitRow(
        "time-wait",
        "the source ports that were missing are in TIME-WAIT",
        "the missing ports wait out the 60 s after an earlier close",
        "as above, with enough sockets in TIME-WAIT during the ramp",
        "in churn, each with the ceiling it would put instead: connections kept alive, tcp_tw_reuse, a wider range, "
        "`close`, a strategy that may reuse, more targets or sources; else tcp_tw_reuse, or 60 s of waiting",
        also_explains=_NO_PORT,
        counters=("TcpExt.TW", "TcpExt.TWRecycled", "TcpExt.TCPTimeWaitOverflow"),
        makers=(remedies.end_time_wait,),
        uses_ports=True,
        planned=True,
    ),
    LimitRow(
        "source-address",
        "a source address cannot be used on this host",
        "a source address is absent, tentative, its interface is down, it is routed without `freebind`, or IPv6 is off",
        "bind EADDRNOTAVAIL, or connect EADDRNOTAVAIL of `kernel` with no port taken; `missing_because` in host.json",
        "by the reason: `ip address add`, an end of the detection, `freebind`, disable_ipv6=0 or IPv4",
        outcomes=(Outcome.NO_SUCH_SOURCE,),
        makers=(remedies.add_source_address,),
        of_this_host=True,
        planned=True,
    ),
    LimitRow(
        "port-search",
        "the kernel's search for a free source port took the time",
        "past half of the range (a quarter for reuseaddr) the kernel walks through taken ports for each new connection",
        "`cost_us` that rises at that occupancy, or `latency_us.bind`; the strategy is one that searches",
        "late-range, explicit or exclusive; more source addresses or targets; a wider range; more cores do not help",
        makers=(remedies.shorter_search,),
        planned=True,
        only_slows=True,
    ),
    LimitRow(
        "descriptors",
        "no file descriptor was left",
        "the limit of open files, of a process (EMFILE) or the host (ENFILE)",
        "socket EMFILE, ENFILE",
        "more workers, `ulimit -Hn`, fs.file-max",
        outcomes=(Outcome.NO_DESCRIPTOR,),
        makers=(remedies.more_descriptors,),
        of_this_host=True,
        planned=True,
    ),
    LimitRow(
        "watches",
        "this user may not have epoll watch another socket",
        "the limit of what one user has watched by epoll, over all processes",
        "register ENOSPC",
        "fs.epoll.max_user_watches",
        outcomes=(Outcome.NO_WATCH,),
        makers=(remedies.more_watches,),
        planned=True,
    ),
    LimitRow(
        "memory",
        "the kernel had no memory for more sockets",
        "the kernel has no memory for sockets",
        "ENOBUFS, ENOMEM, memory pressure counters",
        "fewer connections, tcp_mem, the control group's limit",
        outcomes=(Outcome.NO_MEMORY,),
        counters=("TcpExt.TCPMemoryPressures", "TcpExt.TCPAbortOnMemory", "TcpExt.PruneCalled"),
        makers=(remedies.more_memory,),
        of_this_host=True,
        planned=True,
    ),
    LimitRow(
        "forbidden",
        "the kernel forbade it",
        "a rule of this host says no",
        "EPERM, EACCES",
        "the rule: nft, eBPF, SELinux",
        outcomes=(Outcome.FORBIDDEN,),
        makers=(
            remedies.sentences("look for a rule that forbids it: nft list ruleset, eBPF at the control group, SELinux"),
        ),
    ),
    LimitRow(
        "conntrack",
        "the connection tracking table is nearly full",
        "the connection tracking table is nearly full; the kernel then drops silently",
        "time-outs or EPERM, and nf_conntrack_count within 5 % of its maximum as sampled during the run, or a packet "
        "dropped by the table for each attempt without an answer",
        "shorter nf_conntrack_tcp_timeout_time_wait, nf_conntrack_max, connections kept alive, untracked load",
        look="run `conntrack -S` here: drop moves when the table is full",
        also_explains=("blackhole", "forbidden"),
        counters=("conntrack.drop", "conntrack.early_drop", "TcpExt.TCPSynRetrans", "Tcp.AttemptFails"),
        makers=(remedies.more_tracking,),
        planned=True,
    ),
    LimitRow(
        "nat-ports",
        "{translator}'s address translation had no free source port for {target}",
        "a rule of this host, or of a lab's gateway, rewrites the source of packets, and its ports are taken",
        "time-outs while insert_failed of connection tracking moves with drop and the table has room; of a lab's "
        "gateway also how many of its ports are in use",
        "a wider range or more addresses in the rule (`nft list ruleset`), more targets, entries that end sooner, "
        "connections kept alive, no translation for this load",
        look="run `conntrack -S` here: insert_failed moves when translation finds no port",
        also_explains=("blackhole", "forbidden"),
        counters=("conntrack.insert_failed", "conntrack.drop", "TcpExt.TCPSynRetrans", "Tcp.AttemptFails"),
        makers=(remedies.more_nat_ports,),
        planned=True,
    ),
    LimitRow(
        "neighbours",
        "a table of neighbours on the way is full, so whole addresses get no answer",
        "this host, another on the same segment, or a router keeps no more neighbours than gc_thresh3",
        "some addresses connect always, others never; table_fulls of this host, where the table is this host's",
        "net.ipv4.neigh.default.gc_thresh3 there, fewer addresses on one segment, a gateway, a routed prefix",
        look="run `ip neigh | wc -l` and `sysctl net.ipv4.neigh.default.gc_thresh3` on the target or its router",
        also_explains=("blackhole", "unreachable", "memory"),
        counters=("neigh.table_fulls", "neigh6.table_fulls", "TcpExt.TCPSynRetrans", "Tcp.AttemptFails"),
        makers=(remedies.more_neighbours,),
        planned=True,
    ),
    LimitRow(
        "self-connect",
        "sockets connected to themselves, because nothing listens at {target}",
        "a socket connected to itself: a closed target port among the source ports",
        "getsockname and getpeername of the socket are equal",
        "start the target, keep its port out of the range",
        outcomes=(Outcome.SELF_CONNECT,),
        makers=(remedies.leave_target_ports,),
    ),
    LimitRow(
        "backlog",
        "{target} did not accept fast enough and its queue overflowed",
        "the target's accept queue is full, or was",
        "ListenOverflows or ListenDrops of the target's namespace; out of sight, connects that took a second or more",
        "a faster target, a longer backlog, a lower rate",
        look="run `nstat -az TcpExtListenOverflows` on the host of {target}: it moves when the queue is full",
        also_explains=("blackhole",),
        counters=(
            "TcpExt.ListenOverflows",
            "TcpExt.ListenDrops",
            "TcpExt.TCPReqQFullDoCookies",
            "TcpExt.TCPSynRetrans",
            "softnet.dropped",
        ),
        makers=(remedies.faster_accept,),
    ),
    LimitRow(
        "syn-loss",
        "packets were lost on the way to {target}, and their SYN was sent again",
        "packets that begin a connection get lost between this host and the target, whose queue is not full",
        "TCPSynRetrans, connects that took the time of a repeated SYN, and no overflow of the listener",
        "the box on the way that drops them; reuse of a four-tuple that it still remembers",
        look="run `tcpdump 'tcp[tcpflags] & tcp-syn != 0'` at {target}: what does not arrive is lost on the way",
        also_explains=("blackhole",),
        counters=("TcpExt.TCPSynRetrans", "TcpExt.TCPTimeouts", "Tcp.AttemptFails", "softnet.dropped"),
        makers=(remedies.find_loss,),
    ),
    LimitRow(
        "target-time-wait",
        "SYNs met TIME-WAIT at {target}, and their time stamps were behind those of the connection before",
        "the target closed first and has TIME-WAIT of the same four-tuple, and the new SYN has an older time stamp "
        "(RFC 7323 5): it is of another client behind one NAT address, or of another source port",
        "PAWSTimewait of the target's namespace (before Linux 6.15 PAWSEstabRejected) moves as SYNs are sent again",
        "a NAT that remembers connections as long as the target has TIME-WAIT, more NAT ports or addresses, "
        "a client that closes first, connections kept alive",
        look="run `nstat -az TcpExtPAWSTimewait TcpExtPAWSEstabRejected` on the host of {target}: they move with each",
        also_explains=("blackhole",),
        counters=("TcpExt.PAWSTimewait", "TcpExt.PAWSEstabRejected", "TcpExt.TCPSynRetrans"),
        makers=(remedies.outlast_time_wait,),
    ),
    LimitRow(
        "path-limit",
        "something on the way to {target} lets no more connections through",
        "a box on the way, or the target, holds a number of connections for this client and drops the next silently",
        "the first connections of a source and target open at once, none of the later ones does",
        "NAT ports of a gateway, its table, a limit per client at the target; more source addresses or targets",
        look="run `conntrack -S` on each gateway on the way to {target}: insert_failed or drop moves at a full table",
        also_explains=("blackhole",),
        counters=("TcpExt.TCPSynRetrans", "TcpExt.TCPTimeouts", "Tcp.AttemptFails"),
        makers=(remedies.wider_path,),
    ),
    LimitRow(
        "blackhole",
        "{target} did not answer",
        "no answer came, and nothing says why",
        "time-outs of whole pairs of source and target; packets the cores dropped (softnet, of the whole host)",
        "firewall, way back, `timeout`",
        look="run `tcpdump 'tcp[tcpflags] & tcp-syn != 0'` at {target}: do SYNs arrive, and do answers leave?",
        outcomes=(Outcome.TIMED_OUT,),
        counters=("TcpExt.TCPSynRetrans", "TcpExt.TCPTimeouts", "Tcp.AttemptFails", "softnet.dropped"),
        makers=(remedies.find_silence,),
    ),
    LimitRow(
        "refused",
        "{target} refused",
        "nothing listens at the target, or a rule on the way rejects",
        "ECONNREFUSED",
        "start it, or `sink: true`",
        outcomes=(Outcome.REFUSED,),
        counters=("Tcp.AttemptFails",),
        makers=(remedies.start_server,),
    ),
    LimitRow(
        "reset",
        "{target} reset the connection",
        "the target took the SYN and reset",
        "ECONNRESET from connect",
        "the target's log",
        outcomes=(Outcome.RESET,),
        counters=("Tcp.EstabResets", "Tcp.AttemptFails", "TcpExt.ListenOverflows"),
        makers=(remedies.sentences("look at the target's log: it takes connections and drops them at once"),),
    ),
    LimitRow(
        "unreachable",
        "{target} cannot be reached",
        "no route, or a router said so",
        "ENETUNREACH, EHOSTUNREACH",
        "`ip route get`",
        outcomes=(Outcome.UNREACHABLE,),
        makers=(remedies.sentences("see which way packets take: ip route get TARGET from SOURCE"),),
    ),
    LimitRow(
        "lost",
        "connections with {target} ended while they were held",
        "held connections ended: the other side closed them, or they were broken",
        "recv EOF (orderly), ECONNRESET (RST) or ETIMEDOUT (data that was never acknowledged)",
        "the target's idle time-out and limits; firewalls that forget",
        outcomes=(Outcome.LOST,),
        counters=("Tcp.EstabResets", "Tcp.OutRsts", "TcpExt.ListenOverflows", "Udp.NoPorts", "Udp.RcvbufErrors"),
        of_open=True,
        makers=(remedies.look_at_losses,),
    ),
    LimitRow(
        "tls",
        "TLS handshakes with {target} failed",
        "TLS handshakes failed",
        "tls, with the reason instead of an errno",
        "`tls.ca`, `tls.server_name`; the port",
        outcomes=(Outcome.CERTIFICATE, Outcome.TLS),
        of_open=True,
        makers=(remedies.mend_tls,),
    ),
    LimitRow(
        "unanswered",
        "{target} left open connections without an answer",
        "connections were taken, and what they sent was not answered",
        "wait ETIMEDOUT on open connections; more than 1 % of the heartbeats missed",
        "the target's limit of connections; `timeout`",
        also_explains=("blackhole",),
        of_open=True,
        makers=(remedies.wait_for_answers,),
    ),
    LimitRow(
        "wrong-reply",
        "{target} gave replies that are not the right ones",
        "the target answered something else than `protocol` expects",
        "`traffic.wrong`",
        "the target's answer, its log; `protocol`",
        of_open=True,
        makers=(
            remedies.sentences(
                "look at what the target answers, and at its log: it may have a limit of connections, or want a login",
                "or mend what `protocol` expects",
            ),
        ),
    ),
    LimitRow(
        "other",
        "system calls failed for a reason loadgen has no name for",
        "an errno loadgen has no name for",
        "system call and errno",
        outcomes=(Outcome.OTHER,),
    ),
    LimitRow(
        "in-flight",
        "{not_started:,} connections never started: a worker's window of {window:,} attempts was full",
        "arrivals found the window of waiting attempts full that their worker has",
        "connections never started, nothing failed",
        "`in_flight`, a lower rate",
        makers=(remedies.wider_window,),
    ),
    LimitRow(
        "interrupted",
        "the run was interrupted{not_started_too}",
        "Ctrl-C came first",
    ),
    LimitRow(
        "incomplete",
        "the run was cut off{not_started_too}: {because}",
        "a process of loadgen was lost",
        "the reason, and events.jsonl",
        "run again",
        makers=(remedies.sentences("look at events.jsonl for the process that was lost, then run again"),),
    ),
    LimitRow(
        "paused",
        "loadgen was stopped for a time: {pause}",
        "loadgen was stopped for a time, and the load with it",
        "`generator.paused`: for how long, and by what as far as it was seen",
        "run again without a pause",
        makers=(
            remedies.sentences(
                "run again and let it run: no Ctrl-Z, no SIGSTOP, no suspended machine, no paused container"
            ),
        ),
    ),
    LimitRow(
        "generator",
        "loadgen itself was the bottleneck: {doubt}",
        "loadgen was late itself, so its numbers are about itself",
        "lateness or stalls, with the workers' CPU time outside system calls, connects much longer than "
        "`latency_us.network`, or a kernel that was quick",
        "a lower rate, more cores",
        makers=(remedies.sentences("lower the rate", "run on a machine with more cores, or with less else to do"),),
    ),
    LimitRow(
        "none",
        "no limit was met",
        "all connections opened, and stayed",
    ),
)

#: A limit that only a plan knows: a run that would meet it is refused.
_PROCESSES: Final = LimitRow(
    "processes",
    "no process could be started",
    "the limit of processes, of the user, the control group or the host",
    makers=(remedies.fewer_processes,),
    planned=True,
)

#: The limits that a verdict names.
LIMITS: Final[dict[str, LimitRow]] = {row.name: row for row in _ROWS}
#: These, and those that only a plan names.
EVERY_LIMIT: Final[dict[str, LimitRow]] = {**LIMITS, _PROCESSES.name: _PROCESSES}
#: The limit that an outcome points at.
LIMIT_OF_OUTCOME: Final[dict[Outcome, str]] = {outcome: row.name for row in _ROWS for outcome in row.outcomes}
