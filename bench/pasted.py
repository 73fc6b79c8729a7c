"""How long `loadgen explain` takes to read a large listing of sockets, and its peak memory.

    python -m bench.pasted [--megabytes N] [--only ss-tan]

Each listing is made anew, as the tools print it, read in a process of its own, and deleted. Six in ten sockets are in
TIME-WAIT; sources, ports and destinations are at random, which is harder than any host's.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

#: Rows that are written at a time.
_BATCH: Final = 5000
_SOURCES: Final = [f"10.{a}.{b}.{c}" for a in range(1, 5) for b in range(5) for c in range(1, 5)]
_DESTINATIONS: Final = [(f"10.200.{b}.{c}", port) for b in range(4) for c in range(1, 30) for port in (80, 443, 8080)]
_INFO: Final = (
    "\n\t ts sack cubic wscale:10,10 rto:204 rtt:0.005/0.002 mss:32741 pmtu:65535 rcvmss:536 advmss:65483 cwnd:10"
    " bytes_acked:1 segs_out:2 segs_in:1 send 523856000000bps lastsnd:104 lastrcv:104 lastack:104"
    " pacing_rate 1047712000000bps delivered:1 app_limited rcv_space:65495 rcv_ssthresh:65495 minrtt:0.005"
)
#: Number, source, source port, destination, destination port, in TIME-WAIT: to a row.
Writer = Callable[[int, str, int, str, int, bool], str]
_READ: Final = """
import resource, sys, time
from loadgen.explain import reader
from loadgen.explain.evidence import Evidence
evidence, began = Evidence(), time.perf_counter()
with open(sys.argv[1], "rb") as stream:
    reader.read(evidence, stream, sys.argv[1])
seconds = time.perf_counter() - began
print(seconds, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
      sum(one.tcp.size for one in evidence.listings), sum(one.last - one.first + 1 for one in evidence.unread))
"""


def _ss(_number: int, source: str, port: int, destination: str, to: int, time_wait: bool) -> str:
    state = "TIME-WAIT" if time_wait else "ESTAB"
    return f"{state:<10} 0      0      {f'{source}:{port}':>22} {f'{destination}:{to}':>22}             "


def _ss_details(number: int, source: str, port: int, destination: str, to: int, time_wait: bool) -> str:
    row = _ss(number, source, port, destination, to, time_wait).rstrip()
    if time_wait:
        return f"{row} timer:(timewait,{number % 60}sec,0) ino:0 sk:{number:x}"
    users = f'users:(("nginx",pid={1000 + number % 64},fd={number % 20000}))'
    return f"{row} {users} timer:(keepalive,119min,0) uid:33 ino:{number} sk:{number:x} cgroup:/system.slice <->{_INFO}"


def _netstat(_number: int, source: str, port: int, destination: str, to: int, time_wait: bool) -> str:
    state = "TIME_WAIT" if time_wait else "ESTABLISHED"
    return f"tcp        0      0 {f'{source}:{port}':<23} {f'{destination}:{to}':<23} {state:<11}"


def _netstat_details(number: int, source: str, port: int, destination: str, to: int, time_wait: bool) -> str:
    row = _netstat(number, source, port, destination, to, time_wait)
    if time_wait:
        return f"{row} 0          0          -                    timewait (58.65/0/0)"
    return f"{row} 33         {number:<10} {1000 + number % 64}/nginx: worker  keepalive (7198.61/0/0)"


def _proc(number: int, source: str, port: int, destination: str, to: int, time_wait: bool) -> str:
    ends = f"{_hexadecimal(source)}:{port:04X} {_hexadecimal(destination)}:{to:04X}"
    if time_wait:
        return f"{number:4}: {ends} 06 00000000:00000000 03:00000A5E 00000000     0        0 0 3 00000000d1d46bce"
    return f"{number:4}: {ends} 01 00000000:00000000 00:00000000 00000000    33        0 {number} 1 0 20 0 0 10 -1"


def _hexadecimal(address: str) -> str:
    return "".join(f"{int(part):02X}" for part in reversed(address.split(".")))


_SS_HEADER: Final = "State      Recv-Q Send-Q         Local Address:Port          Peer Address:Port Process"
_ACTIVE: Final = "Active Internet connections (servers and established)"
_NETSTAT_HEADER: Final = "Proto Recv-Q Send-Q Local Address           Foreign Address         State"
FORMATS: Final[dict[str, tuple[str, Writer]]] = {
    "ss-tan": (_SS_HEADER, _ss),
    "ss-tanpeoi": (_SS_HEADER, _ss_details),
    "netstat-tan": (f"{_ACTIVE}\n{_NETSTAT_HEADER}", _netstat),
    "netstat-neopa": (
        f"{_ACTIVE}\n{_NETSTAT_HEADER}       User       Inode      PID/Program name     Timer",
        _netstat_details,
    ),
    "proc-net-tcp": (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        _proc,
    ),
}


def blocks(name: str, size_bytes: int) -> Iterator[str]:
    """Yield parts of a listing that has this size, and the same sockets each time."""
    header, write = FORMATS[name]
    chance = random.Random(1)
    yield f"{header}\n"
    written, number = len(header), 0
    while written < size_bytes:
        rows = []
        for _ in range(_BATCH):
            destination, to = chance.choice(_DESTINATIONS)
            source, port = chance.choice(_SOURCES), chance.randrange(32768, 61000)
            rows.append(write(number, source, port, destination, to, chance.random() < 0.6))
            number += 1
        block = "\n".join([*rows, ""])
        written += len(block)
        yield block


def measure(name: str, size_bytes: int) -> list[str]:
    """Return seconds, seconds of processor time, peak MB, sockets and unread lines of reading one listing, as text."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(blocks(name, size_bytes))
        file.flush()
        command = [sys.executable, "-c", _READ, file.name]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        return done.stdout.split()


def main() -> None:
    """Print a line for each listing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--only", choices=FORMATS)
    arguments = parser.parse_args()
    print(f"{'listing':16}{'seconds':>9}{'of CPU':>9}{'peak MB':>9}{'sockets':>11}{'unread':>8}")
    for name in [arguments.only] if arguments.only else FORMATS:
        seconds, busy, peak, sockets, unread = measure(name, arguments.megabytes * 1_000_000)
        print(f"{name:16}{float(seconds):9.1f}{float(busy):9.1f}{peak:>9}{int(sockets):>11,}{unread:>8}")


if __name__ == "__main__":
    main()
