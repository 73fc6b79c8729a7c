"""Remedies: by the table of limits, in the words of the owner of a program, with figures of the evidence alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.explain.samples import (
    ENVOY,
    LISTEN,
    LOOPBACK_6,
    NGINX,
    RANGE,
    TIMEOUT,
    explained,
    found,
    listing,
    space,
)

#: Words of a scenario, which the owner of a program has not.
SCENARIO = (
    "`close",
    "`ports",
    "`churn",
    "`timeout",
    "`sink",
    "`in_flight",
    "`workers",
    "use late",
    "use explicit",
    "--set",
)


def sentences(*texts: str) -> list[str]:
    return [remedy.sentence for remedy in found(*texts).remedies]


def test_figures_are_those_of_the_range_in_the_evidence() -> None:
    full = listing(*space("ESTAB", 100))
    assert sentences(NGINX, RANGE, full)[0] == "widen ip_local_port_range to 1024-65535: +64,412"
    assert not any(
        "widen" in text
        for text in sentences(
            NGINX, "net.ipv4.ip_local_port_range = 1024 65535\n", listing(*space("ESTAB", 64_512, low=1024))
        )
    )


def test_time_wait_has_the_rate_before_and_after() -> None:
    texts = sentences(NGINX, RANGE, listing(*space("TIME-WAIT", 100)))
    assert "set net.ipv4.tcp_tw_reuse=1: 1.67/s becomes 100/s" in texts
    assert "let the other side close first: 1.67/s becomes no ceiling" in texts
    reused = sentences(NGINX, RANGE, "net.ipv4.tcp_tw_reuse = 1\n", listing(*space("TIME-WAIT", 100)))
    assert not any("tcp_tw_reuse=1" in text for text in reused)


def test_each_remedy_of_an_open_finding_names_its_limit() -> None:
    assert {text.split(":")[0] for text in sentences(NGINX)} == {"if four-tuples", "if time-wait"}


@pytest.mark.parametrize(
    "text", [NGINX, ENVOY, LOOPBACK_6, LISTEN, TIMEOUT, "dial tcp :1: connect: connection refused\n"]
)
def test_no_remedy_speaks_of_a_scenario_or_has_an_invented_address(text: str) -> None:
    finding = found(text)
    assert finding.remedies
    plain = json.dumps([remedy.to_json() for remedy in finding.remedies])
    assert not [word for word in SCENARIO if any(word in remedy.sentence for remedy in finding.remedies)]
    assert "192.0.2." not in plain
    assert "198.51.100." not in plain
    assert "2001:db8:" not in plain


def test_an_old_kernel_is_not_offered_what_it_lacks() -> None:
    assert "IP_BIND_ADDRESS_NO_PORT" in sentences(ENVOY)[0]
    assert not any(
        "IP_BIND_ADDRESS_NO_PORT" in text for text in sentences(ENVOY, "$ uname -r\n3.10.0-1160.el7.x86_64\n")
    )


names = st.sampled_from(
    ["tcp_tw_reuse", "tcp_timestamps", "ip_unprivileged_port_start", "tcp_tw_reuse_delay", "tcp_mem"]
)
values = st.one_of(
    st.integers(-(10**30), 10**30).map(str), st.text(st.characters(categories=["L", "N", "P"]), max_size=8)
)


@given(st.dictionaries(names, values, max_size=4))
def test_hostile_settings_do_no_harm(settings: dict[str, str]) -> None:
    text = "".join(f"net.ipv4.{name} = {value}\n" for name, value in settings.items())
    assert explained(NGINX, text).findings


def test_a_number_of_targets_that_is_assumed_is_said() -> None:
    """One log line names no target; a figure of several is no figure of the evidence."""
    early = [text for text in sentences(ENVOY) if "IP_BIND_ADDRESS_NO_PORT" in text]
    assert early
    assert all("(2 targets assumed)" in text for text in early)
    assert not any("assumed" in text for text in sentences(NGINX, RANGE, listing(*space("ESTAB", 100))))
