"""Files, texts and overrides -> scenarios, and the cells of a matrix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import scenario
from loadgen.errors import ExitCode, ScenarioError
from loadgen.model import (
    Endpoint,
)
from loadgen.scenario import messages, parse

from .support import EVERYTHING, SMALLEST, refusal


def test_overrides_go_through_the_same_checks() -> None:
    settings_ = [
        "connections=1_000",
        "lab.sysctls.net.ipv4.tcp_tw_reuse=1",
        "targets.0.address=127.0.0.1:80",
        "hold=2m",
    ]
    found = parse(SMALLEST, overrides=settings_)
    assert (found.connections, found.hold_s) == (1000, 120.0)
    assert found.every_target[0].endpoint == Endpoint("127.0.0.1", 80)
    assert found.lab is not None
    assert found.lab.sysctls == {"net.ipv4.tcp_tw_reuse": 1}


def test_a_later_override_wins() -> None:
    assert parse(SMALLEST, overrides=["connections=1", "connections=2"]).connections == 2


def test_a_file_is_loaded_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    assert scenario.load(path) == parse(EVERYTHING)
    assert scenario.load(path, ["connections=7"]).connections == 7
    path.write_text("name: 5", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        scenario.load(path)
    assert str(caught.value).startswith(f"{path}:1:7: ")
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("missing.yaml", "no such file"),
        (".", "is a directory"),
        ("x\0y", "cannot be read"),
        ("a\n\x1b.yaml", "no such"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.load(tmp_path / name)
    assert hint in caught.value.message
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_huge_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ScenarioError, match="larger than 256 KiB"):
        scenario.load(Path("/dev/zero"))


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"name: x\nhold: \xff")
    with pytest.raises(ScenarioError, match=r":2:7: byte 0xff is not UTF-8"):
        scenario.load(path)


# --- Any text ---------------------------------------------------------------------------------------

VALUES: Any = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["30s", "5/s", "::1", "eth0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rate", "to", "address"]), inner),
    max_leaves=6,
)

KEYS = st.sampled_from([*messages.fields_of(()), "unknown", "lab.sysctls.net.x", "targets.0.address", "sources.ports"])


@settings(max_examples=200)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=3))
def test_any_value_anywhere_is_taken_or_refused_and_nothing_else(pairs: list[tuple[str, Any]]) -> None:
    try:
        found = parse(SMALLEST, overrides=[f"{key}={json.dumps(value)}" for key, value in pairs])
    except ScenarioError as error:
        text = str(error)
    else:
        text = repr(found.name)
        assert len(found.sources.expanded) <= 65_536
    assert all(line.isprintable() for line in text.split("\n"))


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_any_text_is_taken_or_refused_and_nothing_else(text: str) -> None:
    for whole in (text, SMALLEST + text):
        try:
            parse(whole)
        except ScenarioError as error:
            message = str(error)
        else:
            message = ""
        assert all(line.isprintable() for line in message.split("\n"))


# --- The cells of a matrix --------------------------------------------------------------------------

SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios").glob("*.yaml"))

BASE = """\
name: m
lab: {}
sources: {addresses: 127.0.0.1}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 10
"""


def test_every_combination_is_a_cell_and_the_first_key_changes_slowest() -> None:
    text = BASE + "matrix:\n  sources.strategy: [late, explicit]\n  lab.sysctls.net.ipv4.tcp_tw_reuse: [0, 1, 2]\n"
    whole, cells = scenario.parse_cells(text)
    assert [tuple(cell.settings.values()) for cell in cells] == [
        (strategy, reuse) for strategy in ("late", "explicit") for reuse in (0, 1, 2)
    ]
    for cell in cells:
        assert cell.scenario.lab
        assert cell.scenario.sources.strategy == cell.settings["sources.strategy"]
        assert list(cell.scenario.lab.sysctls.items()) == [("net.ipv4.tcp_tw_reuse", [*cell.settings.values()][1])]
        assert not cell.scenario.matrix
    assert whole.lab
    assert not whole.lab.sysctls


def test_a_scenario_without_a_matrix_has_no_cells() -> None:
    whole, cells = scenario.parse_cells(BASE)
    assert cells == ()
    assert whole == scenario.parse(BASE)


def test_expectations_of_cells_stay_with_the_matrix_and_the_others_go_to_each_cell() -> None:
    text = BASE + "matrix: {connections: [1, 2]}\nexpect: [outcomes.failed == 0, cells.1.outcomes.established == 2]\n"
    whole, cells = scenario.parse_cells(text)
    assert [[one.text for one in cell.scenario.expect] for cell in cells] == [["outcomes.failed == 0"]] * 2
    assert [one.text for one in whole.expect if scenario.about_cells(one)] == ["cells.1.outcomes.established == 2"]


def test_an_override_changes_what_all_cells_have_in_common_and_one_list() -> None:
    text = BASE + "matrix:\n  sources.strategy: [late, explicit]\n"
    _, cells = scenario.parse_cells(text, overrides=["connections=3", "matrix.sources.strategy=[late, bind, kernel]"])
    assert [(cell.scenario.connections, cell.scenario.sources.strategy.value) for cell in cells] == [
        (3, "late"),
        (3, "bind"),
        (3, "kernel"),
    ]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("matrix:\n  sources.strategy: [late, lat]\n", 's.yaml:7:28: sources.strategy: unknown word "lat"'),
        ("matrix:\n  connections:\n    - 1\n    - 0\n", "s.yaml:9:7: connections: write at least 1"),
        ("matrix:\n  sources.strateg: [late]\n", 's.yaml:7:3: sources: unknown key "strateg"'),
        ("matrix:\n  sources..x: [late]\n", "s.yaml:7:3: KEY is names"),
        ("matrix:\n  targets.3.sink: [true]\n", 's.yaml:7:3: "targets" is a list of 1'),
        ("matrix:\n  lab.sysctls.kernel.x: [1]\n", "s.yaml:7:3: lab.sysctls.kernel.x: only settings"),
        ("matrix:\n  connections: 5\n", "s.yaml:7:16: matrix.connections: write a list of values"),
        ("matrix:\n  connections: []\n", "s.yaml:7:16: matrix.connections: write a list of values"),
        ("matrix:\n  connections: [5, 6, 5]\n", "s.yaml:7:23: matrix.connections.2: 5 is in this list already"),
        ("matrix:\n  matrix.hold: [1s]\n", "s.yaml:7:3: matrix.matrix.hold: a matrix cannot change itself"),
        ("matrix: [5]\n", "s.yaml:6:9: matrix: write a mapping"),
        ("matrix: 5\n", "s.yaml:6:9: matrix: write a mapping"),
        (
            "matrix:\n  sources: [{addresses: 127.0.0.2}]\n  sources.strategy: [late]\n",
            's.yaml:8:3: matrix: "sources.strategy" would be replaced together',
        ),
        (f"matrix:\n  connections: {list(range(1, 202))}\n", "s.yaml:7:3: matrix: these are 201 combinations"),
        ("matrix: {connections: [1]}\nexpect: [cells.1.x == 0]\n", "s.yaml:7:10: expect.0: there are cells.0 to"),
        ("matrix: {connections: [1]}\nexpect: [cells == 0]\n", "s.yaml:7:10: expect.0: there are cells.0 to"),
        ("expect: [cells.0.x == 0]\n", "s.yaml:6:10: expect.0: there are no cells"),
    ],
)
def test_what_is_wrong_with_a_matrix_is_said_where_it_stands(matrix: str, message: str) -> None:
    assert str(refusal(BASE + matrix)).startswith(message)


def test_a_matrix_needs_a_lab_that_is_one() -> None:
    matrix = "matrix: {connections: [1]}\n"
    assert str(refusal(BASE.replace("lab: {}\n", "") + matrix)).startswith("s.yaml:5:1: matrix: every run has")
    assert str(refusal(BASE.replace("{}", "{fallback: host}", 1) + matrix)).startswith(
        "s.yaml:2:17: lab.fallback: matrix"
    )


def test_a_value_of_an_override_is_shown_as_the_override() -> None:
    assert str(refusal(BASE, "matrix.connections=[0]")).startswith(
        "--set matrix.connections=[0]: connections: write at"
    )


FIND = "expect: [outcomes.failed == 0]\nfind:\n  {vary: connections, from: 10, to: 20,\n"


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("expect: [cells.0.value > 3]}\n", "s.yaml:9:13: find.expect.0: there is one answer, without a cell"),
        (
            "expect: [cells.1.value > 3, cells.2.value > 3]}\nmatrix: {close: [fin, rst]}\n",
            "s.yaml:9:32: find.expect.1: there is one answer for each cell, cells.0 to cells.1",
        ),
        (
            "expect: [limit == none]}\nmatrix: {close: [fin, rst]}\n",
            "s.yaml:9:13: find.expect.0: there is one answer for",
        ),
    ],
)
def test_a_condition_is_on_an_answer_that_will_be_there(rest: str, message: str) -> None:
    assert str(refusal(BASE + FIND + "   " + rest)).startswith(message)


def test_conditions_on_the_runs_of_a_cell_are_none_on_its_search() -> None:
    text = BASE + FIND.replace("[", "[cells.0.outcomes.failed == 0, ") + "  }\nmatrix: {close: [fin, rst]}\n"
    assert "expect.0: write conditions on the answer of a cell in find.expect" in str(refusal(text))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_that_comes_with_loadgen_is_valid(path: Path) -> None:
    assert scenario.load(path).name == path.stem
