"""`protocol`, `tls` and what goes with them in a scenario."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trustme

from loadgen import scenario
from loadgen.errors import ExitCode, ScenarioError
from loadgen.model import Tls, Traffic
from loadgen.scenario import ScenarioSpec

HEAD = "name: n\nsources: {addresses: 127.0.0.2}\ntargets: [{address: 127.0.0.1:9000}]\n"
HELD = f"{HEAD}connections: 1\n"
CHURN = f"{HEAD}churn: {{duration: 1s, exchanges: 3}}\n"


def parsed(text: str) -> ScenarioSpec:
    return scenario.parse(text, "mine.yaml")


def refused(text: str) -> str:
    with pytest.raises(ScenarioError) as raised:
        parsed(text)
    assert raised.value.exit_code is ExitCode.USAGE
    message = str(raised.value)
    assert message.startswith("mine.yaml:")
    assert "\n" not in message
    return message


# --- protocol -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "traffic"),
    [
        ("tcp", Traffic()),
        ("{name: tcp}", Traffic()),
        ("echo", Traffic("echo")),
        ("{name: echo, size: 64}", Traffic("echo", {"size": 64})),
        (
            r"{name: payload, send: 'PING\r\n', expect: +PONG}",
            Traffic("payload", {"send": r"PING\r\n", "expect": "+PONG"}),
        ),
    ],
)
def test_a_protocol_is_a_name_or_a_mapping(written: str, traffic: Traffic) -> None:
    assert parsed(f"{HELD}protocol: {written}\n").traffic == traffic


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("ecoh", '5:11: protocol: unknown protocol; did you mean "echo"?'),
        ("{name: ecoh}", '5:18: protocol.name: unknown protocol; did you mean "echo"?'),
        ("5", "write the name of a protocol"),
        ("{size: 5}", "write the name of a protocol"),
        ("{name: tcp, size: 5}", "5:23: protocol.size: tcp has no options"),
        ("{name: echo, sise: 5}", '5:24: protocol.sise: echo has no such option; did you mean "size"?'),
        ("{name: echo, size: 0}", "write a size from 1 to 65,536"),
        ("{name: echo, size: many}", "protocol.size: "),
        ("payload", "write exactly one of expect, expect_regex and expect_length"),
        ("{name: payload, _sent: a, expect: b}", "payload has no such option"),
        ("{name: payload, send_file: /nowhere/at/all, expect: b}", "cannot be read (No such file or directory)"),
    ],
)
def test_one_that_cannot_be_is_refused_with_what_to_write(written: str, message: str) -> None:
    assert message in refused(f"{HELD}protocol: {written}\n")


def test_the_file_of_a_payload_is_read_here(tmp_path: Path) -> None:
    (tmp_path / "request").write_bytes(b"GET / HTTP/1.0\r\n\r\n")
    found = parsed(f"{HELD}protocol: {{name: payload, send_file: {tmp_path}/request, expect: HTTP}}\n").traffic
    assert found == Traffic("payload", {"send": r"GET / HTTP/1.0\r\n\r\n", "expect": "HTTP"})


_THING = (
    "from dataclasses import dataclass\n@dataclass\nclass Thing:\n  def reply(self, request, received): return True\n"
)
FOREIGN = {
    "none": ("from nowhere import Nothing", "none cannot be loaded (ModuleNotFoundError: No module named 'nowhere')"),
    "raises": ("raise ValueError('on\\na bad day')", "raises cannot be loaded (ValueError: on a bad day)"),
    "plain": ("class Thing: pass", "plain is no dataclass with the methods request and reply"),
    "text": (
        _THING + "  def request(self, number): return 'x'\n",
        "text makes a request of type str, not bytes",
    ),
    "fails": (
        _THING + "  def request(self, number): return number['x']\n",
        "fails makes no request (TypeError: 'int' object is not subscriptable)",
    ),
}


def install(name: str, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package with a protocol of this name."""
    (folder / f"foreign_{name}.py").write_text(code)
    info = folder / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[loadgen.protocols]\n{name} = foreign_{name}:Thing\n")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize("name", FOREIGN)
