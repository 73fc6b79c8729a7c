"""What is wrong with the rendered pages: another structure than on a code host, or a file that only the network has.

Two renderers read each page: that of the site, and that of the code host on which the sources are read. They differ in
details, such as a list without an empty line before it, which Python-Markdown reads as part of the paragraph. So each
page is also read as CommonMark with tables, and has to come to the same text, spaces aside, and to as many headings,
lists, items, tables, rows, blocks of code, images and links. CommonMark is read by markdown-it-py,
which comes with rich.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

#: Classes of what only the site shows: the permanent link of a heading, and the title of a block of code.
_ADDED: Final = frozenset({"headerlink", "filename"})
#: Elements that are counted.
_COUNTED: Final = frozenset(
    {"h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "tr", "td", "th", "pre", "img", "a", "hr"}
)
#: Elements that a browser loads, with the attribute that says from where.
_LOADED: Final = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}

_ADVICE: Final = "leave a line empty before a list, and indent what belongs to an item by four spaces"
#: Characters shown on each side of a difference.
_CONTEXT: Final = 30


class Rendered(HTMLParser):
    """A page as a renderer has made it.

    counts: of elements, in the article of a page where it has one. loaded: what the page loads from elsewhere.
    """

    def __init__(self, html: str, *, article: bool) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.loaded: list[str] = []
        self._pieces: list[str] = []
        self._inside = not article
        self._added = ""
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """The text without white space."""
        return "".join("".join(self._pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count one element."""
        values = dict(attrs)
        source = values.get(_LOADED.get(tag, "")) or ""
        if source.startswith(("http:", "https:", "//")):
            self.loaded.append(source)
        if tag == "article":
            self._inside = True
        elif values.get("class") in _ADDED:
            self._added = tag
        elif self._inside and tag in _COUNTED:
            self.counts[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the article, and of what the site has added."""
        if tag == "article":
            self._inside = False
        elif tag == self._added:
            self._added = ""

    def handle_data(self, data: str) -> None:
        """Take the text."""
        if self._inside and not self._added:
            self._pieces.append(data)


def mistakes(sources: Path, site: Path) -> list[str]:
    """Return a line for each mistake.

    sources: directory with the Markdown of each page. site: the directory with the HTML of it. A site without pages is
    a mistake, too.
    """
    pages = sorted(sources.rglob("*.md"))
    found = [line for page in pages for line in _of_page(page.relative_to(sources), sources, site)]
    return found if pages else [f"{sources}: no pages"]


def _of_page(page: Path, sources: Path, site: Path) -> Iterator[str]:
    name = page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html")
    if not (site / name).is_file():
        yield f"{page}: not rendered as {name}"
        return
    here, there = of_site((site / name).read_text()), of_host((sources / page).read_text())
    yield from (f"{page}: loads {source}, which is not in the site" for source in here.loaded)
    different = sorted(tag for tag in _COUNTED if here.counts[tag] != there.counts[tag])
    if different:
        counts = ", ".join(f"{here.counts[tag]} <{tag}> instead of {there.counts[tag]}" for tag in different)
        yield f"{page}: another structure in the site than on a code host: {counts}; {_ADVICE}"
    elif here.text != there.text:
        both = zip(here.text, there.text, strict=False)
        at = next((n for n, (a, b) in enumerate(both) if a != b), min(len(here.text), len(there.text)))
        ours, theirs = (text[max(at - _CONTEXT, 0) : at + _CONTEXT] for text in (here.text, there.text))
        yield f"{page}: another text in the site than on a code host: {ours!r} instead of {theirs!r}"


def of_site(html: str) -> Rendered:
    """Return a page as the site has it."""
    return Rendered(html, article=True)


def of_host(markdown: str) -> Rendered:
    """Return a page as a code host renders it."""
    return Rendered(MarkdownIt("commonmark").enable("table").render(markdown), article=False)
