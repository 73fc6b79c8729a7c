"""The shape of the summary of one run. The words for people are in docs/run-directory.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from loadgen.results.schema.carried import ChurnResult, HeartbeatResult, TrafficResult
from loadgen.results.schema.kernel import KernelCounts
from loadgen.results.schema.proof import ProofResult
from loadgen.results.schema.sides import NotAttributed, PairResult, ProbeResult, SinkResult
from loadgen.results.schema.values import (
    Amount,
    Count,
    Limit,
    OutcomeName,
    QuantityName,
    SchemaName,
    SettingValue,
    Shape,
    Time,
)

#: How sure a verdict is.
Confidence = Annotated[str, Meta(extra_json_schema={"enum": ["certain", "likely", "open"]})]


class Arrivals(Shape, frozen=True, kw_only=True):
    """Connections that were due: scheduled = started + not_started."""

    scheduled: Count
    """connections planned; in a closed loop, which has no schedule, those started"""
    started: Count
    """attempts that were begun"""
    not_started: Count
    """never begun: the window was full, the run was interrupted, or a worker was lost"""


class Outcomes(Shape, frozen=True, kw_only=True):
    """How attempts ended: arrivals.started = established + failed + in_flight."""

    established: Count
    """connections"""
    failed: Count
    """attempts"""
    in_flight: Count
    """attempts without an end yet; 0 in a complete run"""
    retried: Count
    """source ports that another socket held and that were passed over"""
    overtaken: Count | None = None
    """attempts that timed out while a later one of the same source and target opened; not in summaries of loadgen
    0.1.0"""
    late: Count | None = None
    """of those established, connections that took as long as a repeated SYN or longer; not in summaries of loadgen
    0.1.0"""


class ErrorCount(Shape, frozen=True, kw_only=True):
    """Failures and losses of one kind."""

    syscall: str
    """the system call that failed; wait is loadgen's own timeout"""
    errno: str
    """the name of its errno; EOF is an orderly close by the other side, SELF a socket connected to itself"""
    outcome: OutcomeName
    """what that means for the connection"""
    count: Count
    """attempts, or connections lost"""


class OpenCounts(Shape, frozen=True, kw_only=True):
    """Connections that were open."""

    peak: Count
    """the most at once"""
    end_of_hold: Count
    """at the end of the hold; of a run that did not hold, of the phase before it"""
    lost: Count
    """closed by the other side while they were held"""


class RatePerS(Shape, frozen=True, kw_only=True):
    """Connections established per second while they were opened."""

    established_mean: Amount
    """over the whole ramp, 1/s"""
    established_peak: Amount
    """in the best interval, 1/s"""


class PhaseLengths(Shape, frozen=True, kw_only=True):
    """How long each phase took."""

    ramp_s: Amount | None = None
    """opening, seconds"""
    hold_s: Amount | None = None
    """holding, seconds"""
    churn_s: Amount | None = None
    """opening and closing all the time, seconds; there is no ramp and no hold then"""
    drain_s: Amount
    """closing, seconds"""


class Quantiles(Shape, frozen=True, kw_only=True):
    """A latency, in microseconds."""

    p50: Amount
    """half took no longer"""
    p90: Amount
    """90 % took no longer"""
    p99: Amount
    """99 % took no longer"""
    p999: Amount
    """99.9 % took no longer"""
    max: Amount
    """the longest"""
    count: Count
    """how many were measured"""


class LatencyUs(Shape, frozen=True, kw_only=True):
    """Latencies of a run, in microseconds."""

    lateness: Quantiles
    """started - due; a count of 0 means that nothing was scheduled"""
    connect: Quantiles
    """established - started"""
    arrival: Quantiles
    """established - due"""
    exchange: Quantiles | None = None
    """reply read - request written; where there are any"""
    handshake: Quantiles | None = None
    """TLS secured - established; where there are any"""
    bind: Quantiles | None = None
    """each call of bind() that takes a port, one that failed included; of the io_uring engine one of each batch"""
    network: Quantiles | None = None
    """round trip of the handshake as the kernel measured it (tcpi_rtt), of a sample of the connections; TCP only"""


class GeneratorResult(Shape, frozen=True, kw_only=True):
    """Figures of loadgen itself: whether it kept up with the schedule."""

    trustworthy: bool
    """false: its latencies measure loadgen rather than the target"""
    reasons: tuple[str, ...]
    """why not"""
    paused: tuple[str, ...] = ()
    """those of them that are pauses: loadgen was stopped, and did not lack time"""
    lag_ms_p99: Amount
    """how long the event loop of a worker stood still, 99th percentile, milliseconds"""
    workers: Count
    """processes"""
    cpu_s: Amount
    """CPU time of the workers, seconds"""
    user_cpu_s: Amount | None = None
    """the part of it outside system calls, as the kernel's tick divides it; not in summaries of loadgen 0.1.0"""


