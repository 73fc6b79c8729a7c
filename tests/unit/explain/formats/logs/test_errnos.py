"""Names of errnos: words before numbers, unknown ones stay unknown."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats.logs import errnos
from loadgen.outcomes import Syscall


@pytest.mark.parametrize(
    ("words", "number", "name"),
    [
        ("Cannot assign requested address", "99", "EADDRNOTAVAIL"),
        ("Can't assign requested address", "49", "EADDRNOTAVAIL"),  # macOS
        ("Address not available", "", "EADDRNOTAVAIL"),  # musl
        ("Address in use", "", "EADDRINUSE"),
        ("AddrInUse", "", "EADDRINUSE"),  # Rust
        ("eaddrinuse", "", "EADDRINUSE"),  # Erlang
        ("", "-98", "EADDRINUSE"),  # node
        ("too many open files in system", "", "ENFILE"),
        ("Operation timed out", "", "ETIMEDOUT"),
        ("", "2", ""),
        ("", "9" * 5000, ""),
        ("", "\u0669\u0669", ""),
        ("Something new", "", ""),
    ],
)
def test_a_name_is_found_by_words_or_number(words: str, number: str, name: str) -> None:
    assert errnos.named(words, number) == name


def test_numbers_are_those_of_linux() -> None:
    assert all(errnos.named("", str(getattr(errno, name))) == name for name in errnos.NAMES)


@given(st.text(max_size=30), st.text(max_size=8))
def test_any_words_have_a_name_or_none(words: str, number: str) -> None:
    assert errnos.named(words, number) in {"", *errnos.NAMES}


def test_calls_are_narrowed_to_those_that_may_say_it() -> None:
    opening = frozenset({Syscall.SOCKET, Syscall.BIND, Syscall.CONNECT})
    assert errnos.calls("EMFILE", opening) == {Syscall.SOCKET}
    assert errnos.calls("ECONNREFUSED", frozenset({Syscall.RECV})) == {Syscall.CONNECT}
    assert errnos.calls("EADDRINUSE", frozenset({Syscall.BIND})) == {Syscall.BIND}
    assert errnos.calls("", opening) == opening
    assert errnos.calls("") == frozenset()
