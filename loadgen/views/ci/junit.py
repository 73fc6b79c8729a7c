"""A run, a matrix or a search as a JUnit report, as CI systems show it: expectations as test cases.

There is no one standard; this keeps to what Jenkins, GitLab and the GitHub actions for it all read: testsuites,
testsuite, testcase, failure, error, skipped, system-out, with the attributes that every one of them has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from loadgen import format as fmt
from loadgen.results.schema.files import Summary
from loadgen.results.schema.find import FindKind, FindSummary
from loadgen.results.schema.matrix import CellResult, CellStatus, MatrixSummary
from loadgen.results.schema.run import ExpectationResult, RunSummary
from loadgen.results.settings import named, short_keys
from loadgen.views import summary_rows
from loadgen.views.charts.matrix_cells import runs_of

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_RUN_COMPLETE: Final = "the run is complete"
_COMPLETE: Final[Mapping[type[Summary], str]] = {
    RunSummary: _RUN_COMPLETE,
    MatrixSummary: "the matrix is complete",
    FindSummary: "the search is complete",
}


def render(summary: Summary, *, directory: str) -> str:
    """The summary of a run (one test suite) or of a matrix (one for itself, then one for each run) as XML.

    directory: path of the run directory, where the report is.
    """
    name = _text(summary.scenario)
    if isinstance(summary, MatrixSummary):
        suites = _matrix_suites(summary, name, directory)
    else:
        suites = [_suite(summary, name, directory)]
    root = Element("testsuites", {"name": "loadgen"})
    root.extend(suites)
    for key in ("tests", "failures", "errors"):  # the schema of Jenkins knows no other count up here
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    root.set("time", f"{summary.duration_s:.3f}")
    ET.indent(root)
    return _DECLARATION + ET.tostring(root, encoding="unicode") + "\n"


def _matrix_suites(summary: MatrixSummary, name: str, directory: str) -> list[Element]:
    keys = short_keys([cell.settings for cell in summary.cells])
    suites = [_suite(summary, name, directory)]
    for index, cell in enumerate(summary.cells):
        settings = named(cell.settings, keys)
        title = f"{name}, cell {index}" + (f": {settings}" if settings else "")
        several = len(cell.runs) > 1 or summary.repeat > 1
        for number, run in runs_of(cell):
            suites.append(_suite(run, f"{title}, round {number}" if several else title, _place(directory, run)))
        if not cell.runs:
            suites.append(_without_run(cell, title))
    return suites


def _place(directory: str, run: RunSummary) -> str:
    """The directory of a cell's run; its name in the summary begins with that of the matrix."""
    below = run.run.partition("/")[2]
    return f"{directory}/{below}" if below else directory


def _without_run(cell: CellResult, title: str) -> Element:
    """A cell that was skipped, or that never began."""
    case = Element("testcase", {"classname": _text(title), "name": _RUN_COMPLETE, "time": "0.000"})
    kind = "skipped" if cell.status is CellStatus.SKIPPED else "error"
    _add_result(case, kind, _text(cell.reason or "no reason given"))
    return _counted(title, [case], {"time": "0.000"})


def _suite(summary: Summary, name: str, directory: str) -> Element:
    """One test case that the run came to its end, which has its time, and one for each expectation."""
    # The runs of a matrix have their own time, which is most of it, and readers add the suites up.
    time = f"{0.0 if isinstance(summary, MatrixSummary) else summary.duration_s:.3f}"
    complete = _COMPLETE[type(summary)]
    first = Element("testcase", {"classname": _text(name), "name": complete, "time": time})
    because = summary_rows.incomplete_because(summary)
    if because is not None:
        _add_result(first, "error", _text(because))
    searches = _searches(summary, name) if isinstance(summary, FindSummary) else []
    cases = [first, *searches, *(_case(expectation, name) for expectation in summary.expect)]
    started = {"timestamp": _time(summary.started_at)} if summary.started_at else {}
    suite = _counted(name, cases, {"time": time} | started)
    properties = Element("properties")
    for key, value in (("run_directory", directory), ("limit", summary.verdict.limit)):
        SubElement(properties, "property", {"name": key, "value": _text(value)})
    suite.insert(0, properties)
    SubElement(suite, "system-out").text = _text(_explanation(summary))
    return suite


def _searches(summary: FindSummary, name: str) -> list[Element]:
    """A test case for each search: that a value holds, which fails as the exit code does."""
    keys = short_keys([search.settings for search in summary.searches])
    kinds = {FindKind.BELOW: "failure", FindKind.UNDECIDED: "error"}
    cases = []
    for search in summary.searches:
        settings = named(search.settings, keys)
        title = f"a value of {summary.key} holds" + (f" with {settings}" if settings else "")
        cases.append(Element("testcase", {"classname": _text(name), "name": _text(title), "time": "0.000"}))
        if search.kind in kinds:
            _add_result(cases[-1], kinds[search.kind], _text(search.text))
    return cases


def _case(expectation: ExpectationResult, name: str) -> Element:
    """An expectation. It is evaluated on the summary, which takes no time of its own."""
    case = Element("testcase", {"classname": _text(name), "name": _text(expectation.expression), "time": "0.000"})
    if not expectation.passed:
        text = f"expected {expectation.expression}, observed {fmt.scalar(expectation.observed)}"
        _add_result(case, "failure", _text(text))
    return case


def _add_result(case: Element, kind: str, message: str) -> None:
    """Add a result that is no pass; the message is attribute and text, because some systems show only one of them."""
    SubElement(
        case, kind, {"message": message, **({"type": "expectation"} if kind == "failure" else {})}
    ).text = message


def _counted(name: str, cases: Sequence[Element], attributes: Mapping[str, str]) -> Element:
    def cases_with(kind: str) -> str:
        return str(sum(case.find(kind) is not None for case in cases))

    counts = {"failures": cases_with("failure"), "errors": cases_with("error"), "skipped": cases_with("skipped")}
    suite = Element("testsuite", {"name": _text(name), "tests": str(len(cases)), **counts, **attributes})
    suite.extend(cases)
    return suite


def _explanation(summary: Summary) -> str:
    """The verdict, and the remedies."""
    remedies: Sequence[str] = summary.verdict.remedies if isinstance(summary, RunSummary) else ()
    if isinstance(summary, FindSummary):
        remedies = [search.remedy for search in summary.searches if search.remedy]
    return "\n".join([summary_rows.headline(summary), *(f"{n}. {text}" for n, text in enumerate(remedies, 1))])


def _time(started_at: str) -> str:
    """UTC without saying so: some schemas of this format allow no zone."""
    return _text(started_at).removesuffix("+00:00")


def _text(value: str) -> str:
    """Text that XML 1.0 (2.2) can hold: other characters, NUL and escape among them, stand as their escapes."""
    return fmt.visible(value)
