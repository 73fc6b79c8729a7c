"""The URL as people write it, the environment, and what is said where one is of no use."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec

import pytest

from loadgen import secret
from loadgen.errors import HostError, UsageError
from loadgen.views.otlp import target as targets
from loadgen.views.otlp.target import HEADERS, INTERVAL, PushTarget, hide_headers, require, target


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_sought", set())
    monkeypatch.setattr(secret, "_variables", set())


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/metrics"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/metrics"),
        ("https://otlp.example/tenant", "https://otlp.example/tenant/v1/metrics"),
        ("http://[::1]:9090/api/v1/otlp/", "http://[::1]:9090/api/v1/otlp/v1/metrics"),
        ("http://collector:4318/v1/metrics", "http://collector:4318/v1/metrics"),
    ],
)
def test_a_base_url_gets_the_path_of_the_specification(text: str, url: str) -> None:
    assert target(text, {}) == PushTarget(url, 1.0)


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://a:99999", "http://[::1", "http://a b", "h"],
)
def test_what_is_no_url_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape("write it as http://127.0.0.1:4318")):
        target(text, {})


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="OTEL_EXPORTER_OTLP_HEADERS") as refused:
        target("https://me:hunter22@otlp.example", {})
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("text", ["http://a/?key=1", "http://a/#x"])
def test_what_follows_the_path_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="leave out what follows"):
        target(text, {})


def test_the_interval_is_that_of_the_environment_in_milliseconds() -> None:
    assert target("http://a", {INTERVAL: "250"}).interval_s == 0.25
    assert target("http://a", {INTERVAL: " "}).interval_s == 1.0
    for text in ("x", "0", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match=f"{INTERVAL}='{text}' is no number of milliseconds"):
            target("http://a", {INTERVAL: text})


@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("http://a", True),
        ("https://a", False),
        ("http://127.0.0.9:1", False),
        ("http://[::1]", False),
        ("http://localhost:4318", False),
        ("http://10.0.0.1", True),
    ],
)
def test_unencrypted_and_not_to_this_host_is_in_clear(url: str, in_clear: bool) -> None:
    assert target(url, {}).in_clear == in_clear


@pytest.mark.parametrize("name", HEADERS)
def test_values_of_headers_are_kept_out_of_messages_and_of_other_processes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "api-key=s3cret%20w0rd,Authorization=Bearer%20abcdefgh")
    assert hide_headers({name: "api-key=s3cret%20w0rd,Authorization=Bearer%20abcdefgh"})
    assert secret.scrubbed("s3cret%20w0rd, s3cret w0rd, Bearer abcdefgh, abcdefgh") == "***, ***, ***, ***"
    assert name not in secret.environment()


def test_a_value_without_a_name_is_kept_out_as_well() -> None:
    assert hide_headers({HEADERS[0]: "abcdefgh"})
    assert secret.scrubbed("header abcdefgh") == "header ***"
    assert not hide_headers({HEADERS[1]: ""})


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda _: None)
    with pytest.raises(HostError, match=re.escape("pip install 'loadgen[otlp]'")):
        require()


def test_where_not_even_the_package_around_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_NEEDED", ("no_such_package.inside.it",))
    assert "no_such_package" not in sys.modules
    with pytest.raises(HostError):
        require()


def test_with_it_there_is_nothing_to_say() -> None:
    if find_spec("opentelemetry") is None:
        pytest.skip("needs the extra: pip install 'loadgen[otlp]'")
    require()
