"""A secret shows its mask to whoever writes it, and its value to whoever sends it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import crash, secret
from loadgen.model import Traffic
from loadgen.results.schema import files
from loadgen.secret import MASK, Secret

CANARY = "canary-17-kept"
TRAFFIC = Traffic("http", {"path": "/", "headers": {"X": Secret("Bearer ${env:T}", f"Bearer {CANARY}", (CANARY,))}})


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests made known is not looked for here, and the other way round."""
    monkeypatch.setattr(secret, "_sought", {CANARY})
    monkeypatch.setattr(secret, "_variables", set())


def test_nothing_that_writes_it_writes_its_value() -> None:
    written = [
        str(TRAFFIC),
        f"{TRAFFIC.options['headers']['X']:>40} {TRAFFIC!r}",
        files.pretty(TRAFFIC),
        str(files.plain(TRAFFIC)),
        files.line_of(TRAFFIC).decode(),
        str(dataclasses.asdict(TRAFFIC)),
    ]
    for text in written:
        assert CANARY not in text
        assert "Bearer ${env:T}" in text


@pytest.mark.parametrize("encode", [json.dumps, msgspec.json.encode, msgspec.to_builtins])
def test_an_encoder_that_does_not_know_it_fails(encode: Any) -> None:
    with pytest.raises(TypeError):
        encode(TRAFFIC.options["headers"])


def test_it_leaves_by_one_way() -> None:
    assert TRAFFIC.filled() == {"path": "/", "headers": {"X": f"Bearer {CANARY}"}}
    assert secret.are_in(TRAFFIC.options)
    assert not secret.are_in(TRAFFIC.filled())
    assert secret.are_in([(), {"a": [TRAFFIC.options["headers"]["X"]]}])


def test_it_is_itself_in_another_process() -> None:
    for other in (pickle.loads(pickle.dumps(TRAFFIC)), copy.deepcopy(TRAFFIC)):
        assert other == TRAFFIC
        assert other.filled() == TRAFFIC.filled()
    script = (
        "import pickle, sys; from loadgen import secret; traffic = pickle.load(sys.stdin.buffer); "
        "print(secret.scrubbed(repr(traffic.filled())))"
    )
    told = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(TRAFFIC), capture_output=True, check=True)
    assert told.stdout == b"{'path': '/', 'headers': {'X': 'Bearer ***'}}\n"


@given(st.text(min_size=6, max_size=30).filter(lambda text: text.isprintable() or "\n" in text))
def test_a_message_that_repeats_a_value_is_scrubbed(value: str) -> None:
    Secret(MASK, value, (value,))
    for text in (value, f"bad header: {value!r}", json.dumps({"a": value})):
        scrubbed = secret.scrubbed(text)
        assert value not in scrubbed.replace(MASK, "") or value in MASK
        assert MASK in scrubbed


def test_short_values_are_left_in_messages() -> None:
    """They stand in ordinary words: a password "n" would make every message unreadable."""
    Secret(MASK, "n", ("n",))
    assert secret.scrubbed("no route") == "no route"


def test_details_of_what_was_not_foreseen_are_scrubbed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "directory", str(tmp_path))
    try:
        raise ValueError(f"no header: {CANARY}")
    except ValueError as error:
        told = crash.told(error)
    (path,) = tmp_path.iterdir()
    assert CANARY not in told + path.read_text()
    assert f"no header: {MASK}" in told
    assert f"no header: {MASK}" in path.read_text()


def test_processes_started_later_do_not_inherit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", CANARY)
    assert secret.environment()["A_TOKEN"] == CANARY
    secret.held_by("A_TOKEN")
    assert "A_TOKEN" not in secret.environment()
    assert "PATH" in secret.environment()
