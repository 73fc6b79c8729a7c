"""Pasted texts for the rules: log lines, listings made of one line, and what explain says of them."""

from __future__ import annotations

from typing import Final

from loadgen.explain import judge
from loadgen.explain.case import Case
from loadgen.explain.explanation import Explanation, Finding
from tests.pasted import read

NGINX: Final = (
    "2026/11/29 06:09:54 [crit] 23#23: *1 connect() to 10.0.0.7:80 failed (99: Cannot assign requested address) "
    'while connecting to upstream, client: 10.0.0.2, server: , request: "GET / HTTP/1.1"\n'
)
ENVOY: Final = "failed to bind to 127.0.0.6:0: Address already in use\n"
LOOPBACK_6: Final = "connect() to [::1]:6432 failed (99: Cannot assign requested address)\n"
LISTEN: Final = "nginx: [emerg] bind() to 0.0.0.0:38151 failed (98: Address already in use)\n"
TIMEOUT: Final = "dial tcp 10.0.0.7:80: i/o timeout\n"
HEADER: Final = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
#: A hundred ports.
RANGE: Final = "net.ipv4.ip_local_port_range = 40000 40099\n"


def listing(*rows: str) -> str:
    """`ss -tan` with these rows, of which each is State, local and peer end."""
    lines = [" ".join((row.split()[0], "0 0", *row.split()[1:])) for row in rows]
    return "$ ss -tan\n" + HEADER + "".join(f"{line}\n" for line in lines)


def space(
    state: str, count: int, source: str = "10.0.0.5", destination: str = "10.0.0.7:80", low: int = 40_000
) -> list[str]:
    """As many connections of a pair, from port `low` on."""
    return [f"{state} {source}:{low + n} {destination}" for n in range(count)]


def case(*texts: str) -> Case:
    """The figures of these texts together."""
    return Case(read("".join(texts)))


def explained(*texts: str) -> Explanation:
    """The answer to these texts together."""
    return judge.explain(read("".join(texts)))


def found(*texts: str) -> Finding:
    """The first finding. Fails where there is none."""
    explanation = explained(*texts)
    assert explanation.findings, explanation
    return explanation.findings[0]


def refuted(finding: Finding) -> set[str]:
    """The limits that are ruled out."""
    return {limit for limit, _ in finding.refuted}


def verdict(*texts: str) -> tuple[str, str, tuple[str, ...]]:
    """Limit, confidence and candidates of the first finding; ("none", "", ()) where there is none."""
    findings = explained(*texts).findings
    return (findings[0].limit, findings[0].confidence, findings[0].candidates) if findings else ("none", "", ())
