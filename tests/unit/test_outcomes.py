"""The whole table of outcomes, and the key of an error in shared memory."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.outcomes import ErrorKind, Outcome, Syscall, TlsReason, describe, error_key, outcome_of

ANYWHERE = {
    "EMFILE": "no-descriptor",
    "ENFILE": "no-descriptor",
    "ENOBUFS": "no-memory",
    "ENOMEM": "no-memory",
    "EACCES": "forbidden",
    "EPERM": "forbidden",
}
BY_SYSCALL = [
    (Syscall.BIND, "EADDRNOTAVAIL", "no-such-source"),
    (Syscall.BIND, "EADDRINUSE", "no-free-port"),
    (Syscall.CONNECT, "EADDRNOTAVAIL", "no-free-four-tuple"),
    (Syscall.CONNECT, "EADDRINUSE", "no-free-four-tuple"),
    (Syscall.CONNECT, "ECONNREFUSED", "refused"),
    (Syscall.CONNECT, "ECONNRESET", "reset"),
    (Syscall.CONNECT, "ETIMEDOUT", "timed-out"),
    (Syscall.CONNECT, "ENETUNREACH", "unreachable"),
    (Syscall.CONNECT, "EHOSTUNREACH", "unreachable"),
    (Syscall.REGISTER, "ENOSPC", "no-watch"),
    (Syscall.WAIT, "ETIMEDOUT", "timed-out"),
    (Syscall.RECV, "ECONNRESET", "lost"),
    (Syscall.RECV, "ETIMEDOUT", "lost"),
    (Syscall.SEND, "EPIPE", "lost"),
]
#: Calls for which a number that is known anywhere means the same.
CALLS = [syscall for syscall in Syscall if syscall is not Syscall.TLS]


@pytest.mark.parametrize(("syscall", "name", "outcome"), BY_SYSCALL)
def test_a_listed_pair_has_its_outcome(syscall: Syscall, name: str, outcome: str) -> None:
    number = getattr(errno, name)
    assert outcome_of(syscall, number) == outcome
    assert describe(error_key(syscall, number)) == ErrorKind(syscall.name.lower(), name, outcome)


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_shortage_or_a_ban_has_one_outcome_in_every_call(name: str) -> None:
    assert {outcome_of(syscall, getattr(errno, name)) for syscall in CALLS} == {ANYWHERE[name]}


def test_one_errno_from_bind_and_connect_has_two_outcomes() -> None:
    for number in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
        assert outcome_of(Syscall.BIND, number) is not outcome_of(Syscall.CONNECT, number)


def test_errno_zero_has_a_name() -> None:
    assert describe(error_key(Syscall.RECV, 0)) == ("recv", "EOF", "lost")
    assert describe(error_key(Syscall.GETSOCKNAME, 0)) == ("getsockname", "SELF", "self-connect")


def test_over_udp_eagain_means_no_free_port() -> None:
    assert outcome_of(Syscall.CONNECT, errno.EAGAIN) is Outcome.NO_FREE_PORT
    assert outcome_of(Syscall.SEND, errno.EAGAIN) is Outcome.LOST
    assert outcome_of(Syscall.SEND, errno.EPERM) is Outcome.FORBIDDEN
    assert outcome_of(Syscall.RECV, errno.EHOSTUNREACH) is Outcome.UNREACHABLE


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSPC, 999])
def test_an_unlisted_errno_is_other_and_keeps_its_code(number: int) -> None:
    assert outcome_of(Syscall.CONNECT, number) is Outcome.OTHER
    assert describe(error_key(Syscall.CONNECT, number)).errno == errno.errorcode.get(number, str(number))


def test_every_outcome_of_a_failure_can_be_reached() -> None:
    reached = {outcome_of(syscall, number) for syscall in Syscall for number in (0, *errno.errorcode)}
    assert reached == set(Outcome) - {Outcome.ESTABLISHED}


@settings(max_examples=50)
@given(
    st.sampled_from([one for one in Syscall if one is not Syscall.TLS]),  # which has reasons of its own
    st.sampled_from(sorted(errno.errorcode)) | st.integers(1, 0xFFFF),
)
def test_a_key_is_reversible(syscall: Syscall, number: int) -> None:
    key = error_key(syscall, number)
    kind = describe(key)
    assert key > 0
    assert Syscall[kind.syscall.upper()] is syscall
    names = TlsReason.__members__ if syscall is Syscall.TLS else vars(errno)
    assert names.get(kind.errno) == number or kind.errno == str(number)
    assert kind.outcome == outcome_of(syscall, number)


@settings(max_examples=50)
@given(*[st.tuples(st.sampled_from(list(Syscall)), st.integers(0, 0xFFFF))] * 2)
def test_different_failures_have_different_keys(one: tuple[Syscall, int], other: tuple[Syscall, int]) -> None:
    assert (one == other) == (error_key(*one) == error_key(*other))


@pytest.mark.parametrize("key", [0, 1, errno.EMFILE, 99 << 16])
def test_a_key_without_a_system_call_is_an_error(key: int) -> None:
    with pytest.raises(ValueError, match="is not a valid Syscall"):
        describe(key)


def test_tls_has_reasons_instead_of_errnos() -> None:
    """Certificate errors have one outcome, all others another; unknown numbers stay numbers."""
    assert describe(error_key(Syscall.TLS, TlsReason.CERTIFICATE_EXPIRED)) == (
        "tls",
        "CERTIFICATE_EXPIRED",
        "certificate",
    )
    assert describe(error_key(Syscall.TLS, TlsReason.ALERT)) == ("tls", "ALERT", "tls")
    assert describe(error_key(Syscall.TLS, 999)) == ("tls", "999", "tls")
