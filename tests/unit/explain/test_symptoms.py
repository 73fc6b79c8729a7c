"""From (system call, errno) to what may be behind it, and which complaints are one symptom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.explain import symptoms
from loadgen.explain.evidence import Complaint, Evidence, Where
from loadgen.explain.symptoms import SymptomKind
from loadgen.outcomes import Syscall
from loadgen.strategies import Strategy, Transport
from tests.pasted import read

PLACE = Where("-", 1)
NO_PORT = Complaint("nginx", frozenset({Syscall.CONNECT}), "EADDRNOTAVAIL", "connect() failed", PLACE)
IN_USE = replace(NO_PORT, syscalls=frozenset({Syscall.BIND}), errno="EADDRINUSE")


def of(*complaints: Complaint) -> list[symptoms.Symptom]:
    evidence = Evidence()
    for one in complaints:
        evidence.complain(one)
    return symptoms.of_evidence(evidence)


@pytest.mark.parametrize(
    ("complaint", "kinds"),
    [
        (NO_PORT, (SymptomKind.CONNECT_NO_PORT,)),
        (replace(NO_PORT, syscalls=frozenset({Syscall.BIND})), (SymptomKind.SOURCE,)),
        (
            replace(NO_PORT, syscalls=frozenset({Syscall.BIND, Syscall.CONNECT})),
            (SymptomKind.CONNECT_NO_PORT, SymptomKind.SOURCE),
        ),
        (replace(NO_PORT, syscalls=frozenset()), (SymptomKind.CONNECT_NO_PORT,)),
        (replace(IN_USE, source_port=0), (SymptomKind.BIND_NO_PORT,)),
        (replace(IN_USE, source_port=80, listening=True), (SymptomKind.LISTEN,)),
        (replace(IN_USE, source_port=80), (SymptomKind.LISTEN,)),
        (replace(IN_USE, source_port=5060, listening=False), (SymptomKind.FIXED_PORT,)),
        (IN_USE, (SymptomKind.LISTEN, SymptomKind.BIND_NO_PORT)),
        (replace(IN_USE, listening=False), (SymptomKind.BIND_NO_PORT,)),
        (replace(IN_USE, transport=Transport.UDP), (SymptomKind.BIND_NO_PORT,)),
        (replace(NO_PORT, errno="EAGAIN"), (SymptomKind.BIND_NO_PORT,)),
        (
            replace(NO_PORT, syscalls=frozenset({Syscall.SEND}), errno="EAGAIN", transport=Transport.UDP),
            (SymptomKind.BIND_NO_PORT,),
        ),
        (replace(NO_PORT, errno="ETIMEDOUT"), (SymptomKind.SILENCE,)),
        (replace(NO_PORT, errno="ECONNREFUSED"), (SymptomKind.NAMED,)),
        (replace(NO_PORT, errno="EWHATEVER"), (SymptomKind.NAMED,)),
        (replace(NO_PORT, errno="", limit="conntrack"), (SymptomKind.NAMED,)),
    ],
)
def test_call_and_errno_say_what_it_is_about(complaint: Complaint, kinds: tuple[SymptomKind, ...]) -> None:
    (symptom,) = of(complaint)
    assert symptom.kinds == kinds
    assert symptom.points_at in symptom.limits


def test_an_errno_without_a_name_for_it_is_other() -> None:
    (symptom,) = of(replace(NO_PORT, errno="EWHATEVER"))
    assert symptom.limits == ("other",)


def test_a_few_targets_are_told_apart_and_many_are_one() -> None:
    few = of(*(replace(NO_PORT, target=f"10.0.0.{n}", target_port=80) for n in range(3)))
    assert [one.to for one in few] == ["10.0.0.0:80", "10.0.0.1:80", "10.0.0.2:80"]
    (many,) = of(*(replace(NO_PORT, target=f"10.0.0.{n}", target_port=80) for n in range(20)))
    assert (many.count, many.to) == (20, "port 80") or (many.count, many.target) == (20, "")


def test_an_address_without_a_port_is_the_same_target_as_with_one() -> None:
    one = symptoms.joined(
        of(replace(NO_PORT, target="::1", target_port=6432)) + of(replace(NO_PORT, target="::1", program="curl"))
    )
    assert (one.to, one.programs) == ("[::1]:6432", ("nginx", "curl"))


def test_the_strategy_of_a_trace_belongs_to_its_complaint() -> None:
    trace = (
        "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3\n"
        "setsockopt(3, SOL_IP, IP_BIND_ADDRESS_NO_PORT, [1], 4) = 0\n"
        'bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("10.0.0.9")}, 16) = 0\n'
        'connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("10.0.0.7")}, 16) = -1 '
        "EADDRNOTAVAIL (Cannot assign requested address)\n"
    )
    (symptom,) = symptoms.of_evidence(read(trace))
    assert (symptom.strategy, symptom.count, symptom.source, symptom.to) == (
        Strategy.LATE,
        1,
        "10.0.0.9",
        "10.0.0.7:443",
    )


def test_a_message_without_errno_and_limit_is_a_note() -> None:
    evidence = Evidence()
    evidence.complain(replace(NO_PORT, errno="", syscalls=frozenset(), text="too busy"))
    assert symptoms.of_evidence(evidence) == []
    assert [one.text for one in symptoms.beside_the_kernel(evidence)] == ["nginx: too busy"]
