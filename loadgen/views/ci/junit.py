"""A run or a matrix as a JUnit report, which is what CI systems know how to show: expectations as test cases.

There is no one standard; this keeps to what Jenkins, GitLab and the GitHub actions for it all read: testsuites,
testsuite, testcase, failure, error, skipped, system-out, with the attributes that every one of them has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from loadgen import format as fmt
from loadgen.results.settings import named, short_keys
from loadgen.views import summary_rows
from loadgen.views.charts.matrix_cells import runs_of

Json = Mapping[str, Any]

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_RUN_COMPLETE: Final = "the run is complete"
_MATRIX_COMPLETE: Final = "the matrix is complete"


def render(summary: Json, *, directory: str) -> str:
    """The summary of a run (one test suite) or of a matrix (one for itself, then one for each run) as XML.

    directory: path of the run directory, for whoever looks for the report.
    """
    name = _text(summary.get("scenario"))
    suites = _matrix_suites(summary, name, directory) if "cells" in summary else [_suite(summary, name, directory)]
    root = Element("testsuites", {"name": "loadgen"})
    root.extend(suites)
    for key in ("tests", "failures", "errors"):  # the schema of Jenkins knows no other count up here
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    root.set("time", _seconds(summary.get("duration_s")))
    ET.indent(root)
    return _DECLARATION + ET.tostring(root, encoding="unicode") + "\n"


def _matrix_suites(summary: Json, name: str, directory: str) -> list[Element]:
    cells = fmt.rows(summary, "cells")
    keys = short_keys([fmt.part(cell, "settings") for cell in cells])
    # Its runs have their own time, which is most of it, and what reads this adds the suites up.
    suites = [_suite({**summary, "duration_s": 0.0}, name, directory, complete=_MATRIX_COMPLETE)]
    for index, cell in enumerate(cells):
        settings = named(fmt.part(cell, "settings"), keys)
        title = f"{name}, cell {index}" + (f": {settings}" if settings else "")
        runs = runs_of(cell)
        several = len(runs) > 1 or (fmt.number(summary.get("repeat")) or 1) > 1
        for number, run in runs:
            suites.append(_suite(run, f"{title}, round {number}" if several else title, _place(directory, run)))
        if not runs:
            suites.append(_without_run(cell, title))
    return suites


def _place(directory: str, run: Json) -> str:
    """The directory of a cell's run; its name in the summary begins with that of the matrix."""
    below = str(run.get("run") or "").partition("/")[2]
    return f"{directory}/{below}" if below else directory


def _without_run(cell: Json, title: str) -> Element:
    """A cell that was skipped, or that never began."""
    case = Element("testcase", {"classname": _text(title), "name": _RUN_COMPLETE, "time": "0.000"})
    kind = "skipped" if cell.get("status") == "skipped" else "error"
    _said(case, kind, _text(cell.get("reason") or "no reason given"))
    return _counted(title, [case], {"time": "0.000"})


def _suite(summary: Json, name: str, directory: str, *, complete: str = _RUN_COMPLETE) -> Element:
    """One test case that the run came to its end, which has its time, and one for each expectation."""
    lasted = _seconds(summary.get("duration_s"))
    first = Element("testcase", {"classname": _text(name), "name": complete, "time": lasted})
    because = summary_rows.incomplete_because(summary)
    if because is not None:
        _said(first, "error", _text(because))
    cases = [first, *(_case(row, name) for row in fmt.rows(summary, "expect"))]
    started = summary.get("started_at")
    suite = _counted(name, cases, {"time": lasted} | ({"timestamp": _time(started)} if started else {}))
    properties = Element("properties")
    for key, value in (("run_directory", directory), ("limit", fmt.part(summary, "verdict").get("limit"))):
        SubElement(properties, "property", {"name": key, "value": _text(value)})
    suite.insert(0, properties)
    SubElement(suite, "system-out").text = _text(_explanation(summary))
    return suite


def _case(row: Json, name: str) -> Element:
    """An expectation. It is worked out of the summary, which takes no time of its own."""
    case = Element("testcase", {"classname": _text(name), "name": _text(row.get("expression")), "time": "0.000"})
    if row.get("passed") is not True:
        _said(case, "failure", _text(f"expected {row.get('expression')}, observed {fmt.scalar(row.get('observed'))}"))
    return case


def _said(case: Element, kind: str, message: str) -> None:
    """Both as an attribute and as text: some show only the one, some only the other."""
    SubElement(
        case, kind, {"message": message, **({"type": "expectation"} if kind == "failure" else {})}
    ).text = message


def _counted(name: str, cases: Sequence[Element], attributes: Mapping[str, str]) -> Element:
    def those_with(kind: str) -> str:
        return str(sum(case.find(kind) is not None for case in cases))

    counts = {"failures": those_with("failure"), "errors": those_with("error"), "skipped": those_with("skipped")}
    suite = Element("testsuite", {"name": _text(name), "tests": str(len(cases)), **counts, **attributes})
    suite.extend(cases)
    return suite


def _explanation(summary: Json) -> str:
    """The verdict, and what would help."""
    remedies = [
        f"{number}. {text}" for number, text in enumerate(fmt.items(fmt.part(summary, "verdict"), "remedies"), 1)
    ]
    return "\n".join([summary_rows.headline(summary), *remedies])


def _time(started: object) -> str:
    """UTC without saying so: some schemas of this format allow no zone."""
    return _text(started).removesuffix("+00:00")


def _seconds(value: object) -> str:
    return f"{fmt.number(value) or 0.0:.3f}"


def _text(value: object) -> str:
    """What XML 1.0 (2.2) can hold: other characters, NUL and escape among them, stand as their escapes."""
    return fmt.visible("" if value is None else str(value))
