"""Which style, which locale, which log."""

from __future__ import annotations

import pytest

from loadgen.views.progress import is_ci, speaks_ascii


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("1", True), ("", False), ("false", False), ("0", False)]
)
def test_a_job_of_a_ci_system_says_so(value: str, expected: bool) -> None:
    assert is_ci({"CI": value}) is expected
    assert not is_ci({})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"LANG": ""}, False),
        ({"LANG": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "en_GB.utf8"}, False),
        ({"LANG": "de_DE.ISO-8859-15@euro"}, True),
        ({"LANG": "de_DE@euro"}, False),
        ({"LC_CTYPE": "ja_JP.eucJP", "LANG": "en_GB.UTF-8"}, True),
    ],
)
def test_a_locale_without_utf_8_is_known_by_its_name(environ: dict[str, str], expected: bool) -> None:
    assert speaks_ascii(environ, utf8_mode=False) is expected


def test_a_character_set_that_python_chose_is_not_the_choice_of_the_user() -> None:
    """Python sets LC_CTYPE itself where the locale is C, and turns its UTF-8 mode on (PEP 538, PEP 540)."""
    coerced = {"LANG": "C", "LC_CTYPE": "C.UTF-8"}
    assert speaks_ascii(coerced, utf8_mode=True)
    assert not speaks_ascii(coerced, utf8_mode=False)
    assert not speaks_ascii({"LC_CTYPE": "C.UTF-8"}, utf8_mode=True), "no locale at all: a container"
