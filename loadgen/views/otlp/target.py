"""Where to push and how often: the URL of --otlp, and the environment that all exporters of OpenTelemetry read.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/, "Endpoint URLs for OTLP/HTTP"; and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/, OTEL_METRIC_EXPORT_INTERVAL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from loadgen.errors import HostError, UsageError
from loadgen.secret import MASK, Secret, held_by

#: What the specification has a client append to a base URL.
PATH: Final = "/v1/metrics"
#: Variables with credentials in them, the more specific first.
HEADERS: Final = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
#: The specification's minute is longer than many a run.
_INTERVAL_S: Final = 1.0
_NEEDED: Final = ("opentelemetry.sdk.metrics.export", "opentelemetry.exporter.otlp.proto.http")


@dataclass(frozen=True, slots=True)
class PushTarget:
    """Where to push. url: complete. interval_s: least time from one export to the next."""

    url: str
    interval_s: float

    @property
    def in_clear(self) -> bool:
        """True if others on the way can read what is sent: unencrypted, and not to this host."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        try:
            local = ip_address(host).is_loopback
        except ValueError:
            local = host == "localhost"
        return parts.scheme == "http" and not local


def require() -> None:
    """Return if the SDK and its exporter are installed. Raises: HostError with the command that installs them."""
    for module in _NEEDED:
        try:
            found = find_spec(module)
        except ModuleNotFoundError:  # a package around it is not there
            found = None
        if found is None:
            raise HostError("--otlp needs the SDK of OpenTelemetry; pip install 'loadgen[otlp]'")


def target(text: str, environment: Mapping[str, str]) -> PushTarget:
    """Return the target of --otlp. text: a base URL, or one that ends with PATH.

    Raises: UsageError, without credentials that are in the URL.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = SplitResult("", "", "", "", ""), None
    if "@" in parts.netloc:
        raise UsageError(
            f"--otlp: a URL with a user or a password is seen by others who list processes; put it into {HEADERS[1]}, "
            "as Authorization=Basic%20..."
        )
    if parts.scheme not in ("http", "https") or not host or any(not char.isprintable() or char == " " for char in text):
        raise UsageError(f"--otlp {text!r} is no URL of a receiver; write it as http://127.0.0.1:4318")
    if parts.query or parts.fragment:
        raise UsageError(f"--otlp {text!r}: leave out what follows ? or #; {PATH} is put behind the path")
    path = parts.path.rstrip("/")
    url = parts._replace(path=path if path.endswith(PATH) else path + PATH).geturl()
    return PushTarget(url, _interval_s(environment.get(INTERVAL, "")))


def _interval_s(text: str) -> float:
    if not text.strip():
        return _INTERVAL_S
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not (math.isfinite(milliseconds) and milliseconds > 0):
        raise UsageError(f"{INTERVAL}={text!r} is no number of milliseconds; write {INTERVAL}=1000, or unset it")
    return milliseconds / 1000


def hide_headers(environment: Mapping[str, str]) -> bool:
    """Keep the values of the headers out of messages and out of processes started from here; whether there are any."""
    found = False
    for variable in HEADERS:
        for entry in environment.get(variable, "").split(","):
            # One without "=" is a mistake, and may be the value alone.
            value = entry.partition("=")[2].strip() or entry.strip()
            if value:
                found = True
                held_by(variable)
                Secret(MASK, value, (value, unquote(value), *unquote(value).split()))
    return found
