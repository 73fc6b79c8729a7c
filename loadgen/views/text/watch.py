"""A look as text: a table that is drawn over itself on a terminal, one block after another elsewhere.

The fullest group comes first. Of a narrow terminal columns give way, the least important first, so that no
number is ever cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadgen import styles
from loadgen.errors import UsageError
from loadgen.format import visible
from loadgen.kernel.sockdiag import TcpState
from loadgen.model import Endpoint
from loadgen.views.progress import ProgressStyle
from loadgen.views.terminal import in_background, redraws, whole_frame
from loadgen.watch.devices import DeviceSockets
from loadgen.watch.owners import Ownership
from loadgen.watch.plain import TOP
from loadgen.watch.snapshot import Snapshot, Usage
from loadgen.watch.sources import SourceUsage

#: Lines of the view that are no groups, most of the time.
_OTHER_LINES: Final = 12
_TOP_MIN: Final = 3
#: Worse than these is a failure, or close to one.
_FULL, _TIGHT = 0.9, 0.7
#: Further away than this exhaustion is no news.
_HORIZON_S: Final = 24 * 3600.0
_OWNERS_SHOWN: Final = 2
_PORTS_SHOWN: Final = 8
#: Devices with a sentence each.
_DEVICES_SHOWN: Final = 4
_COUNTERS_SHOWN: Final = 6
_SOURCES_SHOWN: Final = 5

#: What those counters mean that tell of ports, queues and losses; the most telling first.
#: Source: Documentation/networking/snmp_counter.rst, RFC 4022, docs/facts.md section 10.
WORDS: Final = {
    "TcpExt.TCPTimeWaitOverflow": "closed without TIME-WAIT, tcp_max_tw_buckets are full",
    "TcpExt.ListenOverflows": "SYNs or handshakes dropped, a listener's queue is full",
    "TcpExt.TCPReqQFullDrop": "SYNs dropped, a listener's SYN queue is full",
    "TcpExt.TCPAbortOnMemory": "connections aborted, no memory for sockets",
    "TcpExt.TCPMemoryPressures": "times under memory pressure",
    "TcpExt.TCPAbortOnTimeout": "connections given up, no answer",
    "Tcp.AttemptFails": "attempts failed",
    "Tcp.EstabResets": "connections reset",
    "TcpExt.TCPSynRetrans": "SYNs sent again",
    "Tcp.RetransSegs": "segments sent again",
    "TcpExt.TWRecycled": "four-tuples taken over from TIME-WAIT",
    "TcpExt.TW": "connections came to rest in TIME-WAIT, or in FIN-WAIT-2 without their process",
    "TcpExt.TWKilled": "connections came to FIN-WAIT-2 without their process, for the 4 s or less of tcp_fin_timeout",
    "Tcp.ActiveOpens": "connections begun from here",
    "Tcp.PassiveOpens": "connections came in",
    "Tcp.OutRsts": "resets sent",
}


@dataclass(frozen=True, slots=True)
class _Column:
    """width: from that of the terminal on which it is shown."""

    title: str
    width: int
    cell: Callable[[Usage | SourceUsage], Text]
    right: bool = True


class Screen(Protocol):
    """A place to show snapshots."""

    def show(self, look: Snapshot) -> None:
        """Show the next snapshot."""

    def hide(self) -> None:
        """Leave the terminal as it was found; the next snapshot is shown again."""

    def __enter__(self) -> Screen: ...

    def __exit__(self, *_: object) -> None: ...


class BlockScreen:
    """One block of lines for each snapshot: for a file, a pipe, a CI job. top: maximum groups; None: `TOP`."""

    def __init__(self, console: Console, top: int | None = None) -> None:
        self._console, self._top, self._first = console, top or TOP, True

    def show(self, look: Snapshot) -> None:
        """Print it, an empty line before all but the first."""
        if not self._first:
            self._console.print()
        self._first = False
        self._console.print(render(look, self._console.width, self._top), highlight=False)

    def hide(self) -> None:
        """Nothing."""

    def __enter__(self) -> BlockScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class RedrawnScreen:
    """A table that is drawn over itself; the last one stays. top: maximum groups; None: as many as fit."""

    def __init__(self, console: Console, top: int | None = None) -> None:
        self._console, self._top = console, top
        #: While the table is on the terminal.
        self._live: Live | None = None

    def show(self, look: Snapshot) -> None:
        """Redraw, unless the terminal is another program's now."""
        if in_background(self._console):
            self.hide()
            return
        fitted = self._fitted(look)
        with whole_frame():
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False)
                self._live.start()
            self._live.update(fitted, refresh=True)

    def _fitted(self, look: Snapshot) -> RenderableType:
        """Return the snapshot with as many groups as leave room for the notes below them."""
        console = self._console
        if self._top:
            return render(look, console.width, self._top)
        most = max(console.height - _OTHER_LINES, _TOP_MIN)
        rendered = render(look, console.width, most)
        over = len(console.render_lines(rendered, pad=False)) - (console.height - 1)
        return rendered if over <= 0 else render(look, console.width, max(most - over, _TOP_MIN))

    def hide(self) -> None:
        """Show the cursor; the table stays where it is, and the next is drawn below it."""
        live, self._live = self._live, None
        if live:
            live.stop()

    def __enter__(self) -> RedrawnScreen:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()


