"""All pages and files of the site, from the pages of the repository by following their links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from website import links, llms, reference, tree

#: Where collecting begins; what these link to follows. Manual pages in roff are in the reference, as commands.
_BEGINNINGS: Final = ("README.md", "CHANGELOG.md", "SECURITY.md", "docs/**/*.md", "scenarios/*.yaml")
#: Files of the site that are no documentation, and their place in it.
_ASSETS: Final = {
    "website/assets/site.css": "assets/site.css",
    "website/assets/iframe-worker/iframe-worker.js": "assets/iframe-worker/iframe-worker.js",
    "website/assets/iframe-worker/LICENSE": "assets/iframe-worker/LICENSE",
}


class SiteError(Exception):
    """The site cannot be made; one line for each mistake, with the page it is in and what to write instead."""


def sources(root: Path) -> dict[str, bytes]:
    """Return the content of each file of the site's sources, by its path there.

    root: of the repository. Raises: SiteError with every link that is broken, or that leads out of the site.
    """
    mistakes: list[str] = []
    made: dict[str, bytes] = {}
    texts: dict[str, str] = {}
    waiting = sorted({str(path.relative_to(root)) for begin in _BEGINNINGS for path in root.glob(begin)})
    seen = set(waiting)
    while waiting:
        path = waiting.pop(0)
        place = tree.place(path)
        if place is None:
            raise SiteError(f"{path} has no place in the site; see website/tree.py")
        if tree.is_copied(path):
            made[place] = (root / path).read_bytes()
            continue
        text = (root / path).read_text()
        if tree.is_page(path):
            found, wrong = _followed(root, path, text)
            mistakes += wrong
            waiting += [file for file in sorted(found) if file not in seen]
            seen |= found
            texts[place] = text if wrong else links.for_site(text, path)
        else:
            texts[place] = _page_of_source(path, text)
    if mistakes:
        raise SiteError("\n".join(mistakes))
    texts |= reference.pages()
    made |= {place: text.encode() for place, text in texts.items()}
    made |= {place: text.encode() for place, text in llms.files(texts).items()}
    made |= {place: (root / asset).read_bytes() for asset, place in _ASSETS.items()}
    return made


def _followed(root: Path, page: str, text: str) -> tuple[set[str], list[str]]:
    """Return the files that a page links to, and a line for each link that is wrong."""
    found, wrong = set[str](), list[str]()
    for target in links.targets(text):
        if links.is_external(target):
            if mistake := links.mistake(target):
                wrong.append(f"{page}: link to {target}: {mistake}")
            continue
        file = links.file_of(target, page)
        if file is None:
            continue
        if not (root / file).is_file():
            wrong.append(f"{page}: link to {target}, which is no file")
        elif tree.place(file) is None:
            wrong.append(f"{page}: link to {target}, which is not in the site; name it as code, or see website/tree.py")
        else:
            found.add(file)
    return found, wrong


def _page_of_source(path: str, text: str) -> str:
    """Return a page that shows a source file."""
    fence = "`" * max(3, *(len(run) + 1 for run in _ticks(text)))
    return f"# {path}\n\nA file of the repository.\n\n{fence}{tree.language(path)}\n{text.rstrip()}\n{fence}\n"


def _ticks(text: str) -> Iterator[str]:
    yield ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            yield line.lstrip().split(" ")[0]


def write(made: Mapping[str, bytes], directory: Path) -> tuple[int, int]:
    """Write the sources to a directory, and remove from it what is none of them.

    A file that is the same stays untouched, so that a server that watches the directory sees only what has changed.
    Returns: how many files were written, and how many were removed.
    """
    written = removed = 0
    for place, content in made.items():
        path = directory / place
        if path.is_file() and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written += 1
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(directory).as_posix() not in made:
            path.unlink()
            removed += 1
    return written, removed
