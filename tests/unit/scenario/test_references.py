"""`${env:NAME}` and `${file:PATH}`: what is filled in, and what is refused instead."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from loadgen import scenario, secret
from loadgen.errors import ScenarioError
from loadgen.scenario import references

HEAD = (
    "name: n\nsources: {addresses: 127.0.0.2}\n"
    "targets: [{address: 127.0.0.1:9000, sink: {speaks: http}}]\nconnections: 1\n"
)


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_sought", set())
    monkeypatch.setattr(secret, "_variables", set())
    monkeypatch.setenv("TOKEN", "s3cret-token")
    monkeypatch.delenv("MISSING", raising=False)


def http(options: str) -> str:
    return f"{HEAD}protocol:\n  name: http\n{options}"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("a ${env:TOKEN} b", "a s3cret-token b"),
        ("${env:TOKEN}${env:TOKEN}", "s3cret-tokens3cret-token"),
        ("$${env:TOKEN}", "${env:TOKEN}"),
        ("$$${env:TOKEN}", "$${env:TOKEN}"),
        ("$ {env:TOKEN} $TOKEN }", "$ {env:TOKEN} $TOKEN }"),
    ],
)
def test_a_text_is_filled_in_once(text: str, filled: str) -> None:
    assert references.filled(text)[0] == filled


def test_a_value_is_not_filled_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "${env:OTHER} $${")
    assert references.filled("${env:TOKEN}") == ("${env:OTHER} $${", ("${env:OTHER} $${",))


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"abc", "abc"), (b"abc\n", "abc"), (b"abc\r\n", "abc"), (b"abc\n\n", "abc\n"), (b"\xc3\xa9", "é")],
)
def test_a_file_loses_the_line_break_at_its_end(tmp_path: Path, data: bytes, value: str) -> None:
    (tmp_path / "f").write_bytes(data)
    assert references.filled(f"${{file:{tmp_path}/f}}")[0] == value


def test_a_value_may_be_64_kib(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * references.BYTES_MAX + b"\n")
    assert len(references.filled(f"${{file:{tmp_path}/f}}")[0]) == references.BYTES_MAX
    for size in (references.BYTES_MAX + 1, 10 * references.BYTES_MAX):
        (tmp_path / "f").write_bytes(b"\xff" * size if size > references.BYTES_MAX + 1 else b"x" * size)
        with pytest.raises(ValueError, match=r"f\} is longer than 64 KiB"):
            references.filled(f"${{file:{tmp_path}/f}}")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.path.exists, "cannot be read (No such file or directory)"),
        (os.mkfifo, "cannot be read (is a FIFO and no regular file)"),
        (os.mkdir, "is a directory and no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device and no regular file"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b""), "is empty; give it a value"),
        (lambda path: path.write_bytes(b"a\xff"), "is not UTF-8 at byte 1"),
    ],
)
def test_a_file_that_holds_no_value_is_refused(tmp_path: Path, make: object, problem: str) -> None:
    make(tmp_path / "f")  # type: ignore[operator]
    with pytest.raises(ValueError, match=re.escape(problem)):
        references.filled(f"${{file:{tmp_path}/f}}")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${env:MISSING}", "the environment variable MISSING is not set; set it, MISSING=... loadgen run"),
        ("${env:}", "write the name of an environment variable"),
        ("${env:A-B}", "write the name of an environment variable"),
        ("${TOKEN}", "write ${env:NAME} or ${file:PATH}; $${ stands for ${ itself"),
        ("${env:TOKEN", "write ${env:NAME} or ${file:PATH}"),
        ("${vault:x}", "write ${env:NAME} or ${file:PATH}"),
        ("${file:/nowhere/at/all}", "the file /nowhere/at/all cannot be read"),
    ],
)
def test_what_is_not_there_is_said_with_its_place(written: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.parse(http(f"  headers: {{X-A: '${{env:TOKEN}}', X-B: '{written}'}}\n"), "mine.yaml")
    assert str(caught.value).startswith(f"mine.yaml:7:39: protocol.headers.X-B: {message}")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf_8_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "a\udcff")
    with pytest.raises(ValueError, match="TOKEN is not UTF-8"):
        references.filled("${env:TOKEN}")


@pytest.mark.parametrize("value", ["a\nSet-Cookie: x", 'a"}\nname: other\n#', "- {a: [", "*alias", "é" * 10])
def test_a_value_is_no_yaml_and_no_second_header(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A body takes any text as it is; a header refuses line breaks, without showing the value."""
    monkeypatch.setenv("TOKEN", value)
    read = scenario.parse(http("  body: ${env:TOKEN}\n"))
    assert (read.name, read.protocol.filled()["body"]) == ("n", value)
    if "\n" in value or not value.isascii():
        with pytest.raises(ScenarioError, match="write headers as NAME: VALUE") as caught:
            scenario.parse(http("  headers: {X-A: '${env:TOKEN}'}\n"))
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["name: ${env:TOKEN}", "tls: {server_name: '${env:TOKEN}'}", "expect: ['${file:/x}']", "hold: ${env:TOKEN}"]
)
def test_nothing_else_is_filled_in(line: str) -> None:
    """A name, an address or a duration stands in the results, where a secret must not be."""
    with pytest.raises(ScenarioError, match="only options of protocol are filled in") as caught:
        scenario.parse(HEAD.replace("name: n\n", "") + line + "\n" + ("" if line.startswith("name") else "name: n\n"))
    assert "s3cret-token" not in str(caught.value)


