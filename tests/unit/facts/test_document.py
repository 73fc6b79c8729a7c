"""Findings as a document of schema loadgen.facts/1, and documents of others read again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loadgen import facts
from loadgen.errors import UsageError
from loadgen.facts import document
from loadgen.facts.base import Cost, Fact, FactFinding, FactVerdict

VALIDATOR = jsonschema.Draft202012Validator(document.facts_schema(), format_checker=jsonschema.FormatChecker())


def make(number: str, *, expected: str = "ok", since: str = "", cost_what: str = "") -> Fact:
    return Fact(
        number, f"title of {number}", expected, since, f"source of {number}", "m.", lambda: "ok", cost_what=cost_what
    )


FINDINGS = [
    FactFinding(make("1.1"), "ok", FactVerdict.HOLDS, "", 0.0104),
    FactFinding(make("2.3", since="6.18"), "no", FactVerdict.DIFFERS, "Linux 6.1.0 is older than 6.18", 0.25),
    FactFinding(make("10.1"), "", FactVerdict.NOT_RUN, "needs a second user id; run as root", 1.5),
    FactFinding(make("12.1", cost_what="taken port"), "ok", FactVerdict.HOLDS, "", 0.1, Cost(57.249, 1000, 24.126)),
]


def made() -> dict[str, Any]:
    data: dict[str, Any] = facts.to_json(FINDINGS, started_at=datetime(2026, 1, 31, 12, 0, tzinfo=UTC))
    return data


def test_json_is_plain_and_complete() -> None:
    data = made()
    assert json.loads(json.dumps(data)) == data
    assert data["schema"] == "loadgen.facts/1"
    assert data["kernel"] == os.uname().release
    assert data["started_at"] == "2026-01-31T12:00:00+00:00"
    assert data["summary"] == {"holds": 2, "differs": 1, "not_run": 1}
    assert data["facts"][1] == {
        "number": "2.3",
        "title": "title of 2.3",
        "expected": "ok",
        "seen": "no",
        "verdict": "differs",
        "reason": "Linux 6.1.0 is older than 6.18",
        "since": "6.18",
        "source": "source of 2.3",
        "seconds": 0.25,
        "cost_ns": None,
        "cost_what": "",
        "cost_count": None,
        "cost_growth": None,
    }
    assert data["facts"][2]["verdict"] == "not run"
    measured = {key: value for key, value in data["facts"][3].items() if key.startswith("cost_")}
    assert measured == {"cost_ns": 57.2, "cost_what": "taken port", "cost_count": 1000, "cost_growth": 24.13}


def test_the_schema_describes_it_and_nothing_else() -> None:
    VALIDATOR.validate(made())
    for wrong in (made() | {"more": 1}, made() | {"schema": "loadgen.facts/2"}):
        assert not VALIDATOR.is_valid(wrong)
    for key in made()["facts"][0]:
        data = made()
        del data["facts"][0][key]
        assert not VALIDATOR.is_valid(data), key


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(made()))
    record = document.read(file).facts[3]
    assert (record.number, record.source, record.cost_ns, record.cost_what) == (
        "12.1",
        "source of 12.1",
        57.2,
        "taken port",
    )


def test_a_document_of_an_older_or_newer_version_is_read(tmp_path: Path) -> None:
    """Keys that came later have an empty value, and unknown ones are passed over."""
    data = made() | {"more": 1}
    for fact in data["facts"]:
        for key in ("source", "cost_ns", "cost_what", "cost_count", "cost_growth"):
            del fact[key]
        fact["more"] = 1
    file = tmp_path / "a.json"
    file.write_text(json.dumps(data))
    assert [(record.source, record.cost_ns) for record in document.read(file).facts] == [("", None)] * 4


def _changed(**changes: Any) -> str:
    data = made()
    data["facts"][0] |= changes
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", "no document of `loadgen facts --json`"),
        ("[1]", "Expected `object`"),
        ("{}", "its schema is None, not loadgen.facts/1"),
        (json.dumps({"schema": "loadgen.summary/1\x1b[2J"}), r"loadgen.summary/1\x1b[2J, not loadgen.facts/1"),
        (json.dumps({"schema": "loadgen.facts/1"}), "missing required field `kernel`"),
        (json.dumps(made() | {"facts": 3}), "$.facts"),
        (_changed(verdict="perhaps"), "facts[0].verdict"),
        (_changed(number="1.1\x1b[2J"), "facts[0].number"),
        (_changed(cost_ns=-1), "facts[0].cost_ns"),
        (_changed(seen=3), "facts[0].seen"),
        ('{"a":' * 5000, "no document"),
        ("\x00\xff", "no document"),
    ],
    ids=repr,
)
def test_another_file_is_refused_with_its_name_and_the_remedy(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError) as caught:
        document.read(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert said in message
    assert f"loadgen facts --json > {file}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("make_it", "said"),
    [(str, "is not there"), (Path.mkdir, "is a directory"), (os.mkfifo, "is a FIFO")],
    ids=["absent", "directory", "fifo"],
)
def test_what_is_no_file_is_refused(tmp_path: Path, make_it: Callable[[Path], object], said: str) -> None:
    place = tmp_path / "a.json"
    make_it(place)
    with pytest.raises(UsageError, match=said):
        document.read(place)