def test_somebody_elses_that_does_not_work_is_one_clear_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, message = FOREIGN[name]
    install(name, code, tmp_path, monkeypatch)
    assert message in refused(f"{HELD}protocol: {name}\n")
    sys.modules.pop(f"foreign_{name}", None)


@pytest.mark.parametrize("where", ["__post_init__(self)", "request(self, number)"])
def test_somebody_elses_message_is_not_shown_where_options_are_secret(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold a part of the value, in any form."""
    lines = (
        "from dataclasses import dataclass",
        "@dataclass(frozen=True)",
        "class Thing:",
        "  word: str = ''",
        "  def reply(self, request, received): return True",
        "  def request(self, number): return b''",
        f"  def {where}: raise ValueError(f'no {{self.word[::-1]}}')",
    )
    install("telling", "\n".join(lines), tmp_path, monkeypatch)
    monkeypatch.setenv("WORD", "drowssap")
    try:
        message = refused(f"{HELD}protocol: {{name: telling, word: '${{env:WORD}}'}}\n")
        assert "telling refuses its options, and why is not shown: some of them are secret" in message
        assert "password" in refused(f"{HELD}protocol: {{name: telling, word: drowssap}}\n")
    finally:
        sys.modules.pop("foreign_telling", None)


def test_more_than_one_exchange_needs_a_protocol() -> None:
    assert "churn.exchanges: tcp has no exchanges; add protocol: echo" in refused(CHURN)
    assert parsed(f"{CHURN}protocol: echo\n").churn is not None


def test_a_heartbeat_without_a_protocol_is_an_echo() -> None:
    assert parsed(f"{HELD}heartbeat: {{every: 1s}}\n").traffic == Traffic("echo")


# --- tls ------------------------------------------------------------------------------------------


def tls_of(text: str) -> Tls | None:
    spec = parsed(f"{HELD}{text}\n").tls
    return spec.tls if spec else None


def test_tls_is_off_unless_it_is_there() -> None:
    assert tls_of("") is None
    assert tls_of("tls: {}") == Tls()
    written = "tls: {server_name: a.example, alpn: [h2, http/1.1], verify: false, resume: true}"
    assert tls_of(written) == Tls("a.example", ("h2", "http/1.1"), "", verify=False, resume=True)


def test_authorities_are_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "ca.pem").write_text(pem)
    monkeypatch.chdir(tmp_path)
    assert tls_of("tls: {ca: ca.pem}") == tls_of(f"tls: {{ca: {tmp_path}/ca.pem}}") == Tls(ca=pem)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls: {ca: none.pem}", "5:11: tls.ca: cannot be read (No such file or directory); check path and permissions"),
        ("tls: {ca: .}", "tls.ca: cannot be read (Is a directory)"),
        ("tls: {ca: text.pem}", "tls.ca: holds no certificate in PEM"),
        ("tls: {ca: broken.pem}", "tls.ca: holds no certificate in PEM"),
        ("tls: {ca: binary.pem}", "tls.ca: holds no certificate in PEM"),
        ("tls: {ca: empty.pem}", "tls.ca: holds no certificate in PEM"),
        ("tls: {ca: long.pem}", "tls.ca: is longer than 1,048,576 bytes"),
        ("tls: {server_name: .a}", "tls.server_name: write a host name in ASCII"),
        ("tls: {alpn: ['']}", "tls.alpn.0: write a name of 1 to 255 ASCII characters"),
        ("tls: {verify: 'no'}", "tls.verify: write true or false"),
        ("tls: {servername: a}", 'tls: unknown key "servername"; did you mean "server_name"?'),
        ("tls: true", "tls: write a mapping, for example"),
        ("tls: {}\ntransport: udp", "tls: TLS goes over TCP; leave tls out"),
    ],
)
def test_what_cannot_be_is_refused_before_any_load(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.pem").write_text("hello")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    (tmp_path / "binary.pem").write_bytes(b"\xff\xfe\0")
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "long.pem").write_text("x" * (1_048_576 + 1))
    monkeypatch.chdir(tmp_path)
    assert message in refused(f"{HELD}{text}\n")
