"""The scenario: the user's intent, checked, with units, and nothing about this host.

The only package that knows the scenario file. The models define what is valid, so the JSON Schema is made from them.
The reference for users is docs/scenario.md.

    units          text -> durations, rates, addresses, ports
    fields         the same as fields of models, and errors that point at one key
    sections       lab, sources, targets, probes, arrival, churn
    sinks          `sink` of a target
    traffic        `protocol` and `tls`
    condition      the grammar of conditions, NAME OP VALUE
    expect         `expect`: conditions on the summary of a run
    search         `find`: the key to vary, and how far
    scenario       the scenario as a whole, and the checks of several keys together
    references     ${env:NAME} and ${file:PATH}, filled in
    masking        credentials, found by their names, and masked in what is written
    yaml_document  YAML text -> plain data with the place of each value
    messages       mistakes, each with its place and remedy
    nearest        the valid word that an unknown one resembles
    load           text -> scenario, and the cells of a matrix
    schema         the JSON Schema, for editors
"""

from loadgen.scenario.load import Cell, about_cells, at_value, load, parse, parse_cells, read_bytes
from loadgen.scenario.masking import kept_setting, kept_text, kept_value, shown_text
from loadgen.scenario.scenario import Guests, ScenarioSpec
from loadgen.scenario.schema import json_schema
from loadgen.scenario.search import FindMode, FindSpec, VariedValue
from loadgen.scenario.sections import Fallback

__all__ = [
    "Cell",
    "Fallback",
    "FindMode",
    "FindSpec",
    "Guests",
    "ScenarioSpec",
    "VariedValue",
    "about_cells",
    "at_value",
    "json_schema",
    "kept_setting",
    "kept_text",
    "kept_value",
    "load",
    "parse",
    "parse_cells",
    "read_bytes",
    "shown_text",
]
