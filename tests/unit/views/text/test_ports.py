"""The answer about a port as text."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.model import PortRange
from loadgen.strategies import Transport
from loadgen.views.text import ports
from loadgen.watch.holders import ListenTrial, PortAnswer, PortHolder

FREE = tuple(ListenTrial(Transport.TCP, address, False, "") for address in ("0.0.0.0", "::"))


def answer(**changes: Any) -> str:
    values: dict[str, Any] = {
        "port": 38_151,
        "ports": PortRange(32_768, 60_999),
        "reserved": False,
        "holders": (),
        "holder_count": 0,
        "bound_unknown": "",
        "trials": FREE,
        "reserve": "sysctl -w net.ipv4.ip_local_reserved_ports=38151",
    }
    return "\n".join(ports.lines(PortAnswer(**{**values, **changes})))


def holder(**changes: Any) -> PortHolder:
    values: dict[str, Any] = {
        "transport": Transport.TCP,
        "state": "ESTABLISHED",
        "source": "10.0.0.5",
        "destination": "2001:db8::1",
        "destination_port": 443,
        "pid": 812,
        "command": "proxy",
        "unknown": "",
    }
    return PortHolder(**{**values, **changes})


def test_a_free_port_in_the_range() -> None:
    assert answer().splitlines() == [
        "port 38151: free; in ip_local_port_range 32768-60999, not reserved: an outgoing connection may get it",
        "  a TCP service could listen on 0.0.0.0 or :: now",
        "  keep it out of automatic choice from now on: sysctl -w net.ipv4.ip_local_reserved_ports=38151",
    ]


def test_holders_are_named() -> None:
    hidden = holder(pid=0, command="", unknown="not permitted", transport=Transport.UDP, state="OPEN", destination="")
    gone = holder(pid=0, command="", state="TIME-WAIT")
    text = answer(holders=(holder(command="\x1b[2J"), hidden, gone), holder_count=3)
    assert "port 38151: 3 sockets;" in text
    assert "  TCP ESTABLISHED 10.0.0.5 to [2001:db8::1]:443 of \\x1b[2J[812]" in text
    assert "  UDP OPEN        10.0.0.5 of a process that is unknown (not permitted)" in text
    assert "  TCP TIME-WAIT   10.0.0.5 to [2001:db8::1]:443 of no process" in text
    many = answer(holders=(holder(),) * 12, holder_count=4_000)
    assert many.count("proxy[812]") == 10
    assert "  and 3,990 more" in many


@pytest.mark.parametrize(
    ("refused", "with_reuse", "said"),
    [
        ("EADDRINUSE", "", "could listen on 0.0.0.0 only with SO_REUSEADDR (EADDRINUSE without it)"),
        ("EADDRINUSE", "EADDRINUSE", "could not listen on 0.0.0.0 now: EADDRINUSE, with SO_REUSEADDR as well"),
        ("EACCES", None, "could not listen on 0.0.0.0 now: EACCES"),
    ],
)
def test_whether_a_service_could_listen(refused: str, with_reuse: str | None, said: str) -> None:
    trials = [ListenTrial(Transport.TCP, "0.0.0.0", False, refused)]
    trials += [] if with_reuse is None else [ListenTrial(Transport.TCP, "0.0.0.0", True, with_reuse)]
    assert f"  a TCP service {said}" in answer(trials=tuple(trials)).splitlines()


def test_a_port_that_is_out_of_reach_of_automatic_choice() -> None:
    assert "outside ip_local_port_range 32768-60999" in answer(port=80)
    assert "reserved (ip_local_reserved_ports)" in answer(reserved=True)
    for text in (answer(port=80), answer(reserved=True)):
        assert "keep it out" not in text


def test_what_the_kernel_does_not_list_is_said() -> None:
    trials = (ListenTrial(Transport.TCP, "0.0.0.0", False, "EADDRINUSE"),)
    text = answer(bound_unknown="Linux 6.8 does", trials=trials)
    assert "port 38151: taken, by a socket that the kernel does not list;" in text
    assert "  bound, unconnected sockets: unknown, Linux 6.8 does" in text
