"""Flags and certificates of `loadgen sink`, and its final counts as text; it serves in tests/e2e."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from loadgen.control.standalone_sink import behaviour_of, certified, describe
from loadgen.errors import HostError, UsageError
from loadgen.model import Endpoint, SinkBehaviour, Speaks
from loadgen.sink.certificates import issue

ENDPOINTS = (Endpoint("127.0.0.1", 8443),)
PLAIN, TLS = SinkBehaviour(), SinkBehaviour(tls=True)


def test_flags_are_keys_of_a_scenarios_sink() -> None:
    assert behaviour_of({}) == PLAIN
    flags = {"speaks": "http", "status": 503, "close_after": "5s"}
    assert behaviour_of(flags) == SinkBehaviour(Speaks.HTTP, status=503, close_after_s=5.0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"speaks": "htp"}, '--speaks: unknown word "htp"; did you mean "http"?'),
        ({"close_after": "5"}, '--close-after: write 30s, 2m or 500ms; got "5"'),
        ({"reset": True, "drop": "10%"}, "--drop: reset: true resets every connection at once; leave drop out"),
    ],
)
def test_an_invalid_value_is_reported_with_its_flag(flags: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        behaviour_of(flags)
    assert str(refused.value) == message


def test_a_plain_sink_needs_no_certificate() -> None:
    with certified(ENDPOINTS, PLAIN, None, None, None, pytest.fail) as certificates:
        assert certificates is None


def test_an_issued_certificate_is_trusted_through_the_announced_file(tmp_path: Path) -> None:
    """It is temporary, unless --ca-out names it."""
    announced: list[str] = []
    with certified(ENDPOINTS, TLS, None, None, None, announced.append) as certificates:
        assert certificates is not None
        path = Path(announced[0].split()[-1])
        assert path.read_text() == certificates.ca_pem
        ssl.create_default_context(cafile=str(path))
    assert not path.exists()
    kept = tmp_path / "ca.pem"
    with certified(ENDPOINTS, TLS, None, None, kept, announced.append):
        assert announced[1].endswith(str(kept))
    assert kept.read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_a_certificate_of_files_is_used_as_it_is(tmp_path: Path) -> None:
    issued = issue(["sink.test"])
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_text(issued.certificate_pem)
    key.write_text(issued.key_pem)
    with certified(ENDPOINTS, TLS, certificate, key, None, pytest.fail) as certificates:
        assert certificates is not None
        assert (certificates.ca_pem, certificates.certificate_pem) == ("", issued.certificate_pem)


@pytest.mark.parametrize(
    ("behaviour", "given", "message"),
    [
        (PLAIN, {"ca_out"}, "--ca-out goes with --tls"),
        (PLAIN, {"certificate", "key"}, "--certificate goes with --tls"),
        (TLS, {"key"}, "--key goes with --certificate"),
        (TLS, {"certificate"}, "--certificate goes with --key"),
        (TLS, {"certificate", "key", "ca_out"}, "--ca-out applies to a certificate that loadgen issues"),
        (TLS, {"certificate", "key"}, "are not a certificate and its key in PEM"),
    ],
)
def test_flags_that_contradict_each_other(
    tmp_path: Path, behaviour: SinkBehaviour, given: set[str], message: str
) -> None:
    path = tmp_path / "text"
    path.write_text("text")
    certificate, key, ca_out = (path if name in given else None for name in ("certificate", "key", "ca_out"))
    with (
        pytest.raises(UsageError, match=message),
        certified(ENDPOINTS, behaviour, certificate, key, ca_out, pytest.fail),
    ):
        pass


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "ca.pem"
    with (
        pytest.raises(HostError, match=r"ca\.pem cannot be written .*give another --ca-out"),
        certified(ENDPOINTS, TLS, None, None, missing, pytest.fail),
    ):
        pass


def test_the_final_counts_have_a_line_for_each_source_and_each_failure() -> None:
    source = {"source": "127.0.0.2", "accepted": 1234, "source_ports": 1000}
    result = {"accepted": 1234, "open": 2, "sources": [source], "failures": {"accept4 EMFILE": 1000}}
    total, line, failure = describe(result).splitlines()
    assert total == "accepted 1,234, still open 2"
    assert line.split() == ["127.0.0.2", "1,234", "connections,", "1,000", "source", "ports"]
    assert failure.split() == ["accept4", "EMFILE", "1,000", "failures", "survived"]
