"""How each row of the table is done to a run: to how it is started, or to what runs already.

Everything is aimed: by pid at processes of the trial, by namespace at the lab's network, by path at its directory.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import processes
from .processes import Process
from .trial import Fault, Trial
from .watcher import Watcher

_ATTACHED_S: Final = 10.0
_COMMAND_S: Final = 20.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
TMPFS_BYTES: Final = 4 << 20
_FLOODER: Final = Path(__file__).with_name("flooder.py")


@dataclass
class Start:
    """How a run is started. prefix: commands that become the next; limits: of setrlimit(2); to: of both streams."""

    prefix: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)
    to: dict[str, str] = field(default_factory=dict)


def prepared(trial: Trial, home: Path, shim: Path | None) -> Start:
    """Return how a trial is started with those of its faults that are there from the beginning."""
    start = Start()
    for index, fault in enumerate(trial.faults):
        how = fault.how
        match fault.kind:
            case "clock":
                offset = str(how["offset_s"])
                start.prefix = ["unshare", "--time", "--monotonic", offset, "--boottime", offset, *start.prefix]
            case "inject-from-start":
                log = str(home / f"injected.{index}")
                start.prefix += ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", log, *_injection(how)]
            case "short-writes" if shim:
                start.env |= {"LD_PRELOAD": str(shim), "SHORT_WRITE_AFTER": str(how["after"])}
            case "limit-from-start":
                start.limits[_limit(how)] = how["value"]
            case "output":
                start.to[fault.role] = how["to"]
    return start


def _limit(how: Mapping[str, Any]) -> int:
    number: int = getattr(resource, f"RLIMIT_{how['limit']}")
    return number


def _injection(how: Mapping[str, Any]) -> list[str]:
    first, times = how["nth"], how["times"]
    when = f"{first}+" if not times else f"{first}..{first + times - 1}"
    return [
        "-e",
        "status=failed",
        "-e",
        f"trace={how['call']}",
        "-e",
        f"inject={how['call']}:error={how['errno']}:when={when}",
    ]


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that came. what: it hit; over: the end of the run was written before; lines: of the series after it."""

    fault: Fault
    what: str
    over: bool
    lines: int


