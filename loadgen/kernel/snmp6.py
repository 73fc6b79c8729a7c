"""The IPv6 counters of one network namespace: /proc/net/snmp6.

A line for each, name and number: `Udp6InDatagrams  3`. The group ends with the 6, so that the names become those
of the IPv4 counters with a 6, "Udp6.InDatagrams" beside "Udp.InDatagrams". TCP has one set of counters for both.

Sources: proc_pid_net(5); net/ipv6/proc.c.
"""

from __future__ import annotations

from pathlib import Path


def parse(text: str) -> dict[str, int]:
    """The counters in the text, {"Udp6.InDatagrams": 3}; of a kernel's future groups too, if they end with a 6.

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
    """The file below a directory such as /proc/self/net; a kernel without IPv6 has none, and so no counters.

    Raises: ValueError as `parse`; OSError but ENOENT when the process is gone that names the directory.
    """
    try:
        text = (proc_net / "snmp6").read_text()
    except FileNotFoundError:
        return {}
    return parse(text)
