"""The contexts of sinks that speak TLS."""

from __future__ import annotations

import ssl

import pytest

from loadgen.model import Speaks
from loadgen.sink.behaviour.tls import server_context
from loadgen.sink.certificates import Certificates, issue


def test_a_context_is_made_once_so_that_tickets_are_valid_in_every_sink() -> None:
    certificates = issue(["sink.test"])
    assert server_context(certificates, Speaks.HTTP) is server_context(certificates, Speaks.HTTP)
    assert server_context(certificates, Speaks.HTTP).num_tickets > 0


def test_a_key_that_does_not_match_is_refused() -> None:
    other = Certificates("", issue(["sink.test"]).certificate_pem, issue(["sink.test"]).key_pem)
    with pytest.raises(ssl.SSLError):
        server_context(other, Speaks.ECHO)
