"""The exporter of the SDK, with one attempt for each export, and an answer to why it failed.

The SDK repeats an export for ten seconds, tells only its log why it failed, takes a redirect for success,
and does not look at what a receiver says it has rejected. Here a newer snapshot follows anyway and has all the older
one had, as all numbers are totals; so there is one attempt. The session of requests that the exporter is given says
what became of it.

Source of what an answer means: https://opentelemetry.io/docs/specs/otlp/, "OTLP/HTTP Response".
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import Any, Final

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricExportResult

from loadgen import secret
from loadgen.errors import UsageError
from loadgen.format import on_one_line
from loadgen.views.otlp import points
from loadgen.views.otlp.pusher import MetricsSnapshot, NotTakenError
from loadgen.views.otlp.target import HEADERS, PushTarget

#: Of an answer; one is a few bytes, or the message of an error.
_ANSWER_BYTES_MAX: Final = 64 * 1024
_WORDS_MAX: Final = 200
_SETTINGS: Final = (
    "OTEL_EXPORTER_OTLP_TIMEOUT is a number of seconds, OTEL_EXPORTER_OTLP_COMPRESSION none, gzip or deflate; set them "
    "so, or unset them"
)
#: Exceptions that stand behind one another.
_CAUSES_MAX: Final = 10
#: Statuses with which a receiver may ask for a pause in Retry-After, in seconds; dates are passed over.
_THROTTLED: Final = (429, 503)
_PAUSE_S_MAX: Final = 3600
#: Loggers of the SDK and what it sends with: the terminal is the live view's.
_TALKATIVE: Final = ("opentelemetry", "requests", "urllib3")


class _Heard(logging.Handler):
    """Keeps the names of the loggers that complained, and not their texts, which may have a header in them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.names.add(record.name)


def _silenced() -> _Heard:
    heard = _Heard()
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.handlers[:] = [heard]
        logger.propagate = False
    return heard


class _OneAttempt(requests.Session):
    """A session that raises NotTakenError for all but a receiver that has taken the data."""

    def __init__(self) -> None:
        super().__init__()
        #: Of the latest answer: why it was none, points that the receiver did not take, and why.
        self.error: NotTakenError | None = None
        self.rejected, self.why_rejected = 0, ""

    def send(self, request: Any, **kwargs: Any) -> requests.Response:
        """Send a request and look at the answer, of which little is read. Raises: NotTakenError."""
        self.error, self.rejected, self.why_rejected = None, 0, ""
        try:
            return self._sent(request, **kwargs)
        except NotTakenError as error:
            self.error = error  # the exporter does not pass it on
            raise

    def _sent(self, request: Any, **kwargs: Any) -> requests.Response:
        limit = kwargs.get("timeout")
        began_s = time.monotonic()
        try:
            response = super().send(request, **kwargs | {"stream": True, "allow_redirects": False})
            with closing(response):
                body = b""
                for part in response.iter_content(4096):
                    body += part
                    if len(body) > _ANSWER_BYTES_MAX:
                        raise NotTakenError("an answer without an end")
                    if isinstance(limit, (int, float)) and time.monotonic() - began_s > limit:
                        raise NotTakenError(f"no whole answer within {_seconds(limit)}")
        except NotTakenError:
            raise
        except Exception as error:  # of requests, urllib3, ssl, or the codec of a header
            raise NotTakenError(_words(error, limit)) from error
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not 200 <= response.status_code < 300:
            status = f"HTTP {response.status_code} {response.reason or ''}".strip()
            asked = response.headers.get("Retry-After", "") if response.status_code in _THROTTLED else ""
            pause_s = min(int(asked), _PAUSE_S_MAX) if asked.isascii() and asked.isdecimal() and len(asked) < 10 else 0
            raise NotTakenError(on_one_line(status)[:_WORDS_MAX], pause_s)
        if kind == "text/html":
            raise NotTakenError("the answer is a web page, so this is no receiver of OTLP")
        if kind == "application/x-protobuf":
            self._look(body)
        return response

    def _look(self, body: bytes) -> None:
        answer = ExportMetricsServiceResponse()
        try:
            answer.ParseFromString(body)
        except DecodeError:
            raise NotTakenError("the answer is not one of OTLP") from None
        self.rejected = answer.partial_success.rejected_data_points
        self.why_rejected = on_one_line(answer.partial_success.error_message)[:_WORDS_MAX]


def _words(error: Exception, limit_s: object) -> str:
    """Return why no answer came: what the kernel says where it says something, else what the library says."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {_seconds(limit_s)}" if isinstance(limit_s, (int, float)) else "no answer in time"
    seen: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if seen is None:
            break
        # The exceptions of requests are OSErrors themselves, without a number.
        if isinstance(seen, OSError) and seen.errno is not None and seen.strerror:
            return on_one_line(seen.strerror)[:_WORDS_MAX].lower()
        seen = seen.__cause__ or seen.__context__
    return on_one_line(f"{type(error).__name__}: {secret.scrubbed(str(error))}")[:_WORDS_MAX]


def _seconds(limit_s: float) -> str:
    """Return a time limit as it was set: the exporter passes on what it has left of it, 9.99998 s of 10."""
    return f"{round(limit_s, 2):g} s"


class Sender:
    """Sends snapshots, one after the other, from one thread."""

    def __init__(self, target: PushTarget) -> None:
        """Raises: UsageError for a variable of the environment that the exporter cannot use."""
        heard = _silenced()
        self._session = _OneAttempt()
        try:
            # Without a time limit: that of OTEL_EXPORTER_OTLP_TIMEOUT, or 10 s.
            self._exporter = OTLPMetricExporter(endpoint=target.url, session=self._session)
        except Exception as error:
            raise UsageError(f"--otlp: {secret.scrubbed(str(error))}; {_SETTINGS}") from error
        if any(name.endswith(".util.re") for name in heard.names):
            raise UsageError(f"--otlp: {HEADERS[1]} has an entry that is not NAME=VALUE; write a=1,b=2, URL-encoded")
        if heard.names:
            raise UsageError(f"--otlp: the exporter does not understand a setting; {_SETTINGS}")

    def send(self, snapshot: MetricsSnapshot) -> tuple[int, str]:
        """Export a snapshot; how many points the receiver rejected, and why. Raises: NotTakenError."""
        result = self._exporter.export(points.metrics_data(snapshot))
        if result is not MetricExportResult.SUCCESS:
            raise self._session.error or NotTakenError("the exporter could not send it")
        return self._session.rejected, self._session.why_rejected
