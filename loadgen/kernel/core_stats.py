"""Files below /proc/net/stat: a line of names, then a line of counters for each core, in hexadecimal.

Sources: ct_cpu_seq_show() in net/netfilter/nf_conntrack_standalone.c, neigh_stat_seq_show() in net/core/neighbour.c.
"""

from __future__ import annotations


def parse(text: str) -> dict[str, int]:
    """Parse such a file: "entries" of the whole table, all other counters summed over the cores.

    Names are those of the kernel, some of which have changed: "searched" became "clashres".

    Raises: ValueError quoting the first line that breaks the format.
    """
    header, *lines = text.splitlines() or [""]
    names = header.split()
    if names[:1] != ["entries"] or not lines:
        raise ValueError(f"no header with lines of counters: {header!r}")
    sums = dict.fromkeys(names, 0)
    for line in lines:
        try:
            numbers = dict(zip(names, (int(number, 16) for number in line.split()), strict=True))
        except ValueError as error:
            raise ValueError(f"not one hexadecimal number for each name: {line!r}") from error
        sums = {name: sums[name] + numbers[name] for name in names}
        entries = numbers["entries"]  # of the whole table, repeated on every line
    return {**sums, "entries": entries}
