"""From text to findings: order, joining, places, and nothing that was not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.explain import judge
from loadgen.explain.evidence import Where
from tests.pasted import read
from tests.unit.explain.samples import (
    ENVOY,
    HEADER,
    LISTEN,
    LOOPBACK_6,
    NGINX,
    RANGE,
    TIMEOUT,
    explained,
    listing,
    space,
)

REFUSED = "dial tcp 10.0.0.8:5432: connect: connection refused\n"


def test_nothing_is_no_finding_and_says_what_to_paste() -> None:
    answer = explained("")
    assert (answer.findings, answer.spaces, answer.unread) == ((), (), ())
    assert answer.missing[0].command == "ss -tanp"


def test_certain_findings_come_before_open_ones() -> None:
    answer = explained(NGINX, REFUSED)
    assert [(one.limit, one.confidence) for one in answer.findings] == [("refused", "certain"), ("four-tuples", "open")]


def test_a_space_with_its_complaint_is_one_finding() -> None:
    answer = explained(NGINX, NGINX, RANGE, listing(*space("ESTAB", 100)))
    (finding,) = answer.findings
    assert (finding.source, finding.target) == ("10.0.0.5", "10.0.0.7:80")
    assert "2 times" in finding.evidence[0].text
    assert [proof.where for proof in finding.evidence[:2]] == [Where("-", 1), Where("-", 5)]


def test_another_full_space_is_a_finding_of_its_own() -> None:
    rows = [*space("ESTAB", 100), *space("ESTAB", 100, destination="10.0.0.8:80")]
    answer = explained(NGINX, RANGE, listing(*rows))
    assert [(one.target, one.confidence) for one in answer.findings] == [
        ("10.0.0.7:80", "certain"),
        ("10.0.0.8:80", "likely"),
    ]


def test_what_was_not_understood_is_told_with_its_lines() -> None:
    answer = explained("what is this\n", NGINX, "and that\n")
    assert [(one.first, one.last) for one in answer.unread] == [(1, 1), (3, 3)]


lines = st.lists(
    st.sampled_from(
        [NGINX, ENVOY, LOOPBACK_6, LISTEN, TIMEOUT, REFUSED, RANGE, HEADER]
        + [f"{row}\n" for row in ("ESTAB 0 0 10.0.0.5:40000 10.0.0.7:80", "LISTEN 9 5 0.0.0.0:38151 0.0.0.0:*")]
        + [
            f"net.ipv4.{name} = {value}\n"
            for name in ("tcp_tw_reuse", "tcp_timestamps")
            for value in ("0", "1", "9" * 40, "x")
        ]
        + ["net.ipv4.ip_unprivileged_port_start = 99999999\n", "net.netfilter.nf_conntrack_max = 0\n", "$ nstat -az\n"]
        + [
            "net.ipv4.ip_local_port_range = 5 5\n",
            "net.ipv6.conf.lo.disable_ipv6 = 1\n",
            "prose\n",
            "\n",
            "\x1b[31m\x00\n",
        ]
    ),
    max_size=12,
)


@given(lines)
def test_any_mixture_has_an_answer_whose_limits_are_in_the_table(pasted: list[str]) -> None:
    answer = judge.explain(read("".join(pasted)))
    for finding in answer.findings:
        assert {finding.limit, *finding.candidates} <= set(EVERY_LIMIT)
        assert (finding.confidence == "open") == bool(finding.candidates) or not finding.candidates
        assert not {limit for limit, _ in finding.refuted} & set(finding.candidates)
        assert finding.text
        assert all(proof.where is None or 1 <= proof.where.line <= len(pasted) for proof in finding.evidence)


@pytest.mark.parametrize("text", [NGINX, ENVOY, LOOPBACK_6, LISTEN, TIMEOUT])
def test_an_open_finding_says_what_would_decide(text: str) -> None:
    (finding,) = explained(text).findings
    assert finding.confidence == "open"
    assert finding.looks


@pytest.mark.parametrize(("peer", "who"), [("127.0.0.1:502", "client"), ("10.0.0.2:50122", "service")])
def test_a_port_in_time_wait_is_that_of_a_client_if_its_peers_are_services(peer: str, who: str) -> None:
    line = 'bind(3, {sa_family=AF_INET, sin_port=htons(9000), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EADDRINUSE '
    finding = explained(f"{line}(Address already in use)\n", listing(f"TIME-WAIT 127.0.0.1:9000 {peer}")).findings[0]
    words = {"client": "the last connection from port 9000 is in TIME-WAIT", "service": "in TIME-WAIT has port 9000"}
    assert (finding.limit, words[who] in finding.text) == ("time-wait", True)
