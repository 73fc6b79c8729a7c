"""Every exit code is there with its failures, and each errno has the outcome that loadgen counts."""

from __future__ import annotations

from loadgen import errors as failures
from loadgen.errors import ExitCode, LoadgenError
from website.reference import errors

PAGE = errors.page()


def test_every_exit_code_has_its_row_and_every_failure_is_named_once() -> None:
    for code in ExitCode:
        assert PAGE.count(f"\n| {code.value} | ") == 1
    kinds = [kind for kind in vars(failures).values() if isinstance(kind, type) and issubclass(kind, LoadgenError)]
    assert all(PAGE.count(f"`{kind.__name__}`: ") == 1 for kind in kinds)


def test_the_same_errno_means_another_thing_in_another_call() -> None:
    limit = "[`{0}`](limits.md#{0})"
    assert f"| `bind` | `EADDRNOTAVAIL` | `no-such-source` | {limit.format('source-address')} |" in PAGE
    assert f"| `connect` | `EADDRNOTAVAIL` | `no-free-four-tuple` | {limit.format('four-tuples')} |" in PAGE
    assert f"| any | `EMFILE` | `no-descriptor` | {limit.format('descriptors')} |" in PAGE