class Inflictor:
    """Does the faults of one trial, each at its moment. done: those that came."""

    def __init__(self, trial: Trial, watcher: Watcher, master: int | None) -> None:
        self._trial, self._watcher, self._master = trial, watcher, master
        self._tracers: list[subprocess.Popen[bytes]] = []
        self._threads = [threading.Thread(target=self._wait_for, args=(fault,)) for fault in trial.faults]
        self._lock = threading.Lock()
        self.done: list[Done] = []
        #: What went wrong in the harness itself.
        self.trouble: list[str] = []

    def begin(self) -> None:
        """Wait for the moments in threads."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait for the threads, and end the tracers."""
        for thread in self._threads:
            thread.join()
        for tracer in self._tracers:
            with suppress(subprocess.TimeoutExpired):
                tracer.wait(2)
            tracer.kill()
            tracer.wait()
        self.done = [done for done in self.done if self._came(done.fault)]

    def _came(self, fault: Fault) -> bool:
        """Return True unless strace(1) never saw the call that it was to let fail."""
        if fault.kind not in ("inject", "inject-from-start"):
            return True
        log = self._watcher.home / f"injected.{self._trial.faults.index(fault)}"
        return log.exists() and "(INJECTED)" in log.read_text(errors="replace")

    def _wait_for(self, fault: Fault) -> None:
        try:
            if fault.moment.phase == "start" or self._watcher.wait(fault.moment):
                over = any(line.get("event") == "ended" for line in self._watcher.lines("events.jsonl"))
                if what := _DO[fault.kind](self, fault):
                    lines = len(self._watcher.lines("series.jsonl"))
                    with self._lock:
                        self.done.append(Done(fault, what, over=over, lines=lines))
        except Exception as error:
            self.trouble.append(f"{fault}: {type(error).__name__}: {error}")

    def _target(self, fault: Fault) -> Process | None:
        return self._watcher.roles().one(fault.role, fault.how.get("index", 0))

    def from_the_start(self, fault: Fault) -> str:
        """It is there already."""
        return fault.kind

    def kill(self, fault: Fault) -> str:
        """One signal to one process."""
        process = self._target(fault)
        return f"{process.pid}" if process and process.kill(signal.Signals[fault.how["signal"]]) else ""

    def end(self, fault: Fault) -> str:
        """A signal that asks the orchestrator, or its whole group, to end; perhaps twice."""
        process = self._target(fault)
        if process is None:
            return ""
        number = signal.Signals[fault.how["signal"]]
        for _ in range(fault.how["times"]):
            if fault.how["group"]:
                if processes.of(process.pid) == process:
                    os.killpg(self._watcher.popen.pid, number)
            elif not process.kill(number):
                break
            time.sleep(0.05)
        return f"{process.pid}"

    def pause(self, fault: Fault) -> str:
        """SIGSTOP, and SIGCONT after a while."""
        process = self._target(fault)
        if process is None or not process.kill(signal.SIGSTOP):
            return ""
        time.sleep(fault.how["for_s"])
        process.kill(signal.SIGCONT)
        return f"{process.pid}"

    def suspend(self, fault: Fault) -> str:
        """What a terminal does for Ctrl-Z, and what a shell does for fg."""
        group = self._watcher.popen.pid
        try:
            os.killpg(group, signal.SIGTSTP)
            time.sleep(fault.how["for_s"])
            os.killpg(group, signal.SIGCONT)
        except ProcessLookupError:
            return ""
        return f"group {group}"

    def stop(self, fault: Fault) -> str:
        """SIGSTOP for ever."""
        process = self._target(fault)
        return f"{process.pid}" if process and process.kill(signal.SIGSTOP) else ""

    def inject(self, fault: Fault) -> str:
        """Attach strace(1) to a process; its call fails from then on."""
        process = self._target(fault)
        if process is None:
            return ""
        home, index = self._watcher.home, self._trial.faults.index(fault)
        log = home / f"strace.{index}"
        with log.open("wb") as stderr:
            output = str(home / f"injected.{index}")
            threads = [] if fault.role == "sampler" else ["-f"]
            command = ["strace", *threads, "-p", str(process.pid), "-o", output, *_injection(fault.how)]
            tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        self._tracers.append(tracer)
        deadline = time.monotonic() + _ATTACHED_S
        while "attached" not in log.read_text() and tracer.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return f"{process.pid}" if "attached" in log.read_text() else ""

    def limit(self, fault: Fault) -> str:
        """Set a limit of a running process to what it uses now."""
        process = self._target(fault)
        if process is None:
            return ""
        status = Path(f"/proc/{process.pid}/status").read_text()
        now = {
            "NOFILE": len(os.listdir(f"/proc/{process.pid}/fd")),
            "AS": int(re.findall(r"VmSize:\s*(\d+)", status)[0]) << 10,
            "FSIZE": 4096,
        }[fault.how["limit"]]
        _, hard = resource.prlimit(process.pid, _limit(fault.how))
        resource.prlimit(process.pid, _limit(fault.how), (now, hard))
        return f"{process.pid} to {now}"

    def full_disk(self, fault: Fault) -> str:
        """Leave only some pages of the tmpfs that holds results/."""
        filler = self._watcher.home / "results" / ".filler"
        with filler.open("wb", buffering=0) as file:
            with suppress(OSError):
                while file.write(b"\0" * _PAGE) == _PAGE:
                    pass
            size = file.tell() // _PAGE * _PAGE
            file.truncate(max(0, size - fault.how["left"] * _PAGE))
        return f"{fault.how['left']} pages left"

    def hangup(self, _: Fault) -> str:
        """Close the other side of the terminal."""
        if self._master is None:
            return ""
        self._watcher.hung_up = True
        return "terminal closed"

    def link_down(self, fault: Fault) -> str:
        """Take the lab's interface down for a while."""
        return self._for_a_while(fault, "ip link set {} down", "ip link set {} up")

    def slow_link(self, fault: Fault) -> str:
        """Queue what is sent over the lab's interface, which delays and then drops it; until the end."""
        return self._inside(f"tc qdisc replace dev {{}} root tbf rate {fault.how['rate']} burst 20kb latency 100ms")

    def rules(self, fault: Fault) -> str:
        """Load rules of netfilter for a while."""
        rule = f"meta l4proto {{ tcp, udp }} th dport {fault.how['port']} {fault.how['verdict']}"
        if "tcp reset" in rule:
            rule = rule.replace("{ tcp, udp }", "tcp")
        table = f"table inet chaos {{ chain out {{ type filter hook output priority 0; {rule}; }}; }}"
        return self._for_a_while(
            fault, f"nft '{table}'".replace("{", "{{").replace("}", "}}"), "nft delete table inet chaos"
        )

    def _for_a_while(self, fault: Fault, begin: str, end: str) -> str:
        done = self._inside(begin)
        if done:
            time.sleep(fault.how["for_s"])
            self._inside(end)
        return done

    def _inside(self, command: str) -> str:
        """Run a command of sh in the network namespace of the load; {} is its interface. Returns: "" if it is gone."""
        zygote = self._watcher.roles().zygote
        if zygote is None:
            return ""
        veth = self._trial.scenario["lab"]["topology"] == "veth"
        name = "$(ip -o link show type veth | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/;q')" if veth else "lo"
        done = subprocess.run(
            [*_enter(zygote.pid), "sh", "-c", command.format(name)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_S,
            check=False,
            text=True,
        )
        if done.returncode and processes.of(zygote.pid) == zygote and self._watcher.running:
            self.trouble.append(f"{command}: {done.stderr.strip()}")
        return command if not done.returncode else ""

    def garbage(self, fault: Fault) -> str:
        """Clients that send nonsense, to the sinks in the lab or to the dashboard."""
        seed, count = str(fault.how["seed"]), str(fault.how["connections"])
        if fault.role == "dashboard":
            found = re.search(r"http://(127\.0\.0\.1):(\d+)/", self._watcher.stderr)
            if not found:
                return ""
            enter, host, port = [], found[1], found[2]
        else:
            zygote = self._watcher.roles().zygote
            if zygote is None:
                return ""
            host, _, port = self._trial.scenario["targets"][0]["address"].rpartition(":")
            enter = _enter(zygote.pid)
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*enter, sys.executable, "-S", str(_FLOODER), host, port, count, seed],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_COMMAND_S,
                check=False,
            )
        return f"{host}:{port}"


def _enter(pid: int) -> list[str]:
    kinds = ["-n"] if os.geteuid() == 0 else ["-U", "-n", "--preserve-credentials"]
    return ["nsenter", "-t", str(pid), *kinds]


_DO: Final[dict[str, Callable[[Inflictor, Fault], str]]] = {
    **dict.fromkeys(
        ("none", "clock", "inject-from-start", "short-writes", "limit-from-start", "output"), Inflictor.from_the_start
    ),
    "kill": Inflictor.kill,
    "end": Inflictor.end,
    "pause": Inflictor.pause,
    "suspend": Inflictor.suspend,
    "stop": Inflictor.stop,
    "inject": Inflictor.inject,
    "limit": Inflictor.limit,
    "full-disk": Inflictor.full_disk,
    "hangup": Inflictor.hangup,
    "link-down": Inflictor.link_down,
    "slow-link": Inflictor.slow_link,
    "rules": Inflictor.rules,
    "garbage": Inflictor.garbage,
}
