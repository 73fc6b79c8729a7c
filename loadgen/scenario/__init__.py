"""What the user wants, checked, with units, and nothing about this host.

The only package that knows the scenario file. The models say what is allowed, so they are the schema
too. The reference for people is docs/scenario.md.

    values     durations, rates, addresses, and how a check says what is wrong
    parts      lab, sources, targets, probes, arrival, churn
    whole      the scenario, and what its parts must agree on
    complaint  what is wrong, in words, with its place in the file
    reading    text -> scenario, and the cells of a matrix
    schema     the same for editors
"""

from loadgen.scenario.load import Cell, about_cells, load, parse, parse_cells, read_bytes
from loadgen.scenario.scenario import Scenario
from loadgen.scenario.schema import json_schema
from loadgen.scenario.sections import Fallback

__all__ = [
    "Cell",
    "Fallback",
    "Scenario",
    "about_cells",
    "json_schema",
    "load",
    "parse",
    "parse_cells",
    "read_bytes",
]
