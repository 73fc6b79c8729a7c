"""llms.txt, the list of pages with one line each for programs that read text, and llms-full.txt, all of that text.

The lines are those of the tables in docs/README.md, and of the pages made from the code. The form is that of
https://llmstxt.org: a heading, a summary, and lists of links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from website import links, reference

_FULL: Final = "llms-full.txt"
#: The page with the tables, as the site names it.
_LIST: Final = "pages.md"
_FRONT: Final = "index.md"
_ROW: Final = re.compile(r"^\| (?P<pages>.*?) \| ?(?P<line>.*?) ?\|$")


class Listed(NamedTuple):
    """A page of the list. page: its source in the site. line: what it is about; of a section its name, without page."""

    page: str
    line: str


def listed(text: str) -> Iterator[Listed]:
    """Yield the rows of the tables in the list of pages; a table begins with the name of its section."""
    for row in map(_ROW.match, text.splitlines()):
        if row is None or set(row["pages"]) <= set("-|"):
            continue
        if pages := [target for target in links.targets(row["pages"]) if target.endswith(".md")]:
            for page in pages:
                yield Listed(page, row["line"])
        else:
            yield Listed("", row["pages"])


def files(texts: Mapping[str, str]) -> dict[str, str]:
    """Return both files by their place in the site.

    texts: Markdown of each page by its source in the site; the list of pages among them.
    """
    front = texts[_FRONT]
    entries = [
        *listed(texts[_LIST]),
        Listed("", "reference, made from the code"),
        *(Listed(page.place, page.line) for page in reference.PAGES),
        Listed("", "changes"),
        Listed("changelog.md", "what is new in each version, for users"),
    ]
    lines = [f"# {_title(front)}", "", f"> {_first_paragraph(front)}", ""]
    lines += [f"All pages in one file: [{_FULL}]({_FULL})", "", "## begin", ""]
    lines.append(f"- [{_title(front)}]({_FRONT}): what loadgen does, its commands, a scenario, a verdict")
    for page, line in entries:
        lines += [f"- [{_title(texts[page])}]({page}): {_unlinked(line)}"] if page else ["", f"## {line}", ""]
    whole = [texts[page] for page in dict.fromkeys([_FRONT, *(entry.page for entry in entries if entry.page)])]
    return {"llms.txt": "\n".join(lines) + "\n", _FULL: "\n\n".join(text.strip() for text in whole) + "\n"}


def _title(text: str) -> str:
    return next(line[2:] for line in text.splitlines() if line.startswith("# "))


def _first_paragraph(text: str) -> str:
    paragraph = next(part for part in text.split("\n\n") if not part.lstrip().startswith("#"))
    return " ".join(paragraph.replace("**", "").split())


def _unlinked(line: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line)
