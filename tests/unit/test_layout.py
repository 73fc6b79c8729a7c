"""Every module has a test module, found by name, or a reason here why it has none."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "loadgen"
MODULES = sorted(
    str(path.relative_to(PACKAGE).with_suffix(""))
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)
#: What is tested without a module of its own name, and where.
ELSEWHERE = {
    "orchestrator": "tests/e2e: a run is processes, files and signals, and is tested as a user sees it",
    "survey": "tests/e2e/test_plan.py, and every run: labs, cables and hosts that are looked at",
    "planning": "tests/e2e/test_plan.py: plans of scenarios and of cells, beside the runs that they predict",
    "commands/plan": "tests/e2e/test_plan.py: what is said, exit codes, and what is left alone",
    "commands/run": "tests/e2e/test_run.py, test_matrix.py, test_terminal.py, test_bad_input.py",
    "commands/options": "tests/unit/test_cli.py and the commands that have them",
    "listening": "tests/e2e, as run: the sinks' numbers beside the workers', and a sink that is killed",
    "datagrams": "tests/lab/test_udp.py: exchanges over UDP, answered, lost and late, with real sockets",
    "udpsink": "tests/lab/test_udp.py: what a sink of UDP echoes, drops and counts",
    "serve": "tests/e2e: `loadgen sink` is a process that is sent a signal",
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_tests(module: str) -> None:
    """Under its own name in the same place or above (unit), or in lab; a package may share one."""
    parts = module.split("/")
    names = {f"test_{part}.py" for part in parts}
    found = [path for kind in ("unit", "lab") for path in (TESTS / kind).rglob("test_*.py") if path.name in names]
    assert found or module in ELSEWHERE, f"write tests/unit/{'/'.join([*parts[:-1], f'test_{parts[-1]}.py'])}"


def test_no_reason_outlives_its_module() -> None:
    assert set(ELSEWHERE) <= set(MODULES)
