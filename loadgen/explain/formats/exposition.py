"""Metrics of Prometheus's node_exporter, as its page has them, or as lines cut out of it or of a query's answer.

    node_netstat_TcpExt_ListenOverflows{instance="web1:9100"} 6021

Other metrics are understood and left out. One host's metrics are one account: where the label `instance` differs, the
first one is read, and the others are left unread with the remedy.

Sources: exposition_formats.md of Prometheus, whose client library parses a line; netstat_linux.go, sockstat_linux.go,
conntrack_linux.go, arp_linux.go, softnet_linux.go and filefd_linux.go of node_exporter 1.8.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats import counter_names
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.readings import ReadingLines

_COMMENT: Final = re.compile(
    r"\s{0,8}# (?:TYPE [a-zA-Z_:][\w:]{2,120} (?:counter|gauge|histogram|summary|untyped)\s*"
    r"|HELP [a-zA-Z_:][\w:]{2,120} .*)"
)
#: promtool and the expression browser write "=>" and "@[time]"; neither of them stands in the file format.
_SAMPLE: Final = re.compile(
    r"\s{0,8}(?P<name>[a-zA-Z_:][\w:]{2,120})(?P<labels>\{[^{}]{0,2000}\})?\s+(?:=>\s+)?"
    r"(?P<value>[+-]?[0-9][0-9.eE+-]{0,24}|[+-]?Inf|NaN)(?:\s+(?:-?[0-9]{1,16}|@\[?[0-9.]{1,20}\]?))?\s*"
)
_COLLECTORS: Final = "netstat|sockstat|nf_conntrack|filefd|arp|softnet"
_OURS: Final = re.compile(rf"\s{{0,8}}node_(?:{_COLLECTORS})_")
_NETSTAT: Final = re.compile(r"node_netstat_(?P<group>[A-Z][A-Za-z0-9]{1,15})_(?P<counter>[A-Z]\w{1,60})")
_SOCKSTAT: Final = re.compile(r"node_sockstat_(?P<protocol>[A-Za-z0-9]{2,10})_(?P<field>[a-z]{2,10})")
_CONNTRACK: Final = re.compile(r"node_nf_conntrack_stat_(?P<counter>[a-z_]{3,20})")
_SYSCTLS: Final = {
    "node_nf_conntrack_entries_limit": "net.netfilter.nf_conntrack_max",
    "node_filefd_maximum": "fs.file-max",
}
#: Series that there are for each core or interface: the reading of their sum, and from when it counts.
_SUMS: Final = {
    "node_softnet_dropped_total": ("softnet.dropped", "boot"),
    "node_softnet_times_squeezed_total": ("softnet.time_squeeze", "boot"),
    "node_arp_entries": ("neigh.entries", "now"),
}
_WHY: Final = "metrics of another instance, which is another host: give explain the metrics of one at a time"


class _Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: int


def _sample(line: str) -> _Sample | None:
    """Return the whole number of a line; None: it has none, or the line is no sample."""
    found = _SAMPLE.fullmatch(line)
    if not found:
        return None
    text = f"{found['name']}{found['labels'] or ''} {found['value']}\n"
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        value = samples[0].value
        if len(samples) != 1 or value < 0 or value != int(value):
            return None
    except (ValueError, OverflowError, IndexError, KeyError, TypeError):
        return None
    return _Sample(samples[0].name, samples[0].labels, int(value))


class _ExpositionReader(ReadingLines):
    """Reads the metrics of one instance."""

    what = "metrics of node_exporter"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._instance: str | None = None
        self._sums: dict[str, tuple[int, Where]] = {}
        self._summed: set[tuple[str, str]] = set()

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if not line or line.isspace():
            return True
        if _COMMENT.fullmatch(line):
            return True
        if not _SAMPLE.fullmatch(line):
            return False
        if _OURS.match(line) and (sample := _sample(line)):
            instance = sample.labels.get("instance", "")
            self._instance = instance if self._instance is None else self._instance
            if instance != self._instance:
                self.refuse(where, _WHY)
            else:
                self._keep(sample, where)
        return True

    def _keep(self, sample: _Sample, where: Where) -> None:
        name, value = sample.name, sample.value
        if found := _NETSTAT.fullmatch(name):
            if found["group"] in counter_names.GROUPS:
                self.keep_counter(f"{found['group']}.{found['counter']}", value, "boot", where)
        elif found := _SOCKSTAT.fullmatch(name):
            self.keep_counter(f"sockstat.{found['protocol'].lower()}_{found['field']}", value, "now", where)
        elif name == "node_nf_conntrack_entries":
            self.keep_counter("conntrack.count", value, "now", where)
        elif found := _CONNTRACK.fullmatch(name):
            self.keep_counter(f"conntrack.{found['counter']}", value, "boot", where)
        elif name in _SYSCTLS:
            self.keep_sysctl(_SYSCTLS[name], str(value), where)
        elif name in _SUMS:
            series = name, repr(sorted(sample.labels.items()))
            if series in self._summed:  # the next page
                self._end_sum(name)
            self._summed.add(series)
            total, began = self._sums.get(name, (0, where))
            self._sums[name] = total + value, began

    def _end_sum(self, name: str) -> None:
        total, began = self._sums.pop(name)
        self._summed = {series for series in self._summed if series[0] != name}
        reading, since = _SUMS[name]
        self.keep_counter(reading, total, since, began)

    def finish(self) -> None:
        """See `FormatReader`."""
        for name in list(self._sums):
            self._end_sum(name)
        super().finish()


def _begins(line: str) -> bool:
    if _OURS.match(line):
        return _SAMPLE.fullmatch(line) is not None
    return _COMMENT.fullmatch(line) is not None


EXPOSITION: Final = Format(
    "exposition",
    "metrics of Prometheus's node_exporter: its page, or lines such as node_sockstat_TCP_tw 5",
    _begins,
    _ExpositionReader,
    heads=frozenset("#n"),
)
