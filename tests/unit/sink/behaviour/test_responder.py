"""The echo, the silent responder, and the responder for each value of `speaks`."""

from __future__ import annotations

import pytest

from loadgen.model import SinkBehaviour, Speaks
from loadgen.sink.behaviour.http import HttpResponder
from loadgen.sink.behaviour.responder import EchoResponder, SilentResponder, responder_factory

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_an_echo_without_limits_never_finishes_before_end_of_file() -> None:
    echo = EchoResponder(None, None)
    assert [tuple(echo.receive(data)) for data in (b"a", b"bc")] == [(b"a",), (b"bc",)]
    assert not echo.finished
    assert tuple(echo.receive(b"")) == ()
    assert echo.finished


def test_an_echo_finishes_after_its_bytes_or_its_requests() -> None:
    by_bytes, by_requests = EchoResponder(3, None), EchoResponder(None, 2)
    for echo, chunks in ((by_bytes, [b"ab", b"cd"]), (by_requests, [b"a", b"b"])):
        assert tuple(echo.receive(chunks[0])) == (chunks[0],)
        assert not echo.finished
        assert tuple(echo.receive(chunks[1])) == (chunks[1],)
        assert echo.finished
        assert tuple(echo.receive(b"more")) == ()


def test_only_an_echo_without_limits_knows_its_answer_at_once() -> None:
    assert EchoResponder(None, None).quick(b"a") == b"a"
    assert EchoResponder(9, None).quick(b"a") is EchoResponder(None, 9).quick(b"a") is None
    assert SilentResponder(None).quick(b"a") is None


def test_a_silent_responder_counts_its_reads() -> None:
    silent = SilentResponder(2)
    assert [silent.receive(b"a"), silent.finished, silent.receive(b"b"), silent.finished] == [(), False, (), True]
    endless = SilentResponder(None)
    endless.receive(b"a" * 100)
    assert not endless.finished
    endless.receive(b"")
    assert endless.finished


@pytest.mark.parametrize("speaks", Speaks)
def test_every_value_of_speaks_has_its_responder(speaks: Speaks) -> None:
    responder = responder_factory(SinkBehaviour(speaks=speaks, close_after_requests=1))(None)
    assert (
        type(responder)
        is {Speaks.ECHO: EchoResponder, Speaks.HTTP: HttpResponder, Speaks.NOTHING: SilentResponder}[speaks]
    )
    list(responder.receive(REQUEST))
    assert responder.finished
