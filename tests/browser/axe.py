"""axe-core on a page: what it finds wrong, and what it cannot decide and nobody has looked at yet.

The library is vendored beside (`make verify-vendor`). It is put into the page as the developer tools would, past the
page's Content-Security-Policy and without a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

_VENDORED: Final = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
#: Every rule of WCAG 2.0, 2.1 and 2.2 for A and AA, and what axe holds for good practice.
_TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice")
#: Rules that have to have found something to look at on any page, else the check has looked at nothing.
_APPLIED: Final = frozenset(
    ("color-contrast", "document-title", "html-has-lang", "heading-order", "landmark-one-main", "region")
)
#: While a question is open, the rest of the page is not there.
_APPLIED_TO_DIALOG: Final = frozenset(("button-name", "color-contrast"))
_RUN: Final = """async (tags) => {
    const { violations, incomplete, passes } = await axe.run(document, { runOnly: tags });
    const nodes = (rules) => rules.flatMap((rule) => rule.nodes.map((node) => ({
        rule: rule.id, html: node.html,
        target: node.target.join(" "),
        said: [...node.any, ...node.all, ...node.none].map((check) => check.message).join(" | "),
    })));
    return { violations: nodes(violations), incomplete: nodes(incomplete), passed: passes.map((rule) => rule.id) };
}"""


@dataclass(frozen=True, slots=True)
class _Open:
    """What axe cannot decide. html: a pattern of the elements; because: why that is all right."""

    rule: str
    html: str
    because: str


#: A new element that axe cannot decide on fails the test, until it is looked at.
_LOOKED_AT: Final = (
    _Open(
        "color-contrast",
        r"<(text|tspan)\b",
        "axe sees no background behind the text of an SVG; it is --soft or --ink on --paper, whose contrast "
        "tests/unit/views/html/test_palette.py holds",
    ),
)


@cache
def _source() -> str:
    return _VENDORED.read_text(encoding="utf-8")


def found_wrong(page: Page) -> list[str]:
    """Violations, and what is incomplete and not in the list above: one line for each element, none if all is well.

    Fails the test when a rule that any page gives something to do has done nothing.
    """
    page.evaluate(_source())
    result: dict[str, Any] = page.evaluate(_RUN, list(_TAGS))
    applied = _APPLIED_TO_DIALOG if page.locator("dialog[open]").count() else _APPLIED
    idle = applied - set(result["passed"]) - {node["rule"] for node in result["violations"]}
    assert not idle, f"rules that have looked at nothing: {sorted(idle)}"
    undecided = [
        node
        for node in result["incomplete"]
        if not any(known.rule == node["rule"] and re.match(known.html, node["html"]) for known in _LOOKED_AT)
    ]
    return [
        f"{kind} {node['rule']}: {node['target']}: {node['said']}"
        for kind, nodes in (("violates", result["violations"]), ("undecided", undecided))
        for node in nodes
    ]
