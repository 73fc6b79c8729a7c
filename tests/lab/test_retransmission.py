"""SYNs without an answer, on a real kernel: sent again, and given up, when `loadgen.kernel.retransmission` says."""

from __future__ import annotations

import errno
import select
import socket
import time

import pytest

from loadgen.kernel import retransmission, snmp, sysctl

from .support import PROC_NET

TARGET = ("127.0.0.1", 9000)
#: Timers run out late on a busy machine, and never early.
LATE_S = 0.9


@pytest.mark.lab(net__ipv4__tcp_syn_retries="1", net__ipv4__tcp_syn_linear_timeouts="4")
def test_a_syn_is_sent_again_and_given_up_when_the_settings_say() -> None:
    times = retransmission.of_settings(sysctl.read_all())
    assert times is not None
    with socket.create_server(TARGET, backlog=0), socket.create_connection(TARGET), socket.socket() as waiting:
        before, began_s = snmp.read(PROC_NET), time.monotonic()
        waiting.setblocking(False)
        assert waiting.connect_ex(TARGET) == errno.EINPROGRESS
        poll = select.poll()
        poll.register(waiting, select.POLLOUT)
        assert poll.poll((times.gives_up_s + 5) * 1000)
        took_s = time.monotonic() - began_s
    moved = snmp.delta(before, snmp.read(PROC_NET))
    assert moved["TcpExt.TCPSynRetrans"] == len(times.again_s)
    assert times.gives_up_s <= took_s + 0.05
    assert took_s < times.gives_up_s + LATE_S
