"""The complaints in the lines of one message: several lines about one failure are one complaint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from loadgen.explain.evidence import Complaint, Where
from loadgen.explain.formats.logs import errnos, table, traces, unwrap
from loadgen.explain.formats.logs.languages import NODE
from loadgen.explain.formats.logs.row import NONE, excerpt

#: Programs that tell a failure twice, the second time without its errno.
_REPEATING: Final = frozenset({"curl", "envoy", "haproxy", "pgbouncer"})
#: Lines between a complaint and the one that repeats it.
_NEAR: Final = 6


@dataclass(slots=True)
class MessageRead:
    """The complaints of a message. understood: True where one of its lines is known, with or without a complaint."""

    complaints: list[Complaint] = field(default_factory=list)
    understood: bool = False


def read(lines: Sequence[str], file: str, first: int) -> MessageRead:
    """Read the lines of one message. first: the number of lines[0] in its file."""
    message = MessageRead()
    for index, line in enumerate(lines):
        if not table.has_sign(line):
            continue
        where = Where(file, first + index)
        inside = unwrap.texts(line)
        single = len(inside) == 1
        for at, text in enumerate(inside):
            for complaint in table.complaints(text, where):
                message.understood = True
                if complaint:
                    frames, place = (lines, index) if single else (inside, at)
                    program = unwrap.program(complaint.program, line)
                    if program != complaint.program:
                        complaint = replace(complaint, program=program)
                    _add(message.complaints, _with_frames(complaint, frames, place))
        if not single:
            _add_properties(message, inside, where)
    if len(lines) > 1 or "syscall" in lines[0]:
        _add_properties(message, lines, Where(file, first))
    return message


def _with_frames(complaint: Complaint, lines: Sequence[str], at: int) -> Complaint:
    """Return the complaint with what the frames around it say: which call, and whether to listen or to connect."""
    if len(lines) == 1:
        return complaint
    shown = traces.shown_call(lines, at) & complaint.syscalls
    listening = complaint.listening
    if listening is None:
        listening = traces.listens(lines)
    return replace(complaint, syscalls=shown or complaint.syscalls, listening=listening)


def _add_properties(message: MessageRead, lines: Sequence[str], where: Where) -> None:
    for one in traces.properties(lines):
        errno = errnos.named(one["code"])
        if not errno:
            continue
        # Said as node's own message says it, so that one table knows what it means.
        port = f":{one['port']}" if "port" in one else ""
        text = f"{one['syscall']} {errno} {one.get('address', '')}{port}".strip()
        for row in NODE:
            found = [complaint for complaint in row.complaints(text, where) if complaint]
            if found:
                message.understood = True
                shown = excerpt(", ".join(f"{name}: {value}" for name, value in one.items()), 0)
                _add(message.complaints, replace(found[0], text=shown))
                break


def _add(complaints: list[Complaint], new: Complaint) -> None:
    """Add a complaint, or merge it with one that may be about the same failure."""
    for index, old in enumerate(complaints):
        if may_be_one(old, new):
            complaints[index] = merged(old, new)
            return
    complaints.append(new)


def may_be_one(old: Complaint, new: Complaint) -> bool:
    """True if nothing in two complaints of one message contradicts that they are about the same failure."""
    return (
        (old.errno == new.errno or not new.errno)
        and (old.program == new.program or old.program in unwrap.LANGUAGES or new.program in unwrap.LANGUAGES)
        and (not old.target or not new.target or old.target == new.target)
        and (not old.target_port or not new.target_port or old.target_port == new.target_port)
        and (not old.source or not new.source or old.source == new.source)
        and bool(old.syscalls & new.syscalls or not old.syscalls or not new.syscalls)
    )


def repeats(last: Complaint, new: Complaint) -> bool:
    """True if a complaint without errno says again what the line above said with more words.

    PgBouncer's "closing because: connect failed" below the errno, HAProxy's "SC--" below "no free ports".
    """
    if new.program not in _REPEATING or new.program != last.program or new.errno or not new.syscalls:
        return False
    return new.where.line - last.where.line <= _NEAR and may_be_one(last, new)


def merged(old: Complaint, new: Complaint) -> Complaint:
    """Return one complaint with all that two tell."""
    return replace(
        old,
        program=new.program if old.program in unwrap.LANGUAGES and new.program else old.program,
        syscalls=old.syscalls & new.syscalls or old.syscalls or new.syscalls or NONE,
        limit=old.limit or new.limit,
        source=old.source or new.source,
        source_port=new.source_port if old.source_port is None else old.source_port,
        target=old.target or new.target,
        target_port=old.target_port or new.target_port,
        listening=new.listening if old.listening is None else old.listening,
        transport=old.transport or new.transport,
    )