def test_a_description_may_speak_of_it() -> None:
    text = f"{HEAD}description: 'send ${{env:TOKEN}}'\n"
    assert scenario.parse(text).description == "send ${env:TOKEN}"


def test_a_name_of_a_header_is_not_filled_in() -> None:
    with pytest.raises(ScenarioError, match="a name cannot be filled in; write it out"):
        scenario.parse(http("  headers: {'${env:TOKEN}': x}\n"))


def test_overrides_and_cells_are_filled_in() -> None:
    override = ["protocol.headers.X-A=Bearer ${env:TOKEN}"]
    read = scenario.parse(http("  path: /\n"), overrides=override)
    assert read.protocol.filled()["headers"] == {"X-A": "Bearer s3cret-token"}
    assert read.holds_secrets
    text = http("  path: /\n") + "lab: {}\nmatrix: {protocol.headers.X-A: ['${env:TOKEN}', none]}\n"
    whole, cells = scenario.parse_cells(text)
    assert [cell.settings for cell in cells] == [
        {"protocol.headers.X-A": "${env:TOKEN}"},
        {"protocol.headers.X-A": "none"},
    ]
    assert [cell.scenario.holds_secrets for cell in cells] == [True, False]
    assert not whole.holds_secrets
    assert cells[0].scenario.protocol.filled()["headers"] == {"X-A": "s3cret-token"}


def test_a_payload_is_filled_in_and_what_it_carries_is_hidden(tmp_path: Path) -> None:
    text = f"{HEAD}protocol: {{name: payload, send: 'AUTH ${{env:TOKEN}}\\r\\n', expect: +OK}}\n"
    options = scenario.parse(text).protocol.options
    assert str(options["send"]) == "AUTH ${env:TOKEN}\\r\\n"
    (tmp_path / "f").write_bytes(b"GET / HTTP/1.1\r\nAuthorization: Bearer s3cret-token\r\n\r\n")
    text = f"{HEAD}protocol: {{name: payload, send_file: '{tmp_path}/f', expect: +OK}}\n"
    traffic = scenario.parse(text).protocol
    assert "s3cret-token" not in repr(traffic)
    assert "Authorization: ***" in str(traffic.options["send"])
    assert "s3cret-token" in traffic.filled()["send"]
