"""Events of mkdocs: pages of a folder in the navigation, Markdown beside HTML, and sources that follow the code.

mkdocs loads this file in a virtual environment that has neither loadgen nor what it needs; so it imports only mkdocs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer

_ROOT: Final = Path(__file__).resolve().parents[1]
#: Names of a page that lists its folder, as of commands or decisions.
_LISTS: Final = ("index.md", "README.md")
#: What the pages are made of.
_WATCHED: Final = ("README.md", "CHANGELOG.md", "docs", "scenarios", "examples", "packaging", "loadgen")
#: Making the sources takes two seconds.
_TIMEOUT_S: Final = 120.0
_command: list[str] = []


def on_startup(command: str, **_: Any) -> None:
    """Keep which command of mkdocs this is."""
    _command.append(command)


def on_config(config: MkDocsConfig) -> None:
    """Put the pages of a folder below the one that lists them, and read tables as a code host does.

    Raises: PluginError if no page in the navigation lists a folder.
    """
    config.markdown_extensions.append(BarsExtension())
    if not _expanded(config.nav, Path(config.docs_dir)):
        raise PluginError(f"mkdocs.yml: nav has no page of a folder named {' or '.join(_LISTS)}")


def _expanded(nav: Any, sources: Path) -> bool:
    """Make a section of each entry that lists a folder, at any depth; True if there is one."""
    found = False
    for entry in nav or ():
        for title, below in entry.items():
            if isinstance(below, list):
                found |= _expanded(below, sources)
            elif (page := Path(below)).name in _LISTS and page.parent != Path():
                others = sorted((sources / page).parent.glob("*.md"))
                entry[title] = [below, *(str(page.with_name(one.name)) for one in others if one.name != page.name)]
                found = True
    return found


class BarsInCode(Treeprocessor):  # type: ignore[misc]  # of Any, where Markdown is not installed
    """Removes the backslash of an escaped bar in code in a table, which Python-Markdown would show."""

    def run(self, root: Element) -> None:
        """Change a page; part of the interface of Markdown."""
        for cell in (*root.iter("td"), *root.iter("th")):
            for span in cell.iter("code"):
                span.text = AtomicString((span.text or "").replace("\\|", "|"))


class BarsExtension(Extension):  # type: ignore[misc]  # the same
    """Makes Markdown do that to every page."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802  # a name of Markdown's
        """Register it behind the processor that finds spans of code; part of the interface of Markdown."""
        md.treeprocessors.register(BarsInCode(md), "bars-in-code", 15)


def on_pre_build(**_: Any) -> None:
    """Make the sources anew while the site is served; for a build that is done before, since mkdocs lists them first.

    Raises: PluginError with the message of the failure.
    """
    if "serve" in _command:
        python = _ROOT / ".venv" / "bin" / "python"
        done = subprocess.run(
            [str(python), "-m", "website"], cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise PluginError(done.stderr.strip() or f"python -m website ended with {done.returncode}")


def on_post_build(config: MkDocsConfig) -> None:
    """Put the Markdown of each page beside it, which llms.txt links to."""
    sources, site = Path(config.docs_dir), Path(config.site_dir)
    for page in sources.rglob("*.md"):
        copy = site / page.relative_to(sources)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)


def on_serve(server: LiveReloadServer, **_: Any) -> None:
    """Watch what the pages are made of."""
    for name in _WATCHED:
        server.watch(str(_ROOT / name))
