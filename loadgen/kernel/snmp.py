"""The protocol counters of one network namespace: /proc/net/snmp and /proc/net/netstat.

Each file has pairs of lines, names above values, both preceded by the group: `Tcp: ActiveOpens ...` and `Tcp: 21 ...`.
The columns depend on the kernel, so all of them are passed on, under the names of nstat(8) and the kernel's
documentation: "Tcp.ActiveOpens", "TcpExt.TWRecycled".

Sources: proc_pid_net(5); net/ipv4/proc.c (the columns); Documentation/networking/snmp_counter.rst
(what they mean); RFC 4022 for the group Tcp.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path


def parse(text: str) -> dict[str, int]:
    """Parse the text of either file into {"Tcp.ActiveOpens": 21}.

    Most counters never decrease; Tcp.CurrEstab goes both ways, and Tcp.MaxConn is -1 for "no limit".

    Raises: ValueError quoting the first line that breaks the format.
    """
    counters: dict[str, int] = {}
    lines = text.splitlines()
    for header, values in zip_longest(lines[::2], lines[1::2], fillvalue=""):
        group, colon, names = header.partition(":")
        if not colon:
            raise ValueError(f"no line of counter names: {header!r}")
        if not values.startswith(f"{group}:"):
            raise ValueError(f"no line of values for {group!r} under its names, but {values!r}")
        try:
            counters.update(zip(_full_names(group, names), map(int, values.split()[1:]), strict=True))
        except ValueError as error:
            raise ValueError(f"not one whole number for each name of {group!r}: {values!r}") from error
    return counters


@lru_cache(maxsize=64)  # the names of a kernel never change, and splitting them is most of the work
def _full_names(group: str, names: str) -> tuple[str, ...]:
    return tuple(f"{group}.{name}" for name in names.split())


def read(proc_net: Path) -> dict[str, int]:
    """Return the counters of both files below a directory such as /proc/self/net.

    /proc/net is per network namespace, and /proc/<pid>/net shows the namespace of that process
    (network_namespaces(7), proc(5)): to read another namespace, name a process that lives in it.

    Raises: ValueError, see `parse`; OSError if that process has exited (ENOENT, EINVAL, ESRCH).
    """
    return parse((proc_net / "snmp").read_text()) | parse((proc_net / "netstat").read_text())


def delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return the changes, after - before, without zeros.

    A counter missing in `before` counts from 0: the kernel omits some until they move (IcmpMsg).
    A counter missing in `after` is left out.
    """
    differences = {name: value - before.get(name, 0) for name, value in after.items()}
    return {name: difference for name, difference in differences.items() if difference}


def entered_time_wait(moved: Mapping[str, int]) -> int:
    """Return the connections that came to TIME-WAIT, or to FIN-WAIT-2 with no process, by the movement of counters.

    The kernel keeps both in the same small sockets, counts each once, when it makes one, and shows both as `tw` in
    sockstat: a socket that its process has closed is one before the other side's FIN has come, and if none ever comes.
    TW counts those that are to stay, TWKilled those of 4 s or less, which a FIN-WAIT-2 is with such a tcp_fin_timeout;
    with one above 60 s a socket keeps its FIN-WAIT-2 as a whole socket for the time beyond that, and is counted later.

    Source: tcp_time_wait() in net/ipv4/tcp_minisocks.c, __inet_twsk_schedule() in net/ipv4/inet_timewait_sock.c,
    __tcp_close() and tcp_rcv_state_process() for the orphans; LINUX_MIB_TIMEWAITED is TW, LINUX_MIB_TIMEWAITKILLED is
    TWKilled.
    """
    return moved.get("TcpExt.TW", 0) + moved.get("TcpExt.TWKilled", 0)
