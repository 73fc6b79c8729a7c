"""Ports of services inside the range of outgoing connections."""

from __future__ import annotations

from loadgen.doctor.finding import Grade, LimitFinding, Purpose
from loadgen.doctor.services import services

from .reading import HOST, found

PURPOSE = Purpose(1, services=(8500, 38_151, 40_000))


def judged(reserved: str = "", **host: frozenset[int]) -> LimitFinding:
    return found(services, PURPOSE, sysctls={"ip_local_reserved_ports": reserved}, **host)


def test_a_port_inside_the_range_may_be_taken_when_its_service_starts() -> None:
    finding = judged("22,50000-50009")
    assert finding.verdict is Grade.TIGHT
    assert finding.judgement.allows.startswith("38151,40000: inside ip_local_port_range and not reserved")
    (now,) = finding.judgement.change.now
    assert now == "sysctl -w net.ipv4.ip_local_reserved_ports=22,38151,40000,50000-50009", "what is reserved stays so"


def test_reserved_ports_are_safe() -> None:
    finding = judged("38151,40000")
    assert (finding.verdict, finding.judgement.change.now) == (Grade.GOOD, ())


def test_a_port_that_a_connection_has_now_is_a_wall() -> None:
    finding = judged(connected=frozenset({38_151, 40_000}), listeners=frozenset({40_000}))
    assert finding.verdict is Grade.WALL
    assert finding.judgement.allows.startswith("38151: a connection has it now")
    assert "`loadgen watch --port 38151`" in finding.judgement.allows
    assert finding.judgement.change.now == ("sysctl -w net.ipv4.ip_local_reserved_ports=38151,40000",)
    assert judged("38151,40000", connected=frozenset({38_151})).judgement.change.now == ()


def test_without_services_it_is_not_asked() -> None:
    assert services.asked(HOST, PURPOSE)
    assert not services.asked(HOST, Purpose())
