"""What lies under docs/ for editors and programs is what the commands print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadgen import scenario
from loadgen.cli import main
from loadgen.facts.document import facts_schema
from loadgen.results.schema.json_schema import summary_schema

DOCS = Path(__file__).parents[3] / "docs"
SCHEMAS = {"scenario": scenario.json_schema, "summary": summary_schema, "facts": facts_schema}


@pytest.mark.parametrize("what", SCHEMAS)
def test_the_schema_under_docs_is_the_one_that_is_printed(what: str) -> None:
    printed = CliRunner().invoke(main.cli, ["schema", what])
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert json.loads(printed.stdout) == SCHEMAS[what]()
    kept = (DOCS / "schema" / f"{what}.schema.json").read_text()
    assert kept == printed.stdout, "make schemas writes it anew"


def test_the_scenario_is_what_is_printed_without_a_word() -> None:
    invoke = CliRunner().invoke
    assert invoke(main.cli, ["schema"]).stdout == invoke(main.cli, ["schema", "scenario"]).stdout
    assert invoke(main.cli, ["schema", "report"]).exit_code == 2
