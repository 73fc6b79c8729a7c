"""llms.txt has the lines of docs/README.md, once each, and llms-full.txt the text of all pages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from website import collect, links, llms, reference

CHECKOUT: Final = Path(__file__).resolve().parents[3]
TABLE: Final = """\
# Pages

| to run | |
|---|---|
| [a.md](a.md), [b.md](b.md) | `loadgen a`: see [c](c.md) |

| why | |
|---|---|
| [decisions](decisions/README.md) | reasons |
"""


def test_a_table_is_a_section_with_a_line_for_each_page() -> None:
    assert list(llms.listed(TABLE)) == [
        ("", "to run"),
        ("a.md", "`loadgen a`: see [c](c.md)"),
        ("b.md", "`loadgen a`: see [c](c.md)"),
        ("", "why"),
        ("decisions/README.md", "reasons"),
    ]


def test_every_page_of_the_list_is_in_it_once() -> None:
    made = collect.sources(CHECKOUT)
    text = made["llms.txt"].decode()
    found = links.targets(text)
    assert len(found) == len(set(found))
    pages = {str(path.relative_to(CHECKOUT / "docs")) for path in (CHECKOUT / "docs").glob("*.md")} - {"README.md"}
    assert pages | {page.place for page in reference.PAGES} | {"index.md", "llms-full.txt"} <= set(found)
    assert set(found) <= set(made)
    assert text.startswith("# loadgen\n\n> Open very many outbound TCP connections")
    assert "- [TIME-WAIT and churn](timewait.md): TIME-WAIT, churn and tcp_tw_reuse\n" in text
    whole = made["llms-full.txt"].decode()
    assert all(made[page].decode().strip() in whole for page in pages)
