"""The metrics for Prometheus, of a run's dashboard and of the exporter of `loadgen watch`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from loadgen.views.dashboard.prometheus import METRICS as RUN_METRICS
from loadgen.views.exporter.metrics import METRICS as WATCH_METRICS
from website.reference.markdown import code, codes, plain, table

_HEAD: Final = """\
# Metrics

Made from the tables that the exporters read. Units are in the names; what ends in `_total` is a counter.

## Of a run

`loadgen run --dashboard` has them at `/metrics` ([dashboard.md](../dashboard.md)), and
`loadgen export --format openmetrics` writes them for a finished run ([export.md](../export.md)).
"""
_WATCH: Final = """
## Of a host

`loadgen watch --exporter ADDR:PORT` has them ([watch.md](../watch.md#for-prometheus)).
"""


class _Described(Protocol):
    """A metric of either table."""

    @property
    def name(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def type(self) -> str: ...


def page() -> str:
    """Return the page."""
    return f"{_HEAD}\n{_table(RUN_METRICS)}{_WATCH}\n{_table(WATCH_METRICS)}"


def _table(metrics: Iterable[_Described]) -> str:
    rows = ((code(one.name), one.type, codes(one.labels), plain(one.help)) for one in metrics)
    return table(("metric", "type", "labels", "meaning"), rows)
