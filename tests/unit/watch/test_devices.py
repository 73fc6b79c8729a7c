"""Sockets bound to a device, in tables as the kernel lists them."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from loadgen.errors import HostError
from loadgen.kernel import devices as kernel_devices
from loadgen.kernel.devices import Device
from loadgen.kernel.sockdiag import SOCKET, Sockets
from loadgen.watch import devices
from loadgen.watch.devices import DeviceSockets

#: eth0 is in the VRF blue.
TABLE = {1: Device("lo"), 2: Device("eth0", "", 7), 7: Device("blue", "vrf")}


def table(*rows: tuple[str, int]) -> Sockets:
    """Make sockets of (source address, index of the device they are bound to)."""
    sockets = np.zeros(len(rows), SOCKET)
    for row, (address, interface) in zip(sockets, rows, strict=True):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        row["family"], row["interface"] = family, interface
        packed = socket.inet_pton(family, address)
        row["source"][: len(packed)] = list(packed)
    return sockets


def test_a_link_local_address_binds_nothing_but_its_link() -> None:
    sockets = table(("10.0.0.1", 0), ("10.0.0.1", 1), ("fe80::1", 2), ("fd00::1", 2), ("254.128.0.1", 2))
    assert devices.tied(sockets).tolist() == [False, True, False, True, True]


def test_devices_are_counted_and_a_vrf_is_named_only_where_it_is_known() -> None:
    sockets = table(*[("10.0.0.1", 1)] * 3, *[("10.0.0.1", 2)] * 2, ("10.0.0.1", 7), ("10.0.0.1", 0), ("10.0.0.1", 9))
    assert devices.counted(sockets, TABLE) == (
        DeviceSockets("lo", "", 3),
        DeviceSockets("eth0", "blue", 2),
        DeviceSockets("#9", "", 1),
        DeviceSockets("blue", "blue", 1),
    )
    assert devices.counted(sockets, {})[0] == DeviceSockets("#1", "", 3)


def test_only_ports_in_a_vrf_are_not_those_of_others() -> None:
    sockets = table(("0.0.0.0", 0), ("0.0.0.0", 1), ("0.0.0.0", 2), ("0.0.0.0", 7))
    assert devices.elsewhere(sockets, TABLE).tolist() == [False, False, True, True]
    assert not devices.elsewhere(sockets, {}).any()


def test_devices_are_read_only_where_a_socket_is_bound_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> dict[int, Device]:
        raise HostError("not permitted")

    assert devices.known(table(("10.0.0.1", 1))) != {}
    monkeypatch.setattr(kernel_devices, "read", read)
    assert devices.known(table(("10.0.0.1", 0))) == {}
    assert devices.known(table(("10.0.0.1", 1))) == {}
