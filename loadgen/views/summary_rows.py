"""Sentences and labelled rows about one run, which its text, its page and its CI summary share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadgen.format import count, items, latency, number, part, rate, scalar, seconds, total, visible


def headline(summary: Mapping[str, Any]) -> str:
    """The verdict in one sentence, or the next best thing when the run left none."""
    text = part(summary, "verdict").get("text")
    if isinstance(text, str) and text.strip():
        return text.strip()
    outcomes, (planned, how) = part(summary, "outcomes"), attempts(summary)
    if number(outcomes.get("established")) is None:
        return "This run left no verdict and no outcomes."
    return (
        f"{count(outcomes['established'])} of {count(planned)} connections{' started' if how == 'started' else ''}"
        " were established; the run left no verdict."
    )


def attempts(summary: Mapping[str, Any]) -> tuple[object, str]:
    """What the established connections are a share of, and the word for it: (400, "scheduled").

    A closed loop has no schedule, the next connection begins when one is over: there it is those started.
    """
    arrivals = part(summary, "arrivals")
    how = "started" if part(summary, "churn").get("loop") == "closed" else "scheduled"
    return arrivals.get(how), how


def incomplete_because(summary: Mapping[str, Any]) -> str | None:
    """Why the run says less than it should; None when it is complete."""
    if summary.get("complete") is True:
        return None
    reason = summary.get("incomplete_because")
    return reason if isinstance(reason, str) and reason else "the summary does not say why"


def distrust(summary: Mapping[str, Any]) -> list[str] | None:
    """Why the generator's own numbers are in doubt; None when they are not."""
    generator = part(summary, "generator")
    if generator.get("trustworthy") is not False:
        return None
    return [str(reason) for reason in items(generator, "reasons")] or ["the summary does not say why"]


