"""Credentials that are written out in a scenario are masked in what is kept of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from loadgen import scenario, secret
from loadgen.compare import differences
from loadgen.errors import ScenarioError
from loadgen.results import run_directory
from loadgen.scenario import kept_setting, kept_text, masking, yaml_document
from loadgen.secret import MASK
from loadgen.views.html import run as html
from tests import samples

HEAD = (
    "name: n\nsources: {addresses: 127.0.0.2}\n"
    "targets: [{address: 127.0.0.1:9000, sink: {speaks: http}}]\nconnections: 1\n"
)
CANARY = "c4nary-v4lue"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_sought", set())


def http(options: str) -> str:
    return f"{HEAD}protocol:\n  name: http  # plain\n{options}"


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "X-Api-Key", "X-Auth-Token", "x-csrf-token"),
        *("X-Functions-Key", "Client-Secret", "password", "api_key", "apikey", "access_token", "X-Amz-Signature"),
    ],
)
def test_a_value_with_the_name_of_a_credential_is_masked(name: str) -> None:
    assert masking.masked(CANARY, name) == (MASK, (CANARY,))
    assert masking.masked("${env:X}", name) == ("${env:X}", ())
    assert masking.masked("", name) == ("", ())


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "key", "size", "expect", "Monkey", "tokenizer", "path"])
def test_other_values_stay(name: str) -> None:
    assert masking.masked(CANARY, name) == (CANARY, ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/a?token={CANARY}&b=1", "/a?token=***&b=1"),
        (f"/a?b=1&X-Amz-Signature={CANARY}", "/a?b=1&X-Amz-Signature=***"),
        (f"/a?key={CANARY}&key=${{env:X}}", "/a?key=***&key=${env:X}"),
        (f"user=u&password={CANARY}", "user=u&password=***"),
        (f'{{"password" : "{CANARY}", "n": 1}}', '{"password" : "***", "n": 1}'),
        (f'{{"api_key":"{CANARY}\\"x"}}', '{"api_key":"***"}'),
        (f"GET / HTTP/1.1\r\nCookie: {CANARY}\r\nHost: x\r\n", "GET / HTTP/1.1\r\nCookie: ***\r\nHost: x\r\n"),
        (f"GET / HTTP/1.1\\r\\nCookie: {CANARY}\\r\\n", "GET / HTTP/1.1\\r\\nCookie: ***\\r\\n"),
        (f"http://user:{CANARY}@host/x", "http://***@host/x"),
        ("/a?tokens=1&monkey=2#x", "/a?tokens=1&monkey=2#x"),
    ],
)
def test_a_credential_within_a_text_is_masked(text: str, shown: str) -> None:
    assert masking.masked(text)[0] == shown
    assert masking.masked(shown)[0] == shown


@pytest.mark.parametrize(
    "options",
    [
        f"  headers: {{Authorization: Bearer {CANARY}, Accept: '*/*'}}  # why\n",
        f"  headers:\n    Authorization: >-\n      Bearer\n      {CANARY}\n    Accept: '*/*'\n",
        f"  headers:\n    Authorization: 'Bearer\n      {CANARY}'\n    Accept: '*/*'\n",
        f'  headers: {{"Authorization": "Bearer \\u0063{CANARY[1:]}", Accept: "*/*"}}\n',
        f"  headers: {{Accept: '*/*', Cookie: {CANARY}, X-Api-Key: {CANARY}}}\n",
        f"  path: /a?token={CANARY}&x=1\n  headers: {{Accept: '*/*'}}\n",
        f"  headers: {{Accept: '*/*'}}\n  body: |\n    password={CANARY}&b=1\n",
        f"  headers: {{Accept: '*/*'}}\n  body: |+\n    password={CANARY}\n\n",
        f"  headers: {{Accept: '*/*', X-Api-Key: {CANARY}}}\n# the key was {CANARY}\n",
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_scenario_is_kept_without_its_credentials(options: str, ends: str) -> None:
    text = http(options)
    read = scenario.parse(text.replace("\n", ends))
    assert read.holds_secrets
    kept = kept_text(text.replace("\n", ends))
    assert CANARY not in kept
    assert MASK in kept.splitlines()[0]
    assert kept_text(kept) == kept  # nothing is left to be masked
    data, other = yaml_document.read(text, "a").data, yaml_document.read(kept, "b").data
    assert {**data, "protocol": None} == {**other, "protocol": None}
    assert other["protocol"]["headers"]["Accept"] == "*/*"
    assert ("# plain" in kept) is ("the key was" not in options)
    with pytest.raises(ScenarioError, match=r"\*\*\* stands for a value that was not written to this file"):
        scenario.parse(kept)
    assert CANARY not in repr(read)


def test_a_scenario_without_credentials_is_kept_as_it_is() -> None:
    text = http("  headers: {X-A: '${env:PATH}', Accept: text/html}  # why\n")
    assert kept_text(text) == text


def test_pages_about_runs_of_an_older_loadgen_are_masked_as_well(tmp_path: Path) -> None:
    text = http(f"  headers: {{Cookie: {CANARY}}}\n")
    for words in (scenario.shown_text(text), str(differences.scenario_of(text))):
        assert MASK in words
        assert CANARY not in words
    plan = samples.plan({"traffic.protocol": "http", "traffic.options": {"path": f"/?token={CANARY}"}})
    assert CANARY not in str(differences.plan_of(plan))
    assert scenario.shown_text("no: [scenario") == "no: [scenario"
    run = Path(shutil.copytree(samples.RUNS / "hold", tmp_path / "run"))
    (run / "scenario.yaml").write_text(text)
    read = run_directory.read(run)
    page = html.render(read, read.summarised())
    assert CANARY not in page
    assert "Cookie" in page


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("hold=1m", "hold=1m"),
        ("protocol.headers.Accept=x", "protocol.headers.Accept=x"),
        (f"protocol.headers.Cookie={CANARY}", 'protocol.headers.Cookie="***"'),
        ("protocol.headers.Cookie=${env:X}", "protocol.headers.Cookie=${env:X}"),
        (f"protocol.path=/a?token={CANARY}", 'protocol.path="/a?token=***"'),
        (
            f"protocol={{name: http, headers: {{Cookie: {CANARY}}}}}",
            'protocol={"name": "http", "headers": {"Cookie": "***"}}',
        ),
        (f"matrix.protocol.headers.Cookie=[{CANARY}, a]", 'matrix.protocol.headers.Cookie=["***", "***"]'),
        (f"matrix={{protocol.path: ['/?sig={CANARY}']}}", 'matrix={"protocol.path": ["/?sig=***"]}'),
        (f"protocol.headers.Cookie='{CANARY}", "protocol.headers.Cookie=***"),
        ("protocol.headers=null", "protocol.headers=null"),
        ("find=null", "find=null"),
        ("nonsense", "nonsense"),
    ],
)
def test_an_override_is_kept_without_its_credentials(setting: str, kept: str) -> None:
    assert kept_setting(setting) == kept


def test_a_message_about_an_override_does_not_repeat_it() -> None:
    for setting in (f"protocol.headers.Cookie=[{CANARY}]", f"protocol.headers.Cookie='{CANARY}"):
        with pytest.raises(ScenarioError) as caught:
            scenario.parse(http("  headers: {Accept: x}\n"), overrides=[setting])
        assert CANARY not in str(caught.value)
        assert "--set protocol.headers.Cookie" in str(caught.value)


def test_cells_are_named_without_their_credentials() -> None:
    text = http("  path: /\n") + f"lab: {{}}\nmatrix: {{protocol.headers.Cookie: [{CANARY}, '{CANARY}2']}}\n"
    whole, cells = scenario.parse_cells(text)
    assert CANARY not in repr((whole, cells))
    assert cells[0].scenario.protocol.filled()["headers"] == {"Cookie": CANARY}
    assert CANARY not in kept_text(text)
    with pytest.raises(ScenarioError, match="is in this list already") as caught:
        scenario.parse_cells(text.replace("v4lue2", "v4lue"))
    assert CANARY not in str(caught.value)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp", "Cn"))))
def test_any_text_that_can_be_a_header_is_kept_out(value: str) -> None:
    text = http(f"  headers: {{Accept: a, Cookie: {json.dumps(value, ensure_ascii=False)}}}\n")
    kept = yaml_document.read(kept_text(text), "a").data["protocol"]["headers"]
    assert kept == {"Accept": "a", "Cookie": MASK if value and "${" not in value else value}


def test_a_key_in_a_file_of_authorities_stays_out_of_the_plan(tmp_path: Path) -> None:
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    tls = scenario.parse(f"{HEAD}tls: {{ca: {path}}}\n").tls
    assert tls is not None
    assert "PRIVATE KEY" not in str(tls.ca)
    assert "BEGIN CERTIFICATE" in str(tls.ca)
