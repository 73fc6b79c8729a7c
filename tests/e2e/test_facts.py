"""`loadgen facts --compare`: two kernels side by side, and files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Loadgen, assert_one_message


def test_two_kernels_are_compared_as_text_and_as_json(loadgen: Loadgen, tmp_path: Path) -> None:
    made = loadgen("facts", "--only", "1.9", "--only", "9.6", "--json")
    assert made.code == 0, made.err
    here = tmp_path / "here.json"
    here.write_text(made.out)
    document = json.loads(made.out)
    document["kernel"] = "4.1.0"
    document["facts"][0]["seen"] = "32768 61000"
    there = tmp_path / "there.json"
    there.write_text(json.dumps(document))

    done = loadgen("facts", "--compare", there, here)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("2 facts: 1 the same, 1 different\n")
    assert "32768 61000" in done.out

    done = loadgen("facts", "--compare", there, here, "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert result["a"]["kernel"] == "4.1.0"
    assert {fact["number"]: fact["relation"] for fact in result["facts"]} == {"1.9": "differs", "9.6": "same"}


def test_other_files_and_other_options_are_refused(loadgen: Loadgen, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"schema": "loadgen.summary/1"}')
    for arguments in (
        (tmp_path / "absent.json", other),
        (other, other),
        (tmp_path, other),
        (other, other, "--list"),
        (other, other, "--only", "5"),
    ):
        done = loadgen("facts", "--compare", *arguments)
        assert done.code == 2
        assert_one_message(done)
