"""Every key of the schemas is on its page, with its type, default and meaning."""

from __future__ import annotations

from loadgen.results.schema.json_schema import summary_schema
from loadgen.scenario import json_schema
from website.check import of_host
from website.reference import keys


def rows(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("| `")]


def test_every_key_of_a_scenario_has_one_row() -> None:
    schema = json_schema()
    objects = [schema, *schema["$defs"].values()]
    found = rows(keys.of_scenario())
    assert len(found) == sum(len(shape.get("properties", ())) for shape in objects)


def test_every_key_of_a_summary_has_one_row() -> None:
    shapes = [shape for shape in summary_schema()["$defs"].values() if shape.get("properties")]
    page = keys.of_summary()
    assert len(rows(page)) == sum(len(shape["properties"]) for shape in shapes)
    assert page.count("\n## ") == len(shapes)
    assert "\n## `cells[].figures` of a matrix\n" in page


def test_rows_say_what_a_schema_says() -> None:
    page = keys.of_scenario()
    for row in (
        "| `name` | text | required | names the run directory; for example `hold-100k` |",
        "| `hold` | duration | `0s` | duration all stay open after the last was due; for example `30s` |",
        "| `in_flight` | whole number, 1 to 65,536 | `256` | attempts one worker may have unanswered; ",
        "| `transport` | `tcp` or `udp` | `tcp` | tcp, or udp: connected sockets, one for each connection |",
        "| `rate` | rate |  | connections due per s, min or h; for example `20000/s` |",
    ):
        assert row in page
    assert "\n## `lab.nat.timeouts`\n" in page
    assert "\n## `targets[].sink`\n" in page


def test_every_heading_is_another() -> None:
    for page in (keys.of_scenario(), keys.of_summary()):
        headings = [line for line in page.splitlines() if line.startswith("## ")]
        assert len(headings) == len(set(headings)) == of_host(page).counts["h2"]
