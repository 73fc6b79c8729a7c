"""Documents of JSON are taken whole, on one line or many; what is not ours is let go."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.explain import text
from loadgen.explain.evidence import Evidence, Unread, Where
from loadgen.explain.formats import json_documents
from loadgen.explain.formats.json_documents import json_format
from tests.explained import evidence_of, lines_accounted_for

OURS = {"schema": "ours", "values": [1, 2.5, 'a } ] " { text', {"deep": [[]], "none": None, "yes": True}]}


def write(document: object, evidence: Evidence, where: Where) -> str:
    """Take documents of our own, and refuse those that say so."""
    if not isinstance(document, dict) or document.get("schema") != "ours":
        return ""
    if "bad" in document:
        raise ValueError("a bad value")
    evidence.kernel += f"{where.line} "
    return "ours"


FORMAT = json_format("json", "ours", [write])


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_one_document_and_prose_around_it(indent: int | None) -> None:
    body = json.dumps(OURS, indent=indent)
    found = evidence_of(f"before\n{body}\nafter\n", [FORMAT])
    end = 2 + body.count("\n")
    assert found.kernel == "2 "
    assert [(piece.what, piece.first, piece.last) for piece in found.pieces] == [("ours", 2, end)]
    assert found.unread == [Unread("-", 1, 1), Unread("-", end + 1, end + 1)]


def test_documents_that_follow_each_other_are_one_piece() -> None:
    found = evidence_of(f"{json.dumps(OURS)}\n{json.dumps(OURS, indent=2)}\n{json.dumps(OURS)}\n", [FORMAT])
    assert (len(found.kernel.split()), len(found.pieces), found.unread) == (3, 1, [])


def test_a_document_longer_than_a_block_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_BLOCK", 64)
    found = evidence_of(json.dumps(OURS | {"more": list(range(200))}, indent=1), [FORMAT])
    assert (found.kernel, found.unread) == ("1 ", [])


@pytest.mark.parametrize(
    "body",
    [
        '{"level": "error", "msg": "dial tcp"}',
        '{"schema": "another", "dst": 1}',
        "{ this is a block of a configuration }",
        "[2026-11-29 06:00:00] error",
        "{\n  errno: -99,\n  code: 'EADDRNOTAVAIL'\n}",
        '["dst":1]',
        "{}",
        "[",
        "{" * 100,
        "[\n" * 100,
    ],
)
def test_what_is_not_ours_is_left_to_others(body: str) -> None:
    found = evidence_of(body, [FORMAT])
    assert found.pieces == []
    assert [(one.first, one.last, one.why) for one in found.unread] == [(1, body.rstrip("\n").count("\n") + 1, "")]


def test_a_document_that_ends_too_early_is_said() -> None:
    body = json.dumps(OURS, indent=2).rsplit("\n", 3)[0]
    found = evidence_of(body, [FORMAT])
    assert [(one.first, one.why) for one in found.unread] == [(1, "JSON that is cut off or not valid")]


def test_a_value_that_is_wrong_is_said() -> None:
    found = evidence_of(json.dumps({"schema": "ours", "bad": 1}), [FORMAT])
    assert found.unread == [Unread("-", 1, 1, "a bad value")]


def test_a_document_beyond_the_maximum_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "DOCUMENT_MAX", 1 << 20)
    found = evidence_of('{"schema": "ours", "values": [\n' + "1,\n" * 400_000 + "1]}", [FORMAT])
    assert (found.kernel, found.unread[0].why) == ("", "JSON of more than 64 MiB")


def test_a_line_longer_than_any_other() -> None:
    body = json.dumps(OURS | {"more": list(range(40_000))})
    assert len(body) > text.LINE_MAX
    found = evidence_of(f"{body}\nprose\n{body[:-1]}\n", [FORMAT])
    assert found.kernel == "1 "
    assert found.unread == [Unread("-", 2, 2), Unread("-", 3, 3, "JSON that is cut off or not valid")]


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.integers(0, 2),
    st.integers(0, 500),
)
def test_any_json_and_any_part_of_it(value: object, indent: int, cut: int) -> None:
    whole = json.dumps({"schema": "ours", "value": value}, indent=indent or None)
    for body in (whole, whole[:cut], whole + whole[cut:], whole[cut:]):
        assert lines_accounted_for(body, evidence_of(body, [FORMAT]))


@given(st.text(alphabet='{}[]",:1 \nabc\\', max_size=200))
def test_any_text_is_read_or_left(body: str) -> None:
    assert lines_accounted_for(body, evidence_of(body, [FORMAT]))
