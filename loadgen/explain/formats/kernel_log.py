"""The kernel's log, from dmesg(1), the journal or a file of syslog: messages about full tables and refused sockets.

Other lines of the kernel are understood and left out; those of other programs are left to other formats. A message is
read at the beginning of its line only, so that prose about it is not taken for it.

Sources: __nf_conntrack_alloc() in nf_conntrack_core.c; neigh_alloc() in net/core/neighbour.c; tcp_syn_flood_action()
and pr_drop_req() in net/ipv4/tcp_input.c; tcp_check_oom() in net/ipv4/tcp.c; tcp_time_wait() in tcp_minisocks.c;
alloc_empty_file() in fs/file_table.c; addrconf_dad_failure() in net/ipv6/addrconf.c; cgroup/pids.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from loadgen.explain.evidence import TEXT_MAX, Complaint, Evidence, Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.shell import command_of, words_of
from loadgen.outcomes import Syscall
from loadgen.strategies import Transport

#: Time stamps of dmesg, of dmesg -T, with the thread or core (CONFIG_PRINTK_CALLER), and printk's level before them.
_STAMP: Final = r"(?:<[0-9]{1,3}>)?\[ {0,8}(?:[0-9]{1,9}\.[0-9]{3,6}|[\w :,.+-]{10,40})\](?:\[ *[TC][0-9]+\])?:? ?"
#: Of syslog and the journal: a date, a host, "kernel:", and often dmesg's stamp again.
_SYSLOG: Final = rf"[\w ,.:+-]{{6,40}} [\w.-]{{1,255}} kernel(?:\[[0-9]+\])?: (?:{_STAMP})?"
_SINCE_BOOT: Final = re.compile(r"(?:<[0-9]{1,3}>)?\[ {0,8}[0-9]{1,9}\.[0-9]{3,6}\]")
#: Of `dmesg -T`; Apache's log has it, too.
_DATED: Final = re.compile(r"\[[A-Z]\w{2} [A-Z]\w{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}\] ")
_FROM_KERNEL: Final = re.compile(rf"\s{{0,8}}(?:{_SYSLOG}|{_STAMP})(?P<message>.*)")
_CITED: Final = re.compile(r"\s{0,8}(?:[-*•]\s+)?[`\"']{0,3}(?:kernel: )?(?P<message>.*)")
_ADDRESS: Final = r"(?P<address>[0-9a-fA-F:.]{2,45}|\[[0-9a-fA-F:.]{2,45}\])"


@dataclass(frozen=True, slots=True)
class KernelMessage:
    """A message of the kernel.

    limit: by the table of limits; "": none of them, though sockets are refused or cut. errno: the one that socket()
    says meanwhile; "": none, or not always the same.
    """

    pattern: re.Pattern[str]
    limit: str
    transport: Transport | None = None
    errno: str = ""


#: Searched in this order in a line without its time stamp.
MESSAGES: Final = (
    KernelMessage(
        re.compile(r"(?:(?:nf|ip)_conntrack: )?(?:nf|ip)_conntrack: table full(?: in netns [0-9]+)?, dropping packet"),
        "conntrack",
    ),
    KernelMessage(
        re.compile(
            r"(?:neighbour: )?(?:arp_cache|ndisc_cache): neighbou?r table overflow"
            r"|(?:ipv[46]: |IPv[46]: )?[Nn]eighbou?r table overflow"
        ),
        "neighbours",
    ),
    KernelMessage(
        re.compile(
            r"(?:TCP: )?(?:request_sock_\w{1,40}: )?[Pp]ossible SYN flooding on port "
            rf"(?:{_ADDRESS}[:.])?(?P<port>[0-9]{{1,5}})\. (?:Sending cookies|Dropping request)"
        ),
        "backlog",
        Transport.TCP,
    ),
    KernelMessage(
        re.compile(r"(?:TCP: )?drop open request from [0-9a-fA-F:.]{2,45}/[0-9]{1,5}"), "backlog", Transport.TCP
    ),
    KernelMessage(re.compile(r"(?:TCP: )?out of memory -- consider tuning tcp_mem"), "memory", Transport.TCP),
    # "Out of socket memory" of old kernels was either of these.
    KernelMessage(re.compile(r"(?:TCP: )?too many (?:of )?orphaned sockets|Out of socket memory"), "", Transport.TCP),
    # New sockets in TIME-WAIT are destroyed at once: it costs no port.
    KernelMessage(re.compile(r"(?:TCP: )?[Tt]ime wait bucket table overflow"), "", Transport.TCP),
    KernelMessage(re.compile(r"VFS: file-max limit [0-9]+ reached"), "descriptors", errno="ENFILE"),
    KernelMessage(
        re.compile(r"(?:ICMPv6|IPv6): \S{1,40}: IPv6 duplicate address (?P<source>[0-9a-fA-F:]{2,45}) "),
        "source-address",
    ),
    KernelMessage(re.compile(r"cgroup: fork rejected by pids controller in "), "processes"),
)
#: A word of each of them: most lines of a log have none.
_WORDS: Final = (
    "table full",
    "overflow",
    "SYN flood",
    "open request",
    "memory",
    "orphaned",
    "file-max",
    "duplicate",
    "fork",
)
#: A listener on all addresses.
_ANY: Final = frozenset(("0.0.0.0", "::"))


def _complaint(message: str, where: Where) -> Complaint | None:
    """Return what a message complains about; None if it is none of those known."""
    for known in MESSAGES:
        found = known.pattern.match(message)
        if found is None:
            continue
        groups = found.groupdict()
        address = (groups.get("address") or "").strip("[]")
        return Complaint(
            program="kernel",
            syscalls=frozenset((Syscall.SOCKET,)) if known.errno else frozenset(),
            errno=known.errno,
            text=message.strip(" `\"'")[:TEXT_MAX],
            where=where,
            limit=known.limit,
            source=groups.get("source") or "",
            target="" if address in _ANY else address,
            target_port=int(groups.get("port") or 0),
            transport=known.transport,
        )
    return None


class _KernelLogReader(ReadingLines):
    what = "kernel log"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._dmesg: bool | None = None

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        if self._dmesg is None:
            self._dmesg = words_of(command_of(self.evidence, self.file, where.line), "dmesg") is not None
        line = line[:4096]
        known = _known_message(line, where)
        if known:
            self.evidence.complain(known)
            return True
        return _is_of_kernel(line) or (self._dmesg and _DATED.match(line) is not None)


def _known_message(line: str, where: Where) -> Complaint | None:
    for word in _WORDS:  # a loop, because each line of a log comes here
        if word in line:
            break
    else:
        return None
    found = _FROM_KERNEL.fullmatch(line) or _CITED.fullmatch(line)
    return _complaint(found["message"], where) if found else None


def _is_of_kernel(line: str) -> bool:
    """Return True for a line that the kernel wrote, whatever it says."""
    if line.startswith(("[", "<")) and _SINCE_BOOT.match(line):
        return True
    return " kernel: " in line[:160] and _FROM_KERNEL.fullmatch(line) is not None


def _begins(line: str) -> bool:
    line = line[:4096]
    if line.startswith(("[", "<")) and (_SINCE_BOOT.match(line) or _DATED.match(line)):
        return True
    return _is_of_kernel(line) or _known_message(line, Where("", 0)) is not None


KERNEL_LOG: Final = Format(
    "kernel-log",
    "dmesg, the kernel's lines of the journal and syslog",
    _begins,
    _KernelLogReader,
    heads=frozenset("[<"),
    words=frozenset({" kernel: ", *map(str.lower, _WORDS)}),
)