def screen_for(console: Console, top: int | None, style: ProgressStyle, *, once: bool) -> Screen:
    """The one of that style; for AUTO the one that fits. once: there is one look, and nothing to draw it over.

    Raises: UsageError when a table is asked for where none can be drawn.
    """
    if style is ProgressStyle.LIVE and not redraws(console):
        raise UsageError("--progress live: stdout is no terminal that can be drawn over; leave it out, or write plain")
    drawn = redraws(console) and not once and style is not ProgressStyle.PLAIN
    return RedrawnScreen(console, top) if drawn else BlockScreen(console, top)


def render(look: Snapshot, width: int, top: int) -> RenderableType:
    """A snapshot in at most `width` columns, with at most `top` groups."""
    parts: list[RenderableType] = [Text(_head(look)), Text(_sockets(look))]
    parts.append(_table(look.groups[:top], width) if look.groups else Text("no outbound TCP connections"))
    if look.group_count > top:
        parts.append(Text(f"and {look.group_count - top:,} groups less full"))
    parts += _sources_part(look, width)
    if look.inbound:
        parts += [Text("came in:"), *(Text(_inbound(look, place)) for place in range(min(top, len(look.inbound))))]
    parts += [Text(line) for line in _notes(look, look.groups[:top])]
    return Group(*parts)


def _head(look: Snapshot) -> str:
    ports = look.ports
    taken = [f"{look.reserved:,} reserved"] if look.reserved else []
    taken += [f"{look.listening:,} of listeners"] if look.listening else []
    if look.bound and look.bound.ports:
        taken.append(f"{len(look.bound.ports):,} of bound sockets")
    less = f", less {', '.join(taken)}" if taken else ""
    usable = f"{look.usable:,} usable ports for each source and destination"
    return f"{look.at[11:19]}  {usable}: {ports.low}-{ports.high}{less}"


def _sockets(look: Snapshot) -> str:
    said = ", ".join(f"{count:,} {_state(state)}" for state, count in look.states.items())
    return f"sockets: {said or 'none'}"


def _sources_part(look: Snapshot, width: int) -> list[RenderableType]:
    """The accounts by source address, where they say more than that of the groups."""
    parts: list[RenderableType] = []
    shown = [one for one in look.sources if one.strategy or one.destinations > 1][:_SOURCES_SHOWN]
    if shown:
        parts += [Text("\nby source address, as clients that bind before they connect use it up:")]
        parts += [_table(shown, width), *(Text(_sign(one)) for one in shown if one.strategy)]
    if look.udp:
        parts += [Text("\nUDP, by source address:"), _table(look.udp[:_SOURCES_SHOWN], width)]
        if len(look.udp) > _SOURCES_SHOWN:
            parts.append(Text(f"and {len(look.udp) - _SOURCES_SHOWN:,} addresses less full"))
    return parts


def _sign(one: SourceUsage) -> str:
    whose = f"{visible(one.shown_by)} at {one.source}" if one.shown_by else one.source
    return f"{whose} looks like early binding (strategy {one.strategy}): {one.because}"


def _table(groups: Sequence[Usage | SourceUsage], width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=styles.STRONG)
    columns = [column for column in _COLUMNS if column.width <= width]
    for column in columns:
        # The numbers keep their width; addresses and names fold.
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=column.right,
            overflow="ellipsis" if column.right else "fold",
        )
    for one in groups:
        table.add_row(*(column.cell(one) for column in columns))
    return table


def _used(one: Usage | SourceUsage) -> Text:
    share = one.capacity.share
    style = styles.BAD if share >= _FULL else styles.TIGHT if share >= _TIGHT else ""
    return Text(f"{share * 100:.1f}%", style=style)


def _growth(one: Usage | SourceUsage) -> Text:
    if one.growth_per_s is None:
        return Text("")
    if abs(one.growth_per_s) >= 100:
        return Text(f"{one.growth_per_s:+,.0f}/s")
    return Text(f"{one.growth_per_s:+.3g}/s" if abs(one.growth_per_s) >= 0.05 else "0/s")


