"""A receiver of OTLP over HTTP, and what Prometheus makes of what it got.

Needs the extra `otlp`, whose protocol types it reads with; a test that uses it begins with `pytest.importorskip`.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2

#: Values of samples by name and labels, as a scrape has them.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
#: Of the units that a translator knows, those that could be met here, for a whole and behind "per".
_UNITS: Final = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "1": "", "%": "percent"}
_PER: Final = {"s": "second", "m": "minute"}
_PROTOBUF: Final = "application/x-protobuf"


@dataclass
class Receiver:
    """What came, and what is answered: a status, or "hang", "html", "reject", "long"."""

    url: str = ""
    answer: int | str = 200
    #: How often it is answered with `answer`; after that with 200. None: always.
    times: int | None = None
    requests: list[ExportMetricsServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    #: Set it to let those go that are answered "hang".
    let_go: threading.Event = field(default_factory=threading.Event)
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def next_answer(self) -> int | str:
        """What the next request is answered with."""
        if self.times is None:
            return self.answer
        self.times -= 1
        return self.answer if self.times >= 0 else 200


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.headers["Content-Type"] == _PROTOBUF
            receiver.requests.append(ExportMetricsServiceRequest.FromString(body))
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            receiver.paths.append(self.path)
            receiver.came.release()
            answer = receiver.next_answer()
            match answer:
                case "hang":
                    receiver.let_go.wait(60)
                    self.close_connection = True
                case "html":
                    self._say(200, "text/html; charset=utf-8", b"<html>")
                case "long":
                    self._say(200, _PROTOBUF, bytes(10_000_000))
                case "reject":
                    said = ExportMetricsServiceResponse()
                    said.partial_success.rejected_data_points = 2
                    said.partial_success.error_message = "too\x1b[2J old"
                    self._say(200, _PROTOBUF, said.SerializeToString())
                case "garbage":
                    self._say(200, _PROTOBUF, b"\xff\xff\xff")
                case int():
                    self._say(answer, _PROTOBUF, b"")
                case _:
                    raise AssertionError(answer)

        def _say(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:  # it had read enough
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def receiving(answer: int | str = 200, times: int | None = None) -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""
    receiver = Receiver(answer=answer, times=times)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver)) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.let_go.set()
            server.shutdown()
            thread.join()


def metrics_of(request: ExportMetricsServiceRequest) -> dict[str, metrics_pb2.Metric]:
    """Every metric of a request by its name, which stands there once."""
    found = {}
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                assert metric.name not in found
                found[metric.name] = metric
    return found


def resource_of(request: ExportMetricsServiceRequest) -> dict[str, str]:
    """The attributes of the one resource of a request."""
    (only,) = request.resource_metrics
    return {one.key: one.value.string_value for one in only.resource.attributes}


def names_in_prometheus(name: str, unit: str, kind: str) -> set[str]:
    """The name that each kind of translator makes; kind: "counter", "gauge" or "histogram".

    By words, as otlptranslator's normalizeName; by the end of the name, as its buildMetricName; and without suffixes.
    """
    main, _, per = unit.partition("/")
    main = "" if "{" in main else _UNITS.get(main, main)
    per = "" if "{" in per or not per else f"per_{_PER.get(per, per)}"
    words = name.split("_")
    words += [suffix for suffix in (main, per) if suffix and suffix not in words]
    if kind == "counter":
        words = [word for word in words if word != "total"] + ["total"]
    if kind == "gauge" and unit == "1":
        words = [word for word in words if word != "ratio"] + ["ratio"]
    end = name.removesuffix("_total") if kind == "counter" else name
    end = end.removesuffix(f"_{per}") if per else end
    end += f"_{main}" if main and not end.endswith(main) else ""
    end += f"_{per}" if per else ""
    return {name, "_".join(words), end + ("_total" if kind == "counter" else "")}


def kind_of(metric: metrics_pb2.Metric) -> str:
    """The type that a metric has in Prometheus."""
    which = metric.WhichOneof("data")
    if which == "sum":
        assert metric.sum.is_monotonic
    if which in ("sum", "histogram"):
        data = getattr(metric, which)
        assert data.aggregation_temporality == metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert which
    return {"sum": "counter"}.get(which, which)


def as_scraped(request: ExportMetricsServiceRequest) -> Samples:
    """The samples of a request as "OTLP Metric points to Prometheus" of the specification has them."""
    found: Samples = {}
    for metric in metrics_of(request).values():
        kind = kind_of(metric)
        (name,) = names_in_prometheus(metric.name, metric.unit, kind)
        which = metric.WhichOneof("data")
        assert which
        for point in getattr(metric, which).data_points:
            labels = {one.key: one.value.string_value for one in point.attributes}

            def put(name: str, value: float, labels: dict[str, str] = labels, **more: str) -> None:
                found[(name, tuple(sorted((labels | more).items())))] = value

            if kind != "histogram":
                put(name, point.as_double)
                continue
            bounds = [*map(str, point.explicit_bounds), "+Inf"]
            for bound, below in zip(bounds, accumulate(point.bucket_counts), strict=True):
                put(f"{name}_bucket", below, le=bound)
            put(f"{name}_count", point.count)
            put(f"{name}_sum", point.sum)
    return found