class ClaimResult(Shape, frozen=True, kw_only=True):
    """A figure of the plan without a change and with it."""

    quantity: QuantityName
    """connections: open at once; connections_per_s, requests_per_s: what churn can go on with for ever; occupancy:
    share of the ports in use, 0 to 1"""
    before: Amount
    """without the change"""
    after: Amount | None
    """with it, and with what it needs; null: no ceiling"""


class RemedyResult(Shape, frozen=True, kw_only=True):
    """A change that would move the limit, ready to be made."""

    text: str
    """the same in words, as in remedies"""
    set: Mapping[str, SettingValue]
    """keys of the scenario and their new values, as --set takes them; empty: nothing there"""
    sysctls: Mapping[str, str]
    """settings of the run's namespace; in a lab they go under lab.sysctls"""
    command: str
    """a shell command for the host, empty where there is none; a lab does without"""
    needs: Mapping[str, SettingValue]
    """keys of the scenario to set first, without which the change has no effect; empty: an alternative to the others"""
    gain: Count | None
    """connections that the change adds, with what it needs: to those there is room for at once, in churn to those that
    the ports give in the duration; null: it cannot be computed, or is none"""
    claim: ClaimResult | None = None
    """the figure that the change moves; not in summaries of loadgen 0.1.0"""


class RefutedLimit(Shape, frozen=True, kw_only=True):
    """A limit that the symptoms of the run point at as well, and that did not stop it."""

    limit: Limit
    """its name"""
    because: str
    """the fact that says so, with its numbers"""


class VerdictResult(Shape, frozen=True, kw_only=True):
    """The one limit that stopped the run; docs/verdict.md has them all."""

    limit: Limit
    """its name; none: no limit was met"""
    text: str
    """one sentence for people"""
    predicted: Count | None
    """connections that the plan had room for; null: no limit was predicted"""
    observed: Count
    """the most that were open at once; of churn, those established"""
    evidence: tuple[str, ...]
    """facts with their numbers"""
    remedies: tuple[str, ...]
    """what would help and by how much, best first"""
    remedies_detail: tuple[RemedyResult, ...] | None = None
    """the same as values; not in summaries of loadgen 0.1.0"""
    confidence: Confidence | None = None
    """certain: shown by the evidence; likely: nothing else explains it; open: candidates has others as good; not in
    summaries of loadgen 0.1.0"""
    candidates: tuple[Limit, ...] = ()
    """where confidence is open, the limits that the evidence leaves, that of the verdict first"""
    decide_by: tuple[str, ...] = ()
    """where confidence is open, the looks that would decide between the candidates"""
    refuted: tuple[RefutedLimit, ...] | None = None
    """limits that the symptoms point at and the evidence rules out; not in summaries of loadgen 0.1.0"""
    findings: tuple[str, ...] = ()
    """what hurt beside the limit: late connects, overflows, packets sent again, a cost that rose"""


class SteadyLatencyUs(Shape, frozen=True, kw_only=True):
    """Latencies in the steady part, in microseconds."""

    connect: Quantiles
    """established - started"""
    arrival: Quantiles
    """established - due"""
    exchange: Quantiles | None = None
    """reply read - request written; where there are any"""


class SteadyResult(Shape, frozen=True, kw_only=True):
    """The part of a run in which nothing changes any more: of churn the rate and the failures, else the number open."""

    reached: bool
    """whether there is one; if not, the figures below are of what was left to look at"""
    reason: str | None = None
    """if there is none, why"""
    from_s: Amount
    """its beginning, seconds after the start"""
    to_s: Amount
    """its end, seconds after the start"""
    changed_at_s: tuple[Amount, ...] = ()
    """when the rate or the failures changed before it, or the ports first ran out, seconds after the start"""
    established: Count
    """connections"""
    failed: Count
    """attempts"""
    lost: Count
    """connections that the other side closed"""
    established_per_s: Amount
    """connections, 1/s"""
    established_per_s_low: Amount
    """in the slowest interval, 1/s"""
    established_per_s_high: Amount
    """in the fastest interval, 1/s"""
    failed_share: Amount
    """of the attempts that ended, 0 to 1"""
    open_low: Count
    """the fewest connections open at a line of the series"""
    open_high: Count
    """the most"""
    errors: tuple[ErrorCount, ...] = ()
    """failures and losses by system call and errno"""
    latency_us: SteadyLatencyUs
    """without the intervals that begin in its first 0.15 s, to which workers may have told some from before it"""


