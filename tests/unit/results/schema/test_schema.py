"""The package as a whole: what it may import, and that its values cannot be changed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from tests import samples


def test_the_counters_cost_a_worker_msgspec_alone() -> None:
    """Each worker imports them; numpy, YAML and the types of a summary would be paid for by all of them."""
    code = "import sys; import loadgen.results.schema.counters; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "msgspec" in loaded
    assert not {"numpy", "yaml", "rich", "click"} & loaded
    ours = {name for name in loaded if name.startswith("loadgen.")}
    assert ours == {"loadgen.results", "loadgen.results.schema", "loadgen.results.schema.counters"}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (samples.summary(), "run"),
        (samples.summary().outcomes, "failed"),
        (samples.matrix_summary(), "run"),
        (samples.matrix_plan(), "scenario"),
        (samples.plan(), "name"),
        (samples.host(), "kernel"),
        (samples.line(), "started"),
        (samples.events()[0], "text"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_cannot_be_changed(value: object, key: str) -> None:
    with pytest.raises((AttributeError, FrozenInstanceError)):
        setattr(value, key, None)
