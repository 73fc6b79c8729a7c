"""The answer as JSON."""

from __future__ import annotations

import json

from loadgen.explain import plain
from tests.unit.explain.samples import NGINX, RANGE, explained, listing, space


def test_the_json_has_what_the_answer_has() -> None:
    answer = json.loads(json.dumps(plain.as_json(explained("prose\n", NGINX, RANGE, listing(*space("ESTAB", 100))))))
    assert list(answer) == ["schema", "findings", "spaces", "missing", "notes", "pieces", "unread", "more_unread"]
    assert answer["schema"] == "loadgen.explain/1"
    (finding,) = answer["findings"]
    assert (finding["limit"], finding["confidence"], finding["candidates"]) == ("four-tuples", "certain", [])
    assert finding["evidence"][0].keys() == {"text", "file", "line"}
    assert finding["remedies"][0].keys() >= {"text", "set", "sysctls", "command", "needs", "gain"}
    assert {one["limit"] for one in finding["refuted"]} == {"time-wait", "port-held", "source-address"}
    assert answer["spaces"][0]["used"] == 100
    assert answer["unread"] == [{"file": "-", "first": 1, "last": 1, "why": ""}]
