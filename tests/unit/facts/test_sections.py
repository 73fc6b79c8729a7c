"""The table of sections."""

from __future__ import annotations

from pathlib import Path

from loadgen.facts.sections import SECTIONS

PACKAGE = Path(__file__).parents[3] / "loadgen" / "facts"


def test_numbers_ascend_and_are_unique() -> None:
    numbers = [section.number for section in SECTIONS]
    assert numbers == sorted(set(numbers))


def test_every_module_with_experiments_belongs_to_one_section() -> None:
    named = [module for section in SECTIONS for module in section.modules]
    with_facts = {path.stem for path in PACKAGE.glob("*.py") if "\n@fact(" in path.read_text()}
    assert len(named) == len(set(named))
    assert set(named) == with_facts


def test_sections_are_told_in_sentences() -> None:
    assert all(section.prose.endswith(".") for section in SECTIONS)
