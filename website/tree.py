"""Where each file of the repository is in the site.

Pages keep their names, without docs/ in front. A source file that a page links to (a scenario, a unit, a test) becomes
a page of its own, so that a browser shows it: scenarios/wall-28k.yaml is scenarios/wall-28k.yaml.md there.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

#: Pages that have another name in the site: the README of the project is its front page.
_RENAMED: Final = {
    "README.md": "index.md",
    "docs/README.md": "pages.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
}
#: Files outside of docs/ that may be in the site, by their folder.
_FOLDERS: Final = ("docs", "examples", "packaging", "scenarios")
#: Files of docs/ that a browser shows or saves as they are.
_AS_THEY_ARE: Final = frozenset({".json", ".png", ".svg", ".gif"})
#: Language of a source file for the highlighter of code, by suffix; without one, by name.
_LANGUAGES: Final = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".py": "python",
    ".ini": "ini",
    ".service": "ini",
    "Containerfile": "docker",
}


def is_page(path: str) -> bool:
    """Return True if a file of the repository is a page in Markdown."""
    return path.endswith(".md")


def is_copied(path: str) -> bool:
    """Return True if a file is in the site as it is, and not as a page."""
    return PurePosixPath(path).suffix in _AS_THEY_ARE


def place(path: str) -> str | None:
    """Return where a file of the repository is in the sources of the site; None: it has no place there.

    path: relative to the root of the repository, with "/". Returned likewise, relative to the root of the site.
    """
    if path in _RENAMED:
        return _RENAMED[path]
    folder, _, below = path.partition("/")
    if folder not in _FOLDERS or not below:
        return None
    found = below if folder == "docs" else path
    if is_page(path) or is_copied(path):
        return found
    return f"{found}.md" if language(path) else None


def language(path: str) -> str | None:
    """Return the language of a source file, as a highlighter of code names it; None for a file that is no source."""
    pure = PurePosixPath(path)
    return _LANGUAGES.get(pure.suffix or pure.name)
