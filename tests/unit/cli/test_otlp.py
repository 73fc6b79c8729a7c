"""--otlp: what is made of it, and that without it nothing of OpenTelemetry is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadgen import secret
from loadgen.cli import otlp
from loadgen.errors import HostError, UsageError
from loadgen.views.otlp import target


def test_without_the_option_there_is_nothing_to_push() -> None:
    assert otlp.made(None) is None
    otlp.opened(None)(Path("results/run"))


def test_a_mistake_in_the_url_comes_before_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="is no URL of a receiver"):
        otlp.made("receiver")
    with pytest.raises(HostError, match="pip install 'loadgen\\[otlp\\]'"):
        otlp.made("http://receiver")


@pytest.mark.parametrize(("url", "warned"), [("http://receiver", True), ("https://receiver", False)])
def test_headers_that_travel_in_clear_are_said_so(
    url: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("opentelemetry.sdk.metrics.export", reason="needs the extra: pip install 'loadgen[otlp]'")
    monkeypatch.setattr(secret, "_sought", set())
    monkeypatch.setattr(secret, "_variables", set())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cretw0rd")
    made = otlp.made(url)
    assert made
    assert otlp.opened(made) == made.opened
    err = capsys.readouterr().err
    assert ("travel unencrypted" in err) == warned
    assert "s3cretw0rd" not in err


def test_nothing_imports_the_sdk_before_it_is_used() -> None:
    """Neither the command line, nor a run, nor the dashboard, nor what pushes by itself."""
    code = (
        "import sys, loadgen.cli.main, loadgen.cli.run, loadgen.cli.onlookers, loadgen.control.orchestrator\n"
        "import loadgen.views.dashboard.dashboard, loadgen.views.otlp.pusher, loadgen.views.otlp.target\n"
        "print(*[name for name in ('opentelemetry', 'google.protobuf', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
