"""An event: words for everybody, and keys that only some kinds of it have."""

from __future__ import annotations

from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.sides import ProbeResult


def test_keys_without_a_value_are_left_out_of_the_file() -> None:
    assert files.plain(Event(event="ended", text="done", t_s=4.0)) == {"t_s": 4.0, "event": "ended", "text": "done"}


def test_the_first_cell_is_a_value() -> None:
    event = Event(event="cell-started", text="", t_s=0.0, cell=0, round=1)
    assert files.plain(event) == {"t_s": 0.0, "event": "cell-started", "text": "", "cell": 0, "round": 1}


def test_a_probe_has_its_counts_or_a_reason() -> None:
    event = Event(event="probe", text="", t_s=1.0, name="one", result=ProbeResult(established=0, failed=0, errors={}))
    assert files.plain(event)["result"] == {"established": 0, "failed": 0, "errors": {}}
    assert files.read(files.line_of(event), Event) == event
