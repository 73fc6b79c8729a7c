"""Reads text as `loadgen explain` does, with all formats or with one."""

from __future__ import annotations

import io
from pathlib import Path

from loadgen.explain import reader
from loadgen.explain.evidence import Evidence
from loadgen.explain.formats import FORMATS, Format

CAPTURED = Path(__file__).parent / "data" / "explain" / "counters"


def read(text: str, *formats: Format, file: str = "-", evidence: Evidence | None = None) -> Evidence:
    """The evidence of a text, read by these formats, or by all."""
    found = evidence or Evidence()
    reader.read(found, io.BytesIO(text.encode("utf-8", "surrogatepass")), file, formats or FORMATS)
    return found


def captured(name: str) -> Evidence:
    """The evidence of a captured file."""
    return read((CAPTURED / name).read_text(), file=name)


def counters(evidence: Evidence) -> dict[str, int]:
    """The last value of each counter."""
    return {one.name: one.value for one in evidence.counters}


def since(evidence: Evidence) -> set[str]:
    """From when the counters count, of those that are no gauges."""
    return {one.since for one in evidence.counters if one.since != "now"}


def limits(evidence: Evidence) -> dict[str, tuple[int | None, int | None]]:
    """Soft and hard value of each limit."""
    return {one.name: (one.soft, one.hard) for one in evidence.limits}


def settings(evidence: Evidence) -> dict[str, str]:
    """The values of all settings that were read."""
    return {one.name: one.value for one in evidence.sysctls}


def unread(evidence: Evidence) -> list[tuple[int, int]]:
    """First and last line of all that was not read."""
    return [(one.first, one.last) for one in evidence.unread]
