"""`loadgen export`: a real run in every format, to stdout, to a file and to a pipe; and what is refused."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.samples import RUNS

from .conftest import CHECKOUT, Loadgen, assert_one_message


def test_a_run_in_the_formats_of_text(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(), "--quiet", "--json")
    assert done.code == 0, done.err
    before = sorted(path.name for path in done.run.iterdir())
    table = loadgen("export", done.run, "--format", "csv")
    assert (table.code, table.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(table.out)))
    assert int(rows[-1]["established"]) == 200
    assert sum(int(row["connect_count"]) for row in rows) == 200
    assert float(rows[-1]["unix_s"]) > 1.7e9
    log = loadgen("export", done.run, "--format", "hlog")
    assert "\nTag=connect," in log.out
    metrics = loadgen("export", done.run, "--format", "openmetrics", "--out", loadgen.home / "run.om")
    assert (metrics.code, metrics.out, metrics.err) == (0, "", "")
    text = (loadgen.home / "run.om").read_text()
    assert "\nloadgen_connections_established_total 200.0 1" in text
    assert text.endswith("\n# EOF\n")
    assert sorted(path.name for path in done.run.iterdir()) == before


def test_parquet_or_what_it_needs(loadgen: Loadgen) -> None:
    out = loadgen.home / "run.parquet"
    done = loadgen("export", RUNS / "hold", "--format", "parquet", "--out", out)
    if find_spec("pyarrow"):
        assert (done.code, done.out, done.err) == (0, "", "")
        assert out.read_bytes()[:4] == b"PAR1"
    else:
        assert done.code == 3
        assert "pip install 'loadgen[parquet]'" in assert_one_message(done)
        assert not out.exists()


def test_a_reader_that_leaves_is_no_error() -> None:
    command = [sys.executable, "-m", "loadgen", "export", str(RUNS / "hold"), "--format", "csv", "--table", "pairs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=CHECKOUT, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        (RUNS / "matrix", ["--format", "csv"], f"export one of them: {RUNS}/matrix/cells/0, "),
        (RUNS, ["--format", "csv"], "is no run directory"),
        (Path("missing"), ["--format", "csv"], "missing is no run directory"),
        (RUNS / "hold", ["--format", "parquet"], "name a file with --out"),
        (RUNS / "hold", ["--format", "hlog", "--table", "pairs"], "--table pairs is for csv and parquet"),
        (RUNS / "hold", ["--format", "csv", "--out", "missing/run.csv"], "there is no directory missing"),
        (RUNS / "hold", ["--format", "openmetrics", "--out", "run.om"], "OpenMetrics needs times of day"),
    ],
)
def test_refusals(loadgen: Loadgen, run: Path, options: list[str], message: str) -> None:
    done = loadgen("export", run, *options)
    assert done.code == 2
    assert message in assert_one_message(done)
    assert not (loadgen.home / "run.om").exists()


def test_a_series_that_is_not_ours_leaves_the_old_file(loadgen: Loadgen) -> None:
    run, out = loadgen.home / "run", loadgen.home / "run.csv"
    run.mkdir()
    (run / "plan.json").write_bytes((RUNS / "hold" / "plan.json").read_bytes())
    (run / "series.jsonl").write_text('{"a": 1}\n' * 2)
    out.write_text("old")
    done = loadgen("export", run, "--format", "csv", "--out", out)
    assert done.code == 2
    assert "series.jsonl:1: not a line" in assert_one_message(done)
    assert out.read_text() == "old"