class PredictionResult(Shape, frozen=True, kw_only=True):
    """The prediction of the plan beside the observation."""

    limit: Limit | None
    """the limit that the plan meets first, or would; null of a plan that made no prediction"""
    at_connections: Count | None
    """where it is met, connections; null: nowhere"""
    at_s: Amount | None
    """when it is met, seconds from the start; null: no schedule, or not met"""
    possible: bool | None
    """whether what was asked for stays below it"""
    observed_limit: Limit
    """verdict.limit"""
    observed_at: Count
    """verdict.observed"""
    as_predicted: bool | None
    """whether it came true; null: cut off, or nothing to compare"""


class ExpectationResult(Shape, frozen=True, kw_only=True):
    """One line of expect:."""

    expression: str
    """PATH OP VALUE"""
    passed: bool
    """whether it holds"""
    observed: int | float | str | None
    """the number at PATH, or the name where VALUE is one; null: there is none"""


class AgentResult(Shape, frozen=True, kw_only=True):
    """The share of one agent, as in the summary of its own run directory."""

    name: str
    """of the agent"""
    run: str
    """its run directory, below that of the whole"""
    host: str = ""
    """where it ran"""
    started_ms: float | None = None
    """when it began after the first agent, milliseconds; null: not known more exactly than to a second"""
    clock_error_ms: Amount | None = None
    """how far that may be wrong: half of the round trip by which its clock was compared; null: not compared"""
    complete: bool
    """whether its share came to its planned end"""
    incomplete_because: str | None
    """if not, why"""
    arrivals: Arrivals
    outcomes: Outcomes
    errors: tuple[ErrorCount, ...]
    """failures and losses by system call and errno"""
    open: OpenCounts
    rate_per_s: RatePerS
    latency_us: LatencyUs
    generator: GeneratorResult
    verdict: VerdictResult
    prediction: PredictionResult


class RunSummary(Shape, frozen=True, kw_only=True):
    """The whole run in one object."""

    schema: SchemaName
    """name and version of this shape"""
    scenario: str
    """its name"""
    run: str
    """name of the run directory"""
    started_at: Time | None
    """UTC"""
    duration_s: Amount
    """seconds"""
    complete: bool
    """whether the run came to its planned end"""
    incomplete_because: str | None
    """if not, why"""
    arrivals: Arrivals
    outcomes: Outcomes
    errors: tuple[ErrorCount, ...]
    """failures and losses by system call and errno"""
    open: OpenCounts
    rate_per_s: RatePerS
    traffic: TrafficResult | None
    """null: the connections carried nothing"""
    heartbeat: HeartbeatResult | None
    """null: a run without one"""
    churn: ChurnResult | None
    """null: the connections were held"""
    tenths_s: tuple[Amount, ...]
    """how long each tenth of the connections took to open, seconds"""
    cost_us: tuple[Amount, ...]
    """CPU time of the workers per connection, microseconds, in each tenth of the connections as far as reached; in
    churn while this tenth of the ports was in use or in TIME-WAIT, as far as known, and empty where no port rests"""
    cost_last_to_first: Amount | None
    """the last of cost_us divided by the first; null: not all ten are known"""
    phases: PhaseLengths
    steady: SteadyResult | None = None
    """the part in which nothing changes; absent: a run that neither churned nor held, or too shortly to tell"""
    latency_us: LatencyUs
    sources: tuple[PairResult, ...]
    """for each source address and target"""
    not_attributed: NotAttributed | None = None
    """counts that are in outcomes and not in sources and latency_us: a worker ended before it had broken them down;
    absent: there are none"""
    sink: SinkResult | None
    """null: loadgen did not listen itself"""
    probes: Mapping[str, ProbeResult]
    """by name"""
    kernel: KernelCounts
    generator: GeneratorResult
    verdict: VerdictResult
    prediction: PredictionResult
    expect: tuple[ExpectationResult, ...]
    """conditions of the scenario, each with its result"""
    proof: tuple[ProofResult, ...] | None = None
    """remedies that were tried (--prove), in the order of the verdict's"""
    agents: tuple[AgentResult, ...] | None = None
    """of a run of several agents, the share of each; absent: a run of one host"""