def _exhausts(one: Usage | SourceUsage) -> Text:
    if one.exhausts_in_s is None or one.exhausts_in_s > _HORIZON_S:
        return Text("")
    if not one.exhausts_in_s:
        return Text("exhausted", style=styles.BAD)
    return Text(f"in {duration(one.exhausts_in_s)}", style=styles.BAD if one.exhausts_in_s < 60 else "")


def duration(seconds: float) -> str:
    """4.1 s, 41 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _time_wait(one: Usage | SourceUsage) -> Text:
    """With a star where automatic choice takes them over."""
    reused = isinstance(one, Usage) and one.reused
    return Text(f"{one.time_wait:,}{'*' if reused and one.time_wait else ''}")


def _to(one: Usage | SourceUsage) -> Text:
    if isinstance(one, Usage):
        return Text(str(Endpoint(one.destination, one.destination_port)))
    unconnected = f", {one.unconnected:,} unconnected" if one.unconnected else ""
    return Text(f"{one.destinations:,} destination{'' if one.destinations == 1 else 's'}{unconnected}")


def _owners(one: Usage | SourceUsage) -> Text:
    return Text("" if one.owned is None else owners_in_words(one.owned))


def owners_in_words(owned: Ownership) -> str:
    """`nginx[812] 27,411, 3 others 12, unknown 5 (not permitted)`."""
    shown, rest = owned.owners[:_OWNERS_SHOWN], owned.owners[_OWNERS_SHOWN:]
    said = [f"{visible(owner.command) or '?'}[{owner.pid}] {owner.sockets:,}" for owner in shown]
    if rest:
        said.append(f"{len(rest)} others {sum(owner.sockets for owner in rest):,}")
    if owned.unknown:
        said.append(f"unknown {owned.unknown:,} ({owned.reason})")
    return ", ".join(said)


def _inbound(look: Snapshot, place: int) -> str:
    one = look.inbound[place]
    destination = Endpoint(one.destination, one.destination_port)
    return f"  {one.source} to {destination}: {one.in_use:,} in use, {one.time_wait:,} in TIME-WAIT"


def _notes(look: Snapshot, groups: Sequence[Usage]) -> list[str]:
    """The notes below the table."""
    notes = []
    if any(one.reused and one.time_wait for one in groups):
        notes.append("* automatic choice takes these over after a rest (tcp_tw_reuse); they count as used all the same")
    if look.bound is None:
        notes.append(f"bound, unconnected sockets: unknown, {look.bound_unknown}")
    elif look.bound.sockets:
        named = ", ".join(map(str, look.bound.ports[:_PORTS_SHOWN]))
        more = f" and {len(look.bound.ports) - _PORTS_SHOWN:,} more" if len(look.bound.ports) > _PORTS_SHOWN else ""
        whose = owners_in_words(look.bound.owned)
        notes.append(f"bound, unconnected sockets block {named}{more}: {whose}")
    notes += [_tied(one) for one in look.devices[:_DEVICES_SHOWN]]
    if look.udp is None and look.udp_unknown:
        notes.append(f"UDP sockets: unknown, {look.udp_unknown}")
    if look.interrupted:
        notes.append("the kernel moved sockets while it listed them: a few may be missing, or counted twice")
    moved = [(name, look.counters[name]) for name in WORDS if look.counters.get(name)]
    notes += [f"{more:+,} {WORDS[name]} ({name})" for name, more in moved[:_COUNTERS_SHOWN]]
    return notes


def _tied(one: DeviceSockets) -> str:
    """The sentence on connections that are bound to a device, which the accounts leave out."""
    connections = "1 connection is" if one.connections == 1 else f"{one.connections:,} connections are"
    device = visible(one.device)
    if one.vrf:
        vrf = "the VRF" if one.vrf == one.device else f"a device of the VRF {visible(one.vrf)},"
        return f"{connections} bound to {vrf} {device}, and not counted above: a VRF has a space of ports of its own"
    return (
        f"{connections} bound to the device {device}, and not counted above: connect() without a device may open the "
        "same four-tuple again, and then the older connection is never told (SO_BINDTODEVICE)"
    )


def _state(state: TcpState) -> str:
    """The name of a state in the spelling of RFC 9293: TIME-WAIT."""
    return state.name.replace("_", "-")


_COLUMNS: Final = (
    _Column("used", 0, _used),
    _Column("in use", 60, lambda one: Text(f"{one.in_use:,}")),
    _Column("TIME-WAIT", 70, _time_wait),
    _Column("free", 0, lambda one: Text(f"{one.capacity.free:,}")),
    _Column("growth", 80, _growth),
    _Column("exhausts", 50, _exhausts),
    _Column("from", 0, lambda one: Text(one.source), right=False),
    _Column("to", 0, _to, right=False),
    _Column("owned by", 100, _owners, right=False),
)
