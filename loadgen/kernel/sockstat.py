"""Socket counts: /proc/net/sockstat and sockstat6, as {"tcp_inuse": 4, "tcp6_inuse": 1}.

Not all of these belong to the network namespace in which they are read:

- per namespace: `tcp_inuse`, `tcp6_inuse` (connected, connecting or listening) and `tcp_tw`, which
  counts TIME-WAIT of IPv4 and IPv6 together;
- of the whole machine: `tcp_alloc` (every TCP socket, including unconnected ones), `tcp_orphan` (closed
  by their process, not yet by TCP) and `tcp_mem` (pages, to be compared with net.ipv4.tcp_mem).

So `tcp_alloc` can be 40,000 in an empty namespace.

Sources: proc_pid_net(5); sockstat_seq_show() in net/ipv4/proc.c and net/ipv6/proc.c.
"""

from __future__ import annotations

from pathlib import Path


def parse(text: str) -> dict[str, int]:
    """Parse the text of either file; "TCP: inuse 4 tw 2" becomes {"tcp_inuse": 4, "tcp_tw": 2}.

    Unknown protocols and fields are included.

    Raises: ValueError quoting the first line that breaks the format.
    """
    numbers: dict[str, int] = {}
    for line in text.splitlines():
        protocol, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon or not fields:
            raise ValueError(f"no protocol with its numbers: {line!r}")
        try:
            pairs = zip(fields[::2], map(int, fields[1::2]), strict=True)
            numbers.update({f"{protocol.lower()}_{name}": value for name, value in pairs})
        except ValueError as error:
            raise ValueError(f"not alternating names and whole numbers: {line!r}") from error
    return numbers


def read(proc_net: Path) -> dict[str, int]:
    """Return the counts of both files below /proc/self/net, or /proc/<pid>/net for the namespace of that process.

    sockstat6 does not exist on a kernel without IPv6; its numbers are then missing, not 0.

    Raises: ValueError, see `parse`; OSError if that process has exited.
    """
    numbers = parse((proc_net / "sockstat").read_text())
    try:
        text = (proc_net / "sockstat6").read_text()
    except FileNotFoundError:
        return numbers
    return numbers | parse(text)
