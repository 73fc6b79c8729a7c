"""The reader and writer of every file: the same comes back, and anything else is refused with the key that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Plan
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import RunSummary
from tests import samples

SHAPES: Final[dict[str, type]] = {
    "plan.json": Plan,
    "host.json": Host,
    "series.jsonl": Line,
    "events.jsonl": Event,
    "matrix.json": MatrixPlan,
}
RECORDED: Final = sorted(path for path in samples.RUNS.rglob("*.json*") if path.name in {*SHAPES, "summary.json"})
#: One text of every kind of file.
ONE_OF_EACH: Final = {
    **{
        name: (samples.RUNS / ("matrix" if name == "matrix.json" else "hold") / name).read_text().splitlines()[0]
        if name.endswith("l")
        else (samples.RUNS / ("matrix" if name == "matrix.json" else "hold") / name).read_text()
        for name in SHAPES
    },
    "summary.json": (samples.RUNS / "churn" / "summary.json").read_text(),
    "summary.json of a matrix": (samples.RUNS / "matrix" / "summary.json").read_text(),
}


def reader_of(name: str) -> Callable[[bytes], Any]:
    """How a file of that name is read."""
    shape = SHAPES.get(name)
    return (lambda text: files.read(text, shape)) if shape else files.read_summary


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: str(path.relative_to(samples.RUNS)))
def test_a_recorded_file_is_written_as_it_was(path: Path) -> None:
    """Of host.json, which is not written from its type, a value that is the default is left out."""
    text, read = path.read_text(), reader_of(path.name)
    for whole in text.splitlines() if path.suffix == ".jsonl" else [text]:
        value = read(whole.encode())
        for written in (files.line_of(value), files.pretty(value).encode()):
            assert read(written) == value
            defaults = json.loads(whole) if path.name == "host.json" else {}
            assert {**defaults, **json.loads(written)} == json.loads(whole)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_unknown_key_is_passed_over(name: str) -> None:
    """A later version may write more."""
    read, data = reader_of(name), json.loads(ONE_OF_EACH[name])
    assert read(json.dumps({**data, "unheard_of": {"x": [1]}}).encode()) == read(ONE_OF_EACH[name].encode())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("plan.json", "connections"),
        ("plan.json", "ports.low"),
        ("plan.json", "targets.1.endpoint"),
        ("series.jsonl", "t_s"),
        ("series.jsonl", "latency_ns"),
        ("events.jsonl", "event"),
        ("matrix.json", "cells"),
        ("matrix.json", "cells.0.settings"),
        ("summary.json", "outcomes"),
        ("summary.json", "outcomes.failed"),
        ("summary.json", "sources.0.capacity"),
        ("summary.json", "churn.ceiling.because"),
        ("summary.json of a matrix", "cells.1.runs.0.verdict.limit"),
    ],
)
def test_a_key_that_is_missing_is_named(name: str, key: str) -> None:
    data = json.loads(ONE_OF_EACH[name])
    *parents, last = key.split(".")
    inner = data
    for parent in parents:
        inner = inner[int(parent)] if isinstance(inner, list) else inner[parent]
    del inner[last]
    with pytest.raises(ValueError, match=rf"missing required field `{last}`{place(parents)}"):
        reader_of(name)(json.dumps(data).encode())


def place(keys: list[str]) -> str:
    """The end of a message about an object below these keys, as a pattern."""
    path = "".join(rf"\[{key}\]" if key.isdecimal() else rf"\.{key}" for key in keys)
    return rf" - at `\${path}`$" if keys else "$"


@pytest.mark.parametrize("value", ["x", None, [], {}, True, 1.5, -1])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("plan.json", "ports.low"),
        ("series.jsonl", "started"),
        ("series.jsonl", "open_peak"),
        ("series.jsonl", "workers.alive"),
        ("series.jsonl", "sink.accepted"),
        ("matrix.json", "repeat"),
        ("summary.json", "outcomes.failed"),
        ("summary.json", "latency_us.connect.count"),
        ("summary.json", "sources.0.capacity"),
        ("summary.json of a matrix", "cells.0.runs.1.churn"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(name: str, key: str, value: Any) -> None:
    if value is None and key.endswith("churn"):
        return  # a run that held has none
    data = samples.changed(json.loads(ONE_OF_EACH[name]), {key: value})
    pattern = place(key.split(".")).removesuffix("$") if key != "ports.low" or value != -1 else r" - at `\$\.ports`"
    with pytest.raises(ValueError, match=pattern):
        reader_of(name)(json.dumps(data).encode())


@pytest.mark.parametrize("value", ["x", None, [], True, -0.5])
@pytest.mark.parametrize(
    ("name", "key"),
    [("series.jsonl", "t_s"), ("series.jsonl", "cpu_s"), ("summary.json", "churn.mean_per_s")],
)
def test_an_amount_is_a_number_and_not_below_0(name: str, key: str, value: Any) -> None:
    data = samples.changed(json.loads(ONE_OF_EACH[name]), {key: value})
    with pytest.raises(ValueError, match=place(key.split("."))):
        reader_of(name)(json.dumps(data).encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["series.jsonl", "summary.json"])
def test_a_number_that_json_does_not_have_is_refused(name: str, number: str) -> None:
    key = "t_s" if name == "series.jsonl" else "duration_s"
    text = json.dumps(samples.changed(json.loads(ONE_OF_EACH[name]), {key: 123456})).replace("123456", number)
    with pytest.raises(ValueError, match=rf"Number out of range - at `\$\.{key}`|JSON is malformed"):
        reader_of(name)(text.encode())


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="torn"),
        pytest.param(lambda text: text + text, id="twice"),
        pytest.param(lambda text: b"[" + text + b"]", id="a list"),
        pytest.param(lambda text: b"[" * 100_000 + text, id="deep"),
        pytest.param(lambda text: text.replace(b"{", b'{"deeper": ' + b"[" * 100_000, 1), id="deep below a key"),
        pytest.param(lambda text: re.sub(rb'": ?"', b'": "\xff', text), id="not UTF-8"),
        pytest.param(lambda text: text.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(lambda text: text.replace(b": ", b" ", 1).replace(b":", b" ", 1), id="no JSON"),
    ],
)
def test_a_spoilt_file_is_refused(name: str, spoilt: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        reader_of(name)(spoilt(ONE_OF_EACH[name].encode()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(sorted(ONE_OF_EACH))


def read_or_refused(name: str, text: bytes) -> None:
    """Any error but ValueError is a failure; a value that was read can be written and read again."""
    try:
        value = reader_of(name)(text)
    except ValueError:
        return
    assert reader_of(name)(files.line_of(value)) == value
    assert files.plain(value) == json.loads(files.pretty(value))


@given(names, st.binary() | st.builds(lambda value: json.dumps(value).encode(), json_values))
def test_whatever_a_file_holds_is_read_or_refused(name: str, text: bytes) -> None:
    read_or_refused(name, text)


@given(names, json_values, st.data())
def test_whatever_stands_at_a_key_is_read_or_refused(name: str, value: Any, data: st.DataObject) -> None:
    """At any key, as deep as it may stand."""
    whole = json.loads(ONE_OF_EACH[name])
    inner = whole
    while True:
        keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = value
    read_or_refused(name, json.dumps(whole).encode())


@given(names, st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_whatever_is_overwritten_is_read_or_refused(name: str, at: int, text: bytes) -> None:
    whole = ONE_OF_EACH[name].encode()
    at %= len(whole)
    read_or_refused(name, whole[:at] + text + whole[at + len(text) :])


def test_a_summary_with_cells_is_that_of_a_matrix() -> None:
    assert type(files.read_summary(ONE_OF_EACH["summary.json"].encode())) is RunSummary
    assert type(files.read_summary(ONE_OF_EACH["summary.json of a matrix"].encode())) is MatrixSummary


def test_plain_data_is_checked_like_a_file() -> None:
    data = json.loads(ONE_OF_EACH["summary.json"])
    assert files.plain(files.convert(data, RunSummary)) == data
    with pytest.raises(ValueError, match=r"`int` >= 0 - at `\$\.outcomes\.failed`"):
        files.convert(samples.changed(data, {"outcomes.failed": -1}), RunSummary)


def test_text_is_pretty_or_one_line() -> None:
    event = samples.events()[0]
    assert files.line_of(event).count(b"\n") == 1
    assert files.line_of(event).endswith(b"}\n")
    assert files.pretty(event).startswith('{\n  "t_s"') or files.pretty(event).startswith('{\n  "event"')
    assert files.pretty(event).endswith("}\n")