def probes(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each probe by name, and in words what it saw: "0 succeeded; connect EADDRNOTAVAIL 20"."""
    found = []
    for name in part(summary, "probes"):
        result = part(part(summary, "probes"), name)
        if result.get("reason"):
            said = f"could not run: {result['reason']}"
        else:
            said = f"{count(result.get('established'))} succeeded"
            for syscall in part(result, "errors"):
                for number, times in part(part(result, "errors"), syscall).items():
                    said += f"; {syscall} {number} {count(times)}"
        found.append((visible(name), visible(said)))
    return found


def traffic(summary: Mapping[str, Any]) -> tuple[str, bool] | None:
    """What connections carried, and whether every reply was right; None when they carried nothing."""
    found = part(summary, "traffic")
    if not found:
        return None
    spoken = [scalar(found.get("protocol"))] if found.get("protocol") != "tcp" else []
    said = " over ".join(
        [*spoken, *(["TLS"] if found.get("tls") is True else []), *(["UDP"] if _is_udp(found) else [])]
    )
    if found.get("tls") is True:
        said += f": {count(found.get('handshakes'))} handshakes, {count(found.get('resumed'))} of them resumed"
    wrong = number(found.get("wrong"))
    if spoken:
        said += f"; {count(found.get('replies'))} right replies, {count(wrong)} wrong"
    if _is_udp(found):
        said += f", {count(found.get('lost'))} of {count(found.get('sent'))} lost"
    return said, not wrong


def _is_udp(found: Mapping[str, Any]) -> bool:
    return found.get("transport") == "udp"


def heartbeat(summary: Mapping[str, Any]) -> tuple[str, bool] | None:
    """What the held connections showed of themselves, and whether all of it was right; None when nothing was asked."""
    found = part(summary, "heartbeat")
    if not found:
        return None
    missed, wrong = number(found.get("missed")), number(found.get("wrong"))
    said = (
        f"{count(found.get('sent'))} sent by {count(found.get('connections'))} connections, "
        f"{count(found.get('answered'))} answered, {count(missed)} missed, {count(wrong)} wrong"
    )
    return said, missed == wrong == 0


def churn(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A run that opened and closed all the time, as (label, text, "good", "bad" or ""); empty for others."""
    found = part(summary, "churn")
    if not found:
        return []
    said = f"{scalar(found.get('loop'))} loop, at most {count(found.get('concurrency'))} at a time"
    if exchanges := number(found.get("exchanges")):
        said += f", {count(exchanges)} {'exchange' if exchanges == 1 else 'exchanges'} on each"
    rows = [
        ("churn", said, ""),
        ("duration", f"{seconds(found.get('lasted_s'))} of {seconds(found.get('duration_s'))} planned", ""),
    ]
    done = f"{count(part(summary, 'outcomes').get('established'))}, of these {count(found.get('closed'))} closed again"
    pace = f"{rate(found.get('mean_per_s'))} mean, {rate(found.get('sustained_per_s'))} sustained"
    rows += [("established", f"{done}; {pace}", ""), *_prediction(summary)]
    denied_s = number(found.get("first_denied_s"))
    if denied_s is not None:
        rows.append(("first denial", f"{latency(denied_s * 1e6, 'us')} after the start", ""))
    elif "first_denied_s" in found:
        rows.append(("first denial", "none", ""))
    kept = [
        (found.get("time_wait_peak"), "at once at most"),
        (found.get("time_waits"), "entered"),
        (found.get("recycled"), "recycled"),
        (found.get("overflows"), "overflows"),
    ]
    rows.append(("TIME-WAIT", ", ".join(f"{count(value)} {name}" for value, name in kept), ""))
    return rows


def _prediction(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The ceiling with its reason, and whether it came true."""
    found = part(summary, "churn")
    ceiling = part(found, "ceiling")
    rows = [("predicted", most(ceiling), "")] if ceiling else []
    if found.get("as_predicted") is True:
        rows.append(("observed", "as predicted", "good"))
    elif found.get("as_predicted") is False:
        outcomes, limit = part(summary, "outcomes"), number(ceiling.get("established"))
        established = outcomes.get("established")
        said = f"NOT as predicted: {count(established)} established"
        if number(ceiling.get("per_s")) is None:
            said += f", {count(outcomes.get('failed'))} failed, no limit predicted"
        elif limit is not None:
            said += f", {'at most ' if (number(established) or 0) > limit else ''}{count(limit)} predicted"
        rows.append(("observed", said, "bad"))
    return rows


def most(ceiling: Mapping[str, Any]) -> str:
    """A predicted ceiling: "at most 100/s, 500 in all: 100 ports / 1 s: ...", or that there is none and why."""
    # Without a limit on the rate what is left as "established" is the schedule, which predicts nothing.
    said = "no limit"
    if number(ceiling.get("per_s")) is not None:
        said = f"at most {rate(ceiling['per_s'])}"
        if number(ceiling.get("established")) is not None:
            said += f", {count(ceiling['established'])} in all"
    return f"{said}: {ceiling['because']}" if ceiling.get("because") else said


def prediction(summary: Mapping[str, Any]) -> tuple[str, str] | None:
    """What the plan said beside what was observed, with "good", "bad" or ""; None of a run whose plan said nothing."""
    found = part(summary, "prediction")
    if not isinstance(found.get("limit"), str):
        return None
    foretold, limit = found["limit"], scalar(found.get("observed_limit"))
    came, possible = found.get("as_predicted"), found.get("possible") is True
    # In churn a limit is a ceiling, which a run that is possible may well meet.
    met = came is True and limit == foretold
    said = "no limit, the first would be " if possible and not met else ""
    said += f"{foretold} at {count(found.get('at_connections'))} connections"
    if (at_s := number(found.get("at_s"))) is not None:
        said += f", {seconds(at_s)} after the start"
    reached = count(found.get("observed_at"))
    seen = {"none": f"no limit, {reached} connections", "incomplete": f"the run cut off at {reached}"}
    said += f"; observed {seen.get(limit, f'{limit} at {reached}')}"
    if came is False:
        return f"{said}: NOT as predicted", "bad"
    if came is not True:
        return said, ""
    # A plan without a limit holds also where something limited the run that no plan can know.
    beyond = possible and limit not in ("none", foretold) and not part(summary, "churn")
    return f"{said}{', which no plan foretells: otherwise' if beyond else ':'} as predicted", "good"


def other_side(summary: Mapping[str, Any]) -> str | None:
    """TIME-WAIT at the sinks, where they have a namespace of their own; None where not, or where it was none."""
    sink = part(part(summary, "kernel"), "sink")
    delta, peak = part(sink, "delta"), part(sink, "peak").get("sockstat.tcp_tw")
    moved = [delta.get(f"TcpExt.{name}", 0) for name in ("TW", "TWRecycled", "TCPTimeWaitOverflow")]
    if not sink or not (part(summary, "churn") or number(peak) or total(moved)):
        return None
    entered, recycled, overflows = map(count, moved)
    return f"{count(peak)} at once at most, {entered} entered, {recycled} recycled, {overflows} overflows"
