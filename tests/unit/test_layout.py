"""tests/unit mirrors loadgen/, bench/ and website/ file by file: loadgen/a/b.py is tested in tests/unit/a/test_b.py.

Class names of loadgen/ are unique. No file is a symbolic link.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

UNIT = Path(__file__).parent
CHECKOUT = UNIT.parents[1]


def mirrored(package: Path, folder: Path) -> dict[Path, Path]:
    """Each module of a package, relative to the checkout, with the test file that mirrors it."""
    modules = sorted(path for path in package.rglob("*.py") if path.name != "__main__.py")
    found = {}
    for module in modules:
        inside = module.relative_to(package)
        # A package as a whole is tested in a file of its own name, in its folder.
        name = inside.parent.name if module.name == "__init__.py" else inside.stem
        found[module.relative_to(CHECKOUT)] = folder / inside.parent / f"test_{name}.py"
    return found


MIRROR = mirrored(CHECKOUT / "loadgen", UNIT)
for _package in ("bench", "website"):
    MIRROR |= mirrored(CHECKOUT / _package, UNIT / _package)
#: Modules without a unit test of their own, and where they are tested instead.
ELSEWHERE: dict[str, str] = {
    "bench/chart.py": "tests/unit/bench/test_run.py",
    "bench/peer_tools.py": "tests/unit/bench/test_peers.py",
    "bench/peer_watch.py": "tests/unit/bench/test_peers.py",
    "bench/samples.py": "tests/unit/bench/test_run.py",
    "loadgen/api.py": "tests/lab/test_api.py",
    "loadgen/capacity/allowances.py": "tests/unit/capacity/test_ports.py",
    "loadgen/cli/brief.py": "tests/e2e/test_one_liners.py",
    "loadgen/cli/churn.py": "tests/e2e/test_one_liners.py",
    "loadgen/cli/explain.py": "tests/e2e/test_explain.py",
    "loadgen/cli/export.py": "tests/e2e/test_export.py",
    "loadgen/cli/find.py": "tests/e2e/test_find.py",
    "loadgen/cli/facts.py": "tests/lab/test_facts.py",
    "loadgen/cli/init.py": "tests/e2e/test_one_liners.py",
    "loadgen/cli/open.py": "tests/e2e/test_one_liners.py",
    "loadgen/cli/onlookers.py": "tests/e2e/test_otlp.py",
    "loadgen/cli/plan.py": "tests/e2e/test_plan.py",
    "loadgen/cli/report.py": "tests/e2e/test_report.py",
    "loadgen/cli/run.py": "tests/e2e/test_run.py",
    "loadgen/cli/scenarios.py": "tests/e2e/test_one_liners.py",
    "loadgen/cli/sink.py": "tests/e2e/test_sink.py",
    "loadgen/cli/trace.py": "tests/e2e/test_trace.py",
    "loadgen/cluster/conductor.py": "tests/e2e/test_share.py",
    "loadgen/cli/agents.py": "tests/e2e/test_cluster_run.py",
    "loadgen/cluster/coordinator.py": "tests/e2e/test_cluster_run.py",
    "loadgen/cluster/share.py": "tests/e2e/test_share.py",
    "loadgen/control/orchestrator.py": "tests/e2e/test_run.py",
    "loadgen/control/prepare.py": "tests/e2e/test_plan.py",
    "loadgen/control/probe.py": "tests/lab/test_probe.py",
    "loadgen/control/witness.py": "tests/e2e/test_share.py",
    "loadgen/doctor/checkup.py": "tests/unit/doctor/test_limits.py",
    "loadgen/doctor/finding.py": "tests/unit/doctor/test_limits.py",
    "loadgen/doctor/listening.py": "tests/unit/doctor/test_limits.py",
    "loadgen/explain/explanation.py": "tests/unit/explain/test_judge.py",
    "loadgen/explain/formats/base.py": "tests/unit/explain/test_reader.py",
    "loadgen/explain/formats/logs/languages.py": "tests/unit/explain/formats/logs/test_lines.py",
    "loadgen/explain/formats/logs/servers.py": "tests/unit/explain/formats/logs/test_lines.py",
    "loadgen/explain/formats/logs/tools.py": "tests/unit/explain/formats/logs/test_lines.py",
    "loadgen/facts/addresses.py": "tests/lab/test_facts.py",
    "loadgen/facts/backlog.py": "tests/lab/test_facts.py",
    "loadgen/facts/binding.py": "tests/lab/test_facts.py",
    "loadgen/facts/buckets.py": "tests/lab/test_facts.py",
    "loadgen/facts/choosing.py": "tests/lab/test_facts.py",
    "loadgen/facts/cost.py": "tests/lab/test_facts.py",
    "loadgen/facts/counters.py": "tests/lab/test_facts.py",
    "loadgen/facts/devices.py": "tests/lab/test_facts.py",
    "loadgen/facts/experiment.py": "tests/lab/test_facts.py",
    "loadgen/facts/handshake.py": "tests/lab/test_facts.py",
    "loadgen/facts/latebind.py": "tests/lab/test_facts.py",
    "loadgen/facts/limits.py": "tests/lab/test_facts.py",
    "loadgen/facts/listening.py": "tests/lab/test_facts.py",
    "loadgen/facts/narrowing.py": "tests/lab/test_facts.py",
    "loadgen/facts/rewriting.py": "tests/lab/test_facts.py",
    "loadgen/facts/sock_addr.py": "tests/lab/test_facts.py",
    "loadgen/facts/timewait.py": "tests/lab/test_facts.py",
    "loadgen/facts/udp.py": "tests/lab/test_facts.py",
    "loadgen/lab/held.py": "tests/lab/test_held.py",
    "loadgen/lab/namespace.py": "tests/lab/test_namespace.py",
    "loadgen/lab/namespace_fds.py": "tests/lab/test_namespace_fds.py",
    "loadgen/occupy/holders.py": "tests/lab/test_occupy.py",
    "loadgen/occupy/outcome.py": "tests/e2e/test_occupy.py",
    "loadgen/occupy/prospect.py": "tests/lab/test_occupy.py",
    "loadgen/occupy/reading.py": "tests/lab/test_occupy.py",
    "loadgen/occupy/request.py": "tests/unit/cli/test_occupy.py",
    "loadgen/occupy/taking.py": "tests/lab/test_occupy.py",
    "loadgen/processes/zygote_client.py": "tests/lab/test_processes.py",
    "loadgen/reproduce/circumstances.py": "tests/unit/reproduce/test_writing.py",
    "loadgen/reproduce/draft.py": "tests/unit/reproduce/test_recipes.py",
    "loadgen/reproduce/of_host.py": "tests/unit/reproduce/test_recipes.py",
    "loadgen/reproduce/of_path.py": "tests/unit/reproduce/test_recipes.py",
    "loadgen/reproduce/of_ports.py": "tests/unit/reproduce/test_recipes.py",
    "loadgen/results/directory_files.py": "tests/unit/results/test_run_directory.py",
    "loadgen/results/matrix.py": "tests/unit/control/test_matrix.py",
    "loadgen/results/ports_verdict.py": "tests/unit/results/test_verdict.py",
    "loadgen/results/run_facts.py": "tests/unit/results/test_verdict.py",
    "loadgen/results/verdict_text.py": "tests/unit/results/test_verdict.py",
    "loadgen/results/schema/carried.py": "tests/unit/results/schema/test_json_schema.py",
    "loadgen/results/schema/find.py": "tests/unit/results/schema/test_json_schema.py",
    "loadgen/results/schema/kernel.py": "tests/unit/results/schema/test_json_schema.py",
    "loadgen/results/schema/matrix.py": "tests/unit/results/schema/test_json_schema.py",
    "loadgen/results/schema/run.py": "tests/unit/results/schema/test_json_schema.py",
    "loadgen/results/schema/sides.py": "tests/unit/results/schema/test_json_schema.py",
    "loadgen/results/schema/values.py": "tests/unit/results/schema/test_json_schema.py",
    "loadgen/sink/sink.py": "tests/lab/test_sink.py",
    "loadgen/sink/udp.py": "tests/lab/test_udp.py",
    "loadgen/trace/notes.py": "tests/unit/views/text/test_trace.py",
    "loadgen/trace/plain.py": "tests/e2e/test_trace.py",
    "loadgen/trace/sockets.py": "tests/unit/trace/test_follow.py",
    "loadgen/trace/sums.py": "tests/unit/trace/test_follow.py",
    "loadgen/trace/tables.py": "tests/unit/trace/test_follow.py",
    "loadgen/trace/ways.py": "tests/unit/trace/test_follow.py",
    "loadgen/views/charts/matrix.py": "tests/unit/views/html/test_matrix.py",
    "loadgen/views/charts/matrix_cells.py": "tests/unit/views/html/test_matrix.py",
    "loadgen/views/dashboard/connections.py": "tests/lab/test_dashboard_connections.py",
    "loadgen/views/dashboard/dashboard.py": "tests/lab/test_dashboard.py",
    "loadgen/views/dashboard/server.py": "tests/lab/test_dashboard.py",
    "loadgen/watch/holders.py": "tests/lab/test_watch_ports.py",
    "loadgen/watch/netns.py": "tests/lab/test_watch.py",
    "loadgen/watch/snapshot.py": "tests/lab/test_watch.py",
    "loadgen/worker/io_uring/connector.py": "tests/lab/test_io_uring.py",
    "loadgen/worker/worker.py": "tests/lab/test_worker.py",
    "website/hooks.py": "tests/browser/test_site.py",
}


@pytest.mark.parametrize("module", [str(path) for path in MIRROR if path.name != "__init__.py"])
def test_a_module_has_its_test_file(module: str) -> None:
    """In the mirrored place, or elsewhere for a reason that stands in the list."""
    expected = MIRROR[Path(module)]
    assert expected.exists() != (module in ELSEWHERE), f"expected {expected.relative_to(CHECKOUT)}, or a reason why not"


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_a_test_named_instead_exists(place: str) -> None:
    """So that a reason does not outlive the test it names."""
    assert (CHECKOUT / place).exists()


def test_every_unit_test_has_a_module() -> None:
    """A test file that mirrors nothing is in the wrong place."""
    about_everything = {
        UNIT / "test_command_blocks.py",  # of tests/command_blocks.py
        UNIT / "test_docs.py",
        UNIT / "test_packaging.py",
        UNIT / "test_patterns.py",
        UNIT / "test_plain_english.py",
        UNIT / "test_requirements.py",
        UNIT / "results" / "test_recorded_runs.py",
        UNIT / "views" / "html" / "test_palette.py",
    }
    mine = {Path(__file__), *about_everything}
    assert set(UNIT.rglob("test_*.py")) - mine <= set(MIRROR.values())


def repeated_classes(sources: dict[str, str]) -> dict[str, list[str]]:
    """Return the class names that several modules define at their top level, with the paths of these modules."""
    places = defaultdict(list)
    for path, source in sources.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def test_a_class_name_has_one_meaning() -> None:
    """A reader of a name knows the class without its module."""
    package = CHECKOUT / "loadgen"
    sources = {str(path.relative_to(CHECKOUT)): path.read_text() for path in sorted(package.rglob("*.py"))}
    assert repeated_classes(sources) == {}


def test_repeated_class_names_are_found() -> None:
    sources = {"a.py": "class A: ...\nclass B: ...\n", "b.py": "class A: ...\ndef f():\n    class B: ...\n"}
    assert repeated_classes(sources) == {"A": ["a.py", "b.py"]}


def test_no_file_is_a_symbolic_link() -> None:
    """A copy of the tree by way of an archive or another system may have the text of the link in its place."""
    tops = [
        CHECKOUT / name for name in (".ci", "bench", "docs", "examples", "loadgen", "packaging", "scenarios", "tests")
    ]
    assert all(top.is_dir() for top in tops)
    assert [path for top in tops for path in top.rglob("*") if path.is_symlink()] == []
