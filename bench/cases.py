"""What is measured: every comparison as plain values, and which of them belong to an ordinary run.

Nothing is run here. A case says what both programs are asked to do; `programs` does it, `summary` judges it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

TARGET: Final = "127.0.0.1:9000"
#: How long one ramp may take. With the kernel choosing ports, the second half of 64,000 needs minutes; so
#: may a million.
GIVE_UP_S, GIVE_UP_LONG_S = 60, 300
#: How many connections churn has open at a time: what `--window` of the C client is without being given.
CHURN_CONCURRENCY: Final = 256
#: How every held connection is told to beat where a case asks for it, see docs/scenario.md.
HEARTBEAT: Final = "{every: 1s, share: 10%}"

REFERENCE: Final = "reference"
LOADGEN: Final = "loadgen"

#: The arrival rates of an open loop are multiples of this.
RATE_STEP_PER_S: Final = 500

#: Which table shows a case: rates beside the baseline, latencies in an open loop, rates by quarter or by tenth
#: of the port range, what recording costs, what holding costs, or how fast sockets are watched.
Shows = Literal["rates", "latencies", "quarters", "tenths", "metrics", "held", "watch"]


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    processes: C clients, and loadgen's workers. ports: the range of source ports, both ends included.
    own_sink: loadgen listens itself instead of meeting the C sinks. baseline: what loadgen is compared with
    in the same round, None for nothing. target: the least ratio to be content with, of rates to the baseline
    or, where the table is by quarters, of last to first quarter; of latencies, how far the ratio of the
    medians may be from 1; where sockets are watched, how many per second; None: there is no goal.
    engine: what loadgen opens connections with, see docs/scenario.md.
    arrival_per_s: connections due per second in an open loop, 0 in a closed one. Where latencies are shown the
    loop is open, and the rate is known only when the reference was measured, see `at_half_of`.
    churn_s: 0 to hold the connections; else each is closed at once, the reference opens `connections` of
    them and loadgen goes on for so long. hold_s: how long loadgen holds. give_up_s: how long the ramp may
    take. memory: look at the memory of loadgen's processes, too. rounds: when nobody says how many.
    """

    name: str
    strategy: str
    connections: int
    processes: int
    sinks: int
    sources: tuple[str, ...]
    target: float | None = None
    detail: str = ""
    shows: Shows = "rates"
    baseline: str | None = REFERENCE
    ports: tuple[int, int] = (1024, 65535)
    arrival_per_s: int = 0
    engine: str = "epoll"
    own_sink: bool = False
    reference_only: bool = False
    churn_s: float = 0.0
    hold_s: float = 1.0
    heartbeat: bool = False
    give_up_s: int = GIVE_UP_S
    memory: bool = False
    rounds: int = 5

    @property
    def title(self) -> str:
        """Name for tables; the detail tells the variants of a case apart."""
        return f"{self.name}, {self.detail}" if self.detail else self.name

    @property
    def label(self) -> str:
        """Name for people, unique among all cases."""
        return f"{self.name}, {self.detail or self.strategy}"

    @property
    def at_once(self) -> int:
        """How many connections are open at a time."""
        return CHURN_CONCURRENCY if self.churn_s else self.connections

    @property
    def size(self) -> str:
        """How much there is to do, for people."""
        if self.arrival_per_s:
            return f"{self.connections:,} at {self.arrival_per_s:,}/s"
        return f"{self.connections:,}" + (f" or {self.churn_s:g} s" if self.churn_s else "")

    def at_half_of(self, rate_per_s: float) -> Case:
        """The same in an open loop, at about half of this rate."""
        steps = max(round(rate_per_s / 2 / RATE_STEP_PER_S), 1)
        return replace(self, arrival_per_s=steps * RATE_STEP_PER_S)

    def small(self) -> Case:
        """An eighth of the connections, ports and duration: for a look, not for a claim."""
        low, high = self.ports
        return replace(
            self,
            connections=self.connections // 8,
            ports=(low, low + (high - low + 1) // 8 - 1),
            churn_s=self.churn_s / 8,
            hold_s=min(self.hold_s, 5.0),  # the first second does not count, and a look is taken every second
        )


FOUR_SOURCES = ("127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4")
OPEN_HOLD = Case("open-hold", "late-range", 36_000, 2, 2, FOUR_SOURCES, target=0.95)
WHOLE = replace(OPEN_HOLD, name="whole", own_sink=True)
# 64,000 of the 64,512 ports: each process has 128 to spare, the listener's own port is among them.
LAST_QUARTER = Case("last-quarter", "late-range", 64_000, 4, 4, ("127.0.1.1",), target=0.95, shows="quarters")
CHURN = Case("churn", "late-range", 100_000, 1, 1, ("127.0.1.1",), target=0.95, churn_s=5.0)
# The kernel is asked for no more than it does easily: what differs then is what the programs measure.
HALF_RATE = Case("half-rate", "late-range", 12_000, 1, 1, FOUR_SOURCES, target=0.05, shows="latencies")
DEFAULT_CASES = (
    OPEN_HOLD,
    replace(OPEN_HOLD, detail="io_uring", engine="io_uring", target=1.30),
    WHOLE,
    replace(WHOLE, detail="io_uring", engine="io_uring", target=1.25),
    LAST_QUARTER,
    replace(LAST_QUARTER, strategy="explicit"),
    CHURN,
    replace(CHURN, name="churn-whole", own_sink=True, target=1.00),
    HALF_RATE,
)

METRICS = Case("metrics", "late-range", 18_000, 1, 1, FOUR_SOURCES, shows="metrics", baseline=None, rounds=15)
# 12,000 connections for each process, from four sources: 6,000 of 64,512 ports of a source at most, and of a
# process's slice no more than a fifth. `late` slows down past half; that is by-tenth's to show.
STRATEGIES = tuple(
    Case(
        "strategies",
        strategy,
        12_000 * processes,
        processes,
        processes,
        FOUR_SOURCES,
        detail=f"{strategy}, {processes} {'process' if processes == 1 else 'processes'}",
    )
    for strategy in ("late-range", "late", "explicit")
    for processes in (1, 2)
)
BY_TENTH = tuple(
    replace(LAST_QUARTER, name="by-tenth", strategy=strategy, shows="tenths", target=None)
    for strategy in ("late-range", "explicit")
)
HELD = tuple(
    Case(
        "held",
        "late-range",
        20_000,
        2,
        2,
        FOUR_SOURCES,
        detail="10 % beat every second" if heartbeat else "silent",
        shows="held",
        baseline=None,
        own_sink=True,
        hold_s=10.0,
        heartbeat=heartbeat,
    )
    for heartbeat in (False, True)
)
WATCH = Case("watch", "late-range", 30_000, 2, 2, FOUR_SOURCES, target=100_000, shows="watch", baseline=None, rounds=9)
#: With --all or by name.
MORE_CASES = (METRICS, *STRATEGIES, *BY_TENTH, *HELD, WATCH)

#: Only with --slow. The kernel's own choice is what all strategies are there to avoid, so only the reference has it.
SLOW_CASES = (
    replace(LAST_QUARTER, strategy="kernel", reference_only=True, give_up_s=GIVE_UP_LONG_S, rounds=1),
    replace(BY_TENTH[0], strategy="late", give_up_s=GIVE_UP_LONG_S, rounds=1),
)
#: Only with --million. At most 1.3 times as long as C is a rate of 1 / 1.3. A process that may open 20,000
#: files holds 18,868 of the connections, and a sink, whose share is by hash, about 17,857.
MILLION = Case(
    "million",
    "late-range",
    1_000_000,
    processes=53,
    sinks=56,
    sources=tuple(f"127.0.1.{last}" for last in range(1, 21)),
    target=0.77,
    own_sink=True,
    give_up_s=GIVE_UP_LONG_S,
    memory=True,
    rounds=1,
)
ALL_CASES = (*DEFAULT_CASES, *MORE_CASES, *SLOW_CASES, MILLION)
