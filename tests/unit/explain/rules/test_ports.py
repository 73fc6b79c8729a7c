"""No free port: what the space says of it, in both directions, and what has nothing to do with ports."""

from __future__ import annotations

import pytest

from tests.unit.explain.samples import (
    ENVOY,
    LISTEN,
    LOOPBACK_6,
    NGINX,
    RANGE,
    explained,
    found,
    listing,
    refuted,
    space,
    verdict,
)

PAIR = "10.0.0.5 to 10.0.0.7:80"
FEW = """$ ss -s
Total: 14
TCP:   4 (estab 0, closed 3, orphaned 0, timewait 0)

Transport Total     IP        IPv6
RAW	  0         0         0
UDP	  0         0         0
TCP	  1         1         0
INET	  1         1         0
FRAG	  0         0         0

"""


def test_a_line_alone_leaves_open_whether_the_ports_are_open_or_in_time_wait() -> None:
    assert verdict(NGINX) == ("four-tuples", "open", ("four-tuples", "time-wait"))
    assert refuted(found(NGINX)) == {"source-address"}


@pytest.mark.parametrize(
    ("state", "limit", "others"),
    [
        ("ESTAB", "four-tuples", {"time-wait", "port-held", "source-address"}),
        ("CLOSE-WAIT", "four-tuples", {"time-wait", "port-held", "source-address"}),
        ("TIME-WAIT", "time-wait", {"four-tuples", "port-held", "source-address"}),
        ("SYN-SENT", "blackhole", {"four-tuples", "time-wait", "port-held", "source-address"}),
    ],
)
def test_what_a_full_space_is_full_of_decides(state: str, limit: str, others: set[str]) -> None:
    finding = found(NGINX, RANGE, listing(*space(state, 100)))
    assert (finding.limit, finding.target, refuted(finding)) == (limit, "10.0.0.7:80", others)
    assert finding.confidence in ("certain", "likely")
    assert any(proof.text.startswith(PAIR) or PAIR in proof.text for proof in finding.evidence)


def test_an_empty_space_rules_the_ports_out_and_bound_sockets_are_left() -> None:
    finding = found(NGINX, RANGE, listing(*space("TIME-WAIT", 3)))
    assert (finding.limit, finding.confidence) == ("port-held", "likely")
    assert {"four-tuples", "time-wait"} <= refuted(finding)
    finding = found(NGINX, RANGE, listing("LISTEN 0.0.0.0:22 0.0.0.0:*"))  # not one connection to that target
    assert "four-tuples" in refuted(finding)


def test_a_leak_is_told_with_its_owner_and_closing_comes_first() -> None:
    rows = "".join(
        f'CLOSE-WAIT 1 0 10.0.0.5:{40_000 + n} 10.0.0.8:9200 users:(("haproxy",pid=7,fd={n + 5}))\n' for n in range(100)
    )
    finding = found(RANGE, "Connect() failed for backend es: no free ports.\n", listing() + rows)
    assert (finding.limit, finding.confidence, finding.source) == ("four-tuples", "certain", "10.0.0.5")
    assert any(
        "CLOSE-WAIT: the other side has closed, and the program (haproxy) has not" in one.text
        for one in finding.evidence
    )
    assert finding.remedies[0].text == "close each connection that the other side has closed: 100 are in CLOSE-WAIT"


def test_a_space_that_is_nearly_full_is_a_finding_without_a_complaint_and_a_third_is_none() -> None:
    assert verdict(RANGE, listing(*space("ESTAB", 95))) == ("four-tuples", "likely", ())
    assert verdict(RANGE, listing(*space("TIME-WAIT", 95))) == ("time-wait", "likely", ())
    assert verdict(RANGE, listing(*space("ESTAB", 33))) == ("none", "", ())


def test_time_wait_that_connect_takes_over_is_no_finding() -> None:
    full = listing(*space("TIME-WAIT", 100))
    assert verdict(RANGE, "net.ipv4.tcp_tw_reuse = 1\n", full)[0] == "none"
    assert verdict(RANGE, "net.ipv4.tcp_tw_reuse = 0\n", full)[0] == "time-wait"
    on_loopback = listing(*space("TIME-WAIT", 100, "127.0.0.1", "127.0.0.1:80"))
    assert verdict(RANGE, on_loopback)[0] == "none"  # tcp_tw_reuse=2, the default


def test_early_binding_is_recognised_without_a_complaint() -> None:
    rows = [f"ESTAB 10.0.0.9:{40_000 + n} 10.1.0.{n % 10}:443" for n in range(100)]
    finding = found(RANGE, listing(*rows))
    assert (finding.limit, finding.source, finding.confidence) == ("source-ports", "10.0.0.9", "likely")
    assert any("looks like early binding" in proof.text for proof in finding.evidence)
    assert "IP_BIND_ADDRESS_NO_PORT" in finding.remedies[0].text


def test_bind_to_port_0_means_the_ports_of_the_source() -> None:
    assert verdict(ENVOY) == ("source-ports", "open", ("source-ports", "time-wait"))
    assert "IP_BIND_ADDRESS_NO_PORT" in found(ENVOY).remedies[0].text
    rows = [f"TIME-WAIT 127.0.0.6:{40_000 + n} 127.0.0.1:{8080 + n % 2}" for n in range(100)]
    finding = found(ENVOY, RANGE, listing(*rows))
    assert (finding.limit, finding.confidence, finding.source) == ("time-wait", "certain", "127.0.0.6")


