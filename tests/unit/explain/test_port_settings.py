"""The range of the evidence, or the kernel's default, said to be assumed."""

from __future__ import annotations

from loadgen.explain.port_settings import PortSettings
from tests.pasted import read


def test_the_last_reading_counts_and_has_a_place() -> None:
    settings = PortSettings.of(
        read("net.ipv4.ip_local_port_range = 1024 65535\nnet.ipv4.ip_local_port_range = 40000 40099\n")
    )
    assert (str(settings.ports), settings.count, settings.assumed) == ("40000-40099", 100, False)
    assert settings.where
    assert settings.where.line == 2


def test_reserved_ports_are_left_out_and_their_absence_is_not_known() -> None:
    text = "net.ipv4.ip_local_port_range = 40000 40099\n"
    assert PortSettings.of(read(text)).reserved_known is False
    with_reserved = PortSettings.of(read(f"{text}net.ipv4.ip_local_reserved_ports = 40000-40009,80\n"))
    assert (with_reserved.count, with_reserved.reserved_known) == (90, True)
    assert PortSettings.of(read("net.ipv4.ip_local_reserved_ports = 5-1\n")).reserved == ()


def test_the_default_is_said_to_be_assumed() -> None:
    assert PortSettings.of(read("")).text == "32768-60999, the kernel's default, assumed"
