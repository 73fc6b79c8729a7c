"""Numbers and other people's strings in the words of a reader.

A report is read after a crash, by a newer version, from a file somebody edited. So each function takes
whatever JSON can hold and answers with text; a value that is missing or no number becomes a dash.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

from loadgen.metrics.measures import latency_text

MISSING: Final = "–"  # noqa: RUF001 - an en dash is what typography puts into an empty cell

#: Unicode categories that have no glyph or turn the text around them: control, format (bidi overrides,
#: zero width), surrogate, private use, unassigned, line and paragraph separator.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """The same text with every character that could hide or reorder others written as its escape.

    Line feeds and tabs stay. What comes back encodes to UTF-8 and cannot drive a terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in _UNSEEN
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def on_one_line(text: str) -> str:
    """`visible`, and line feeds and tabs are escapes as well: for names of files, which may have them."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def number(value: object) -> float | None:
    """The value as a finite float, or None: bool, text, NaN and infinity are no measurements."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:  # a whole number past 1.8e308
        return None
    return result if math.isfinite(result) else None


def count(value: object) -> str:
    """A quantity: 28,232, or 0.125 when it is not whole."""
    found = number(value)
    if found is None:
        return MISSING
    return f"{found:,.0f}" if found == int(found) or abs(found) >= 1000 else f"{found:,.3g}"


def signed(value: object) -> str:
    """A difference: +1,204."""
    found = number(value)
    return MISSING if found is None else f"{found:+,.0f}" if found == int(found) else f"{found:+,.3g}"


def rate(value: object) -> str:
    """Something per second: 19,812/s."""
    found = number(value)
    return MISSING if found is None else f"{found:,.0f}/s" if abs(found) >= 100 else f"{found:,.3g}/s"


def percent(share: float | None) -> str:
    """A share of 1 as percent. What is not quite everything never reads 100 %."""
    if share is None:
        return MISSING
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{share * 100:.0f} %" if share in (0, 1) else f"{share * 100:.1f} %"


def share(part: object, whole: object) -> float | None:
    """part / whole, None when either is no number or the whole is not positive."""
    above, below = number(part), number(whole)
    return above / below if above is not None and below is not None and below > 0 else None


def latency(us: object, micro: str = "µs") -> str:
    """Microseconds with three digits and the unit that suits them: 812 µs, 1.24 ms, 3.01 s."""
    found = number(us)
    return MISSING if found is None else latency_text(found, micro)


def seconds(value: object) -> str:
    """A stretch of a run: 0.82 s, 30.0 s, 12 min 05 s."""
    found = number(value)
    if found is None:
        return MISSING
    if abs(found) < 9.995:
        return f"{found:.2f} s"
    if found < 119.95:
        return f"{found:.1f} s"
    minutes, rest = divmod(round(found), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: object) -> str:
    """Bytes: 24.0 GiB."""
    found = number(value)
    if found is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(found) < 1024:
            return f"{found:.0f} B" if unit == "B" else f"{found:.1f} {unit}"
        found /= 1024
    return f"{found:.1f} TiB"


def scalar(value: object) -> str:
    """Any leaf of a JSON document as one reads it."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return count(value)
    return str(value)


def part(data: object, key: str) -> Mapping[str, Any]:
    """data[key] when it is a JSON object, else an empty one."""
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(data: object, key: str) -> list[Any]:
    """data[key] when it is a JSON array, else an empty one."""
    value = data.get(key) if isinstance(data, Mapping) else None
    return list(value) if isinstance(value, list | tuple) else []


def rows(data: object, key: str) -> list[Mapping[str, Any]]:
    """The objects in the array data[key]; anything else in it is passed over."""
    return [row for row in items(data, key) if isinstance(row, Mapping)]


def total(values: Iterable[object]) -> float:
    """The sum of those values that are numbers."""
    return sum(found for value in values if (found := number(value)) is not None)


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
