"""The IPv6 counters of one network namespace: /proc/net/snmp6.

One counter per line, name and number: `Udp6InDatagrams  3`. The group ends with the digit 6, so the names become those
of the IPv4 counters with a 6: "Udp6.InDatagrams" beside "Udp.InDatagrams". TCP has one set of counters for both.

Sources: proc_pid_net(5); net/ipv6/proc.c.
"""

from __future__ import annotations

from pathlib import Path


def parse(text: str) -> dict[str, int]:
    """Parse the text into {"Udp6.InDatagrams": 3}; groups of later kernels are included if they end with a 6.

    Raises: ValueError quoting the first line that breaks the format.
    """
    counters: dict[str, int] = {}
    for line in text.splitlines():
        try:
            name, number = line.split()
            end = name.index("6", 1, -1) + 1
            counters[f"{name[:end]}.{name[end:]}"] = int(number)
        except ValueError as error:
            raise ValueError(f"no IPv6 counter with its number: {line!r}") from error
    return counters


def read(proc_net: Path) -> dict[str, int]:
    """Return the counters of the file below a directory such as /proc/self/net; {} on a kernel without IPv6.

    Raises: ValueError, see `parse`; OSError other than ENOENT if the process that names the directory has exited.
    """
    try:
        text = (proc_net / "snmp6").read_text()
    except FileNotFoundError:
        return {}
    return parse(text)
