"""Ask for known vulnerabilities of the packages in the lock files, and say so where there is no answer.

pip-audit ends with 0, too, where its database does not know a package, and so where nothing was looked up at all.

Exit codes: 0 every package was looked up and has none; 1 some have; 3 the database, or a part of it, was not reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).resolve().parent
_TIMEOUT_S: Final = 120.0
_COMMAND: Final = (sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json")
_NOT_REACHED: Final = "the database of vulnerabilities cannot be reached from here"


def verdict(output: str, said: str) -> tuple[int, str]:
    """Return exit code and text for what pip-audit wrote on its streams."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "no message")
        return 3, f"{_NOT_REACHED}: {last.strip()[:200]}"
    found = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", ())]
    if found:
        lines = [
            f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none'}"
            for package, one in found
        ]
        return 1, "\n".join(lines)
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        return 3, f"{_NOT_REACHED}: {len(skipped)} of {len(packages)} packages were not looked up"
    return 0, f"{len(packages)} packages, no known vulnerability"


def main() -> int:
    """Audit the lock files, which have the packages of users, of developers, and of the documentation site."""
    command = list(_COMMAND)
    for name in ("dev.txt", "run.txt", "docs.txt"):
        command += ["--requirement", str(_HERE / name)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        code, text = 3, f"{_NOT_REACHED}: no answer within {_TIMEOUT_S:g} s"
    else:
        code, text = verdict(done.stdout, done.stderr)
    print(f"audit: {text}", file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