def test_what_has_the_port_of_a_service_decides() -> None:
    assert verdict(LISTEN) == ("port-held", "open", ("port-held", "time-wait"))
    held = explained(LISTEN, listing("LISTEN 0.0.0.0:22 0.0.0.0:*", "ESTAB 10.0.0.5:38151 10.0.0.7:443"))
    finding = held.findings[0]
    assert (finding.limit, finding.confidence, refuted(finding)) == ("port-held", "certain", {"time-wait"})
    assert (held.spaces[0].scope, held.spaces[0].port, held.spaces[0].used) == ("port", 38151, 1)
    assert "ip_local_reserved_ports" in finding.remedies[0].text
    finding = found(LISTEN, listing("TIME-WAIT 10.0.0.5:38151 10.0.0.2:50122"))
    assert (finding.limit, finding.confidence, refuted(finding)) == ("time-wait", "certain", {"port-held"})
    assert "SO_REUSEADDR" in finding.remedies[0].text
    finding = found(LISTEN, listing("LISTEN 0.0.0.0:38151 0.0.0.0:*"))
    assert finding.limit == "port-held"
    assert "stop the process" in finding.remedies[0].text


def test_ipv6_of_loopback_is_told_from_ports_by_the_setting() -> None:
    assert verdict(LOOPBACK_6) == ("four-tuples", "open", ("four-tuples", "source-address", "time-wait"))
    off = found(LOOPBACK_6, "net.ipv6.conf.lo.disable_ipv6 = 1\n")
    assert (off.limit, off.confidence) == ("source-address", "certain")
    assert off.remedies[0].text == "use 127.0.0.1 instead of ::1, as source and as target"
    assert "source-address" in refuted(found(LOOPBACK_6, "net.ipv6.conf.lo.disable_ipv6 = 0\n"))
    few = found(LOOPBACK_6, FEW)
    assert (few.limit, few.confidence) == ("source-address", "likely")
    assert {"four-tuples", "time-wait"} <= refuted(few)


@pytest.mark.parametrize(
    ("flags", "words", "remedy"),
    [("tentative", "tentative", "wait"), ("dadfailed tentative", "dadfailed", "another address")],
)
def test_the_state_of_an_address_is_the_reason(flags: str, words: str, remedy: str) -> None:
    line = "OSError: [Errno 99] error while attempting to bind on address ('2001:db8::5', 0): "
    line += "cannot assign requested address\n"
    address = f"$ ip -6 addr\n2: eth0: <UP> mtu 1500\n    inet6 2001:db8::5/64 scope global {flags}\n"
    finding = found(line, address)
    assert (finding.limit, finding.source, finding.confidence) == ("source-address", "2001:db8::5", "certain")
    assert words in finding.text
    assert remedy in finding.remedies[0].text


def test_an_address_that_is_there_contradicts_the_message_and_is_not_ruled_out() -> None:
    line = "2026/11/29 06:10:01 [emerg] 42#42: bind() to 10.0.0.5:80 failed (99: Cannot assign requested address)\n"
    there = "$ ip addr\n2: eth0: <UP> mtu 1500\n    inet 10.0.0.5/24 scope global eth0\n"
    finding = found(line, there)
    assert (finding.limit, finding.confidence) == ("source-address", "open")
    assert "10.0.0.5 is on eth0" in finding.text
    elsewhere = found(line, there.replace("10.0.0.5", "10.0.0.6"))
    assert (elsewhere.confidence, "no interface has 10.0.0.5" in elsewhere.text) == ("certain", True)


def test_udp_has_neither_time_wait_nor_bound_sockets_that_hide() -> None:
    line = 'connect(12, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.53")}, 16) = -1 EAGAIN '
    line += "(Resource temporarily unavailable)\n"
    finding = found(line)
    assert (finding.limit, finding.candidates) == ("source-ports", ())
    assert "time-wait" in refuted(finding)


def test_few_buckets_of_time_wait_cannot_fill_the_ports() -> None:
    assert "time-wait" in refuted(found(NGINX, "net.ipv4.tcp_max_tw_buckets = 5000\n"))
    assert "time-wait" not in refuted(found(NGINX, "net.ipv4.tcp_max_tw_buckets = 262144\n"))


def test_a_fixed_port_in_time_wait_asks_for_so_reuseaddr() -> None:
    line = 'bind(3, {sa_family=AF_INET, sin_port=htons(40007), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EADDRINUSE '
    line += "(Address already in use)\n"
    finding = found(line, listing("LISTEN 127.0.0.1:502 0.0.0.0:*", "TIME-WAIT 127.0.0.1:40007 127.0.0.1:502"))
    assert (finding.limit, finding.confidence) == ("time-wait", "certain")
    assert "SO_REUSEADDR" in finding.remedies[0].text


def test_tw_reuse_without_timestamps_is_off() -> None:
    finding = found("net.ipv4.tcp_tw_reuse = 1\nnet.ipv4.tcp_timestamps = 0\n")
    assert (finding.limit, finding.confidence) == ("time-wait", "likely")
    assert "has no effect" in finding.text
    assert verdict("net.ipv4.tcp_tw_reuse = 1\nnet.ipv4.tcp_timestamps = 1\n")[0] == "none"
