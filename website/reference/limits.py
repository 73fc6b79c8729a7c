"""The table of limits as a page: a section for each, with what it means, what shows it, and what changes it."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getdoc
from typing import Final

from loadgen.capacity.limits import EVERY_LIMIT, LIMITS, LimitRow
from loadgen.capacity.remedies import RemedyMaker
from website.reference.markdown import code, codes, plain, table

_HEAD: Final = """\
# Limits and remedies

Made from the table that the plan, the verdict and the doctor read. [verdict.md](../verdict.md) explains how a verdict
is found, and [symptoms.md](../symptoms.md) leads from an errno or a log line to a limit. Names do not change: an
`expect:` line may compare `verdict.limit` with them.
"""


def page() -> str:
    """Return the page."""
    rows = [
        (f"[{code(row.name)}](#{row.name})", plain(row.meaning), "yes" if row.planned else "no")
        for row in EVERY_LIMIT.values()
    ]
    overview = table(("limit", "meaning", "`loadgen plan` can predict it"), rows)
    return f"{_HEAD}\n{overview}\n" + "\n".join(map(_section, EVERY_LIMIT.values()))


def _section(row: LimitRow) -> str:
    lines = [f"- **{name}**: {text}\n" for name, text in _rows(row) if text]
    return f"## {row.name}\n\n{_upper(plain(row.meaning))}.\n\n{''.join(lines)}"


def _rows(row: LimitRow) -> Iterator[tuple[str, str]]:
    yield "the verdict says", plain(row.sentence)
    yield "shown by", plain(row.shown_by)
    yield "helps", plain(row.helps)
    yield "remedies", "; ".join(filter(None, map(_of_maker, row.makers)))
    yield "to be sure", plain(row.look)
    yield "outcomes that point at it", ", ".join(f"[{code(one.value)}](errors.md#outcomes)" for one in row.outcomes)
    yield "may be behind", ", ".join(f"[{code(name)}](#{name})" for name in row.also_explains if name != row.name)
    yield "kernel counters that move", codes(row.counters)
    yield "a run that meets it", "goes on, at another cost" if row.only_slows else ""
    yield "named by", "a plan only" if row.name not in LIMITS else ""


def _of_maker(maker: RemedyMaker) -> str:
    """Return what a remedy does, in the first sentence of its function; "" for sentences, which stand under "helps"."""
    return "" if "<locals>" in maker.__qualname__ else _lower(plain((getdoc(maker) or "").split("\n\n")[0].rstrip(".")))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
