"""The sentence of a finding."""

from __future__ import annotations

from tests.unit.explain.samples import LISTEN, NGINX, RANGE, explained, found, listing, space


def test_what_is_open_is_said_to_be_open() -> None:
    assert found(NGINX).text == (
        "nginx: connect EADDRNOTAVAIL to 10.0.0.7:80: the evidence does not decide; either no free four-tuple was "
        "left, or the source ports that were missing are in TIME-WAIT."
    )


def test_what_is_shown_is_said_with_its_numbers() -> None:
    assert found(NGINX, RANGE, listing(*space("ESTAB", 100))).text == (
        "nginx: connect EADDRNOTAVAIL to 10.0.0.7:80: no free four-tuple was left: "
        "10.0.0.5 to 10.0.0.7:80: 100 of 100 ports in use."
    )


def test_what_nobody_complains_of_is_said_of_the_next_connections() -> None:
    assert found(RANGE, listing(*space("ESTAB", 95))).text == (
        "10.0.0.5 to 10.0.0.7:80: nearly every port is in use (95 of 100 ports in use), "
        "so that the next connections fail."
    )


def test_a_service_that_cannot_listen_is_said_with_its_port() -> None:
    assert found(LISTEN).text == (
        "nginx: bind EADDRINUSE at 0.0.0.0:38151: the evidence does not decide; either another socket has port 38151, "
        "or a connection in TIME-WAIT has port 38151."
    )


def test_the_log_of_the_kernel_is_named() -> None:
    text = "Nov 29 03:14:07 web1 kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n"
    assert explained(text).findings[0].text == "the log of the kernel: the connection tracking table is full, or was."
