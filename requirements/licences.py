"""Write docs/licences.md: every package that `make setup` installs, and every file of others in this repository.

`make licences` runs it in the virtual environment, whose packages state their licences themselves.
"""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKED: Final = ROOT / "requirements" / "run.txt"
PAGE: Final = ROOT / "docs" / "licences.md"
_IFRAME_WORKER: Final = ROOT / "website" / "assets" / "iframe-worker"
_UPLOT: Final = ROOT / "loadgen" / "views" / "html" / "vendor" / "uplot"
_AXE: Final = ROOT / "tests" / "browser" / "vendor" / "axe"
_CLASSIFIER: Final = "License :: OSI Approved :: "
_HEAD: Final = """# Licences of what loadgen comes with

loadgen itself is under the Apache License 2.0 (`LICENSE`). `make licences` writes this page, from what the packages say
of themselves.

## Installed by `make setup`

| package | version | licence |
|-|-|-|
"""
_VENDORED: Final = """
## Part of this repository

| what | version | licence | where |
|-|-|-|-|
| uPlot: charts of reports and dashboard | {uplot} | MIT | `loadgen/views/html/vendor/uplot`, with its licence |
| iframe-worker: search in the documentation site | {worker} | MIT | `website/assets/iframe-worker`, with its licence |
| axe-core: tests of the pages; not installed | {axe} | MPL-2.0 | `tests/browser/vendor/axe`, with its licence |

Programs that loadgen runs where a user asks for it, and does not come with: `strace` (LGPL-2.1-or-later) and `nft`
(GPL-2.0-only).
"""


def locked(text: str) -> dict[str, str]:
    """Return the version of each package in the text of a lock file."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))


def licence(name: str) -> str:
    """Return the licence that an installed package states: an SPDX expression, or a name."""
    said = distribution(name).metadata
    classifiers = [text.removeprefix(_CLASSIFIER) for text in said.get_all("Classifier", []) if _CLASSIFIER in text]
    texts = [*said.get_all("License-Expression", []), ", ".join(classifiers), *said.get_all("License", [])]
    return next((text.strip().splitlines()[0] for text in texts if text.strip()), "not stated")


def page() -> str:
    """Return the text of the page, of the packages that are installed here."""
    rows = [
        f"| {name} | {distribution(name).version} | {licence(name)} |\n" for name in sorted(locked(LOCKED.read_text()))
    ]
    uplot, worker, axe = ((folder / "VERSION").read_text().strip() for folder in (_UPLOT, _IFRAME_WORKER, _AXE))
    return _HEAD + "".join(rows) + _VENDORED.format(uplot=uplot, worker=worker, axe=axe)


if __name__ == "__main__":
    PAGE.write_text(page())
