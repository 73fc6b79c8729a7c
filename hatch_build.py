"""Writes the commit of this checkout into the sdist and the wheel, for `loadgen --version`; runs no git."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface[Any]):
    """Adds loadgen/commit.txt. Where there is no .git, as in an unpacked sdist, the file that came with it stays."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file outside of the checkout, and name it; nothing for an editable installation, which has .git."""
        if version == "editable":
            return
        root = Path(self.root)
        path = root / "loadgen" / "version.py"
        spec = importlib.util.spec_from_file_location("loadgen_version", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if commit := module.of_checkout(root):
            self._directory = tempfile.TemporaryDirectory()
            file = Path(self._directory.name) / module.COMMIT_FILE
            file.write_text(f"{commit}\n")
            build_data["force_include"][str(file)] = f"loadgen/{module.COMMIT_FILE}"

    def finalize(self, *_: Any) -> None:
        """Remove the file again."""
        if hasattr(self, "_directory"):
            self._directory.cleanup()
