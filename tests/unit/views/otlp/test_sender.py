"""What each answer of a receiver means, and that neither secrets nor the log of the SDK get out. No network."""

from __future__ import annotations

import errno
import io
import logging
import os
import ssl
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra: pip install 'loadgen[otlp]'")

import requests
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse

from loadgen import secret
from loadgen.errors import UsageError
from loadgen.views.otlp.pusher import MetricsSnapshot, NotTakenError
from loadgen.views.otlp.sender import Sender
from loadgen.views.otlp.target import PushTarget

TARGET = PushTarget("http://receiver.example/v1/metrics", 1.0)
SNAPSHOT = MetricsSnapshot("run", "mine", 1, 2, ())
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(secret, "_sought", set())
    for name in ("opentelemetry", "requests", "urllib3"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "propagate", logger.propagate)
        monkeypatch.setattr(logger, "handlers", list(logger.handlers))


class Receiver(BaseAdapter):
    """Stands where requests would open a connection."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self.answer, self.asked = answer, list[Any]()

    def send(self, request: Any, *_: Any, **options: Any) -> requests.Response:
        self.asked.append((request, options))
        raw = self.answer()
        response = requests.Response()
        response.status_code, response.raw, response.reason = raw.status, raw, raw.reason
        response.headers.update(raw.headers)
        response.request, response.url = request, request.url
        return response

    def close(self) -> None:
        pass


def answered(
    status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None, reason: str = ""
) -> Callable[[], Any]:
    return lambda: HTTPResponse(io.BytesIO(body), headers or {}, status, reason=reason, preload_content=False)


def raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def sender_to(answer: Callable[[], Any]) -> tuple[Sender, Receiver]:
    sender, receiver = Sender(TARGET), Receiver(answer)
    sender._session.mount("http://", receiver)
    return sender, receiver


def refused(answer: Callable[[], Any]) -> str:
    """Why it was not taken, after one attempt."""
    sender, receiver = sender_to(answer)
    with pytest.raises(NotTakenError) as why:
        sender.send(SNAPSHOT)
    assert len(receiver.asked) == 1
    return str(why.value)


@pytest.mark.parametrize("headers", [{}, PROTOBUF, {"Content-Type": "application/json"}])
def test_an_answer_of_success_is_one(headers: dict[str, str]) -> None:
    sender, receiver = sender_to(answered(headers=headers))
    assert sender.send(SNAPSHOT) == (0, "")
    ((request, options),) = receiver.asked
    assert request.url == TARGET.url
    assert request.headers["Content-Type"] == "application/x-protobuf"
    assert options["timeout"] == pytest.approx(10, abs=1)
    (resource,) = ExportMetricsServiceRequest.FromString(request.body).resource_metrics
    assert "service.instance.id" in {one.key for one in resource.resource.attributes}


def test_what_it_has_rejected_is_counted_and_its_reason_made_harmless() -> None:
    said = ExportMetricsServiceResponse()
    said.partial_success.rejected_data_points = 7
    said.partial_success.error_message = "too old\x1b[2J" + "x" * 500
    sender, _ = sender_to(answered(body=said.SerializeToString(), headers=PROTOBUF))
    count, why = sender.send(SNAPSHOT)
    assert (count, why[:16], len(why)) == (7, "too old\\x1b[2Jxx", 200)
    sender._session.mount("http://", Receiver(answered()))
    assert sender.send(SNAPSHOT) == (0, "")


@pytest.mark.parametrize(
    ("status", "reason", "why"),
    [
        (503, "Service Unavailable", "HTTP 503 Service Unavailable"),
        (401, "Unauthorized", "HTTP 401 Unauthorized"),
        (302, "Found", "HTTP 302 Found"),
        (500, "a\x1bb\nc", "HTTP 500 a\\x1bb\\nc"),
    ],
)
def test_any_other_status_is_none(status: int, reason: str, why: str) -> None:
    assert refused(answered(status, reason=reason, headers={"Location": "http://elsewhere.example/"})) == why


@pytest.mark.parametrize(
    ("status", "asked", "pause_s"),
    [(503, "7", 7), (429, "999999", 3600), (500, "7", 0), (503, "-7", 0), (503, "Wed, 21 Oct 2026 07:28:00 GMT", 0)],
)
def test_a_receiver_may_ask_for_a_pause(status: int, asked: str, pause_s: int) -> None:
    sender, _ = sender_to(answered(status, headers={"Retry-After": asked}))
    with pytest.raises(NotTakenError) as why:
        sender.send(SNAPSHOT)
    assert why.value.pause_s == pause_s


def test_a_page_or_nonsense_is_no_answer_of_a_receiver() -> None:
    assert "web page" in refused(answered(body=b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}))
    assert refused(answered(body=b"\xff\xff", headers=PROTOBUF)) == "the answer is not one of OTLP"


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    body = io.BytesIO(bytes(10_000_000))
    why = refused(lambda: HTTPResponse(body, PROTOBUF, 200, preload_content=False))
    assert why == "an answer without an end"
    assert body.closed or body.tell() < 200_000


def test_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    times = iter([0.0, 1.0, 9.0])
    sender, _ = sender_to(answered(body=bytes(20_000), headers=PROTOBUF))
    monkeypatch.setattr("loadgen.views.otlp.sender.time.monotonic", lambda: next(times))
    with pytest.raises(NotTakenError, match="no whole answer within"):
        sender.send(SNAPSHOT)


def of_kernel(number: int) -> Exception:
    """As requests raises it: without a number itself, with the kernel's error behind it."""
    error = requests.ConnectionError("HTTPConnectionPool(host=...): Max retries exceeded with url: ...")
    error.__context__ = ValueError("between")
    error.__context__.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (of_kernel(errno.ECONNREFUSED), "connection refused"),
        (of_kernel(errno.EADDRNOTAVAIL), "cannot assign requested address"),
        (requests.ReadTimeout("read"), "no answer within 10 s"),
        (requests.ConnectionError("cut"), "ConnectionError: cut"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "certificate verify failed"),
        (UnicodeEncodeError("latin-1", "x", 0, 1, "no"), "UnicodeEncodeError: 'latin-1' codec can't encode"),
    ],
)
def test_no_answer_has_a_reason_in_a_few_words(error: Exception, why: str) -> None:
    assert refused(raising(error)).startswith(why)


def test_headers_of_the_environment_are_sent_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cretw0rd,x=y")
    secret._sought.add("s3cretw0rd")
    sender, receiver = sender_to(answered())
    sender.send(SNAPSHOT)
    assert receiver.asked[0][0].headers["api-key"] == "s3cretw0rd"
    assert "s3cretw0rd" not in refused(raising(requests.exceptions.InvalidHeader("header value: 's3cretw0rd'")))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cretw0rd", "an entry that is not NAME=VALUE"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "TIMEOUT is a number of seconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "gzip"),
    ],
)
def test_a_setting_of_no_use_is_refused(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=words) as error:
        Sender(TARGET)
    assert "s3cretw0rd" not in str(error.value)
    assert caplog.text == ""


def test_the_sdk_writes_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Not even where no logging is set up, when Python itself writes warnings to stderr."""
    refused(answered(503))
    logging.getLogger("opentelemetry.exporter").error("a word")
    logging.getLogger("urllib3.connectionpool").warning("a word")
    assert capfd.readouterr() == ("", "")
