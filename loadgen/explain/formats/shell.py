"""Command lines, as far as a reader has to understand them: the tools they run, and which bare values they print.

`cat /proc/sys/net/core/somaxconn`, `sysctl -n NAME`, `ulimit -n`, `conntrack -C` and `uname -r` print a value without
its name; only the command line tells what it is. Where a command prints an unknown number of lines, what follows is
not guessed at.

Sources: sysctl(8), conntrack(8), uname(1), bash(1) and dash(1) for ulimit; sosreport for the names of its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Final

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.limit_names import FLAGS
from loadgen.kernel import sysctl_conf

#: Tools whose output explain reads, or that stand before or behind those in a pipe.
TOOLS: Final = frozenset(
    (
        "ss",
        "netstat",
        "nstat",
        "sysctl",
        "cat",
        "ulimit",
        "conntrack",
        "ip",
        "nft",
        "iptables",
        "iptables-save",
        "iptables-legacy",
        "ip6tables",
        "ip6tables-save",
        "uname",
        "dmesg",
        "journalctl",
        "prlimit",
        "grep",
        "egrep",
        "head",
        "tail",
        "more",
        "less",
        "strace",
        "lsof",
        "ifconfig",
        "route",
        "arp",
        "systemctl",
        "loadgen",
    )
)
#: Words behind a tool that make a line of text a command line, where neither a prompt nor an option does.
_WORDS: Final = {
    "ip": frozenset(["a", "addr", "address", "r", "route", "l", "link", "n", "neigh", "rule", "netns"]),
    "nft": frozenset(("list",)),
    "systemctl": frozenset(("show", "cat")),
    "loadgen": frozenset(("watch", "doctor", "explain", "trace", "run", "plan")),
}
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=\S*")
_QUOTES: Final = str.maketrans(dict.fromkeys("\"'()", " "))
_SPLIT: Final = re.compile(r";|&&|\|\|")
#: Filters that pass lines on as they are.
_PASSING: Final = frozenset(("grep", "egrep", "cat", "tee", "head", "tail", "sort", "less", "more"))
#: Characters of a command line that are looked at.
COMMAND_MAX: Final = 4096
_PROC_SYS: Final = "/proc/sys/"
_SYSCTL_NAME: Final = re.compile(r"[a-z][\w:@-]*(?:[./][\w:@-]+)+")
_ULIMIT: Final = re.compile(r"-([SH]*)([A-Za-z])")


class BareKind(Enum):
    """Kinds of values that a command prints without a name."""

    SYSCTL = "sysctl"
    LIMIT = "limit"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class BareValue:
    """A line that a command will print. name: of the sysctl, or flag of ulimit. hard: of a limit."""

    kind: BareKind
    name: str = ""
    hard: bool = False


def simple(command: str) -> Iterator[list[list[str]]]:
    """Yield the pipelines of a command line, each as its commands, each as its words.

    Quotes and brackets are not understood beyond being removed: that is enough for the commands that matter.
    """
    for pipeline in _SPLIT.split(command):
        commands = [part.translate(_QUOTES).split() for part in pipeline.split("|")]
        if commands[0]:
            yield commands


def without_wrappers(words: list[str]) -> list[str]:
    """Return a command without sudo, env, docker exec and the like, from the first tool on; [] if there is none."""
    for index, word in enumerate(words[:12]):
        tool = PurePosixPath(word).name
        if tool in TOOLS and not (tool == "ip" and words[index + 1 : index + 3] == ["netns", "exec"]):
            return [tool, *words[index + 1 :]]
    return []


def is_plausible(text: str) -> bool:
    """Return True for text that is a command line even without a prompt: a tool with an option, a file, a subcommand.

    "ss -s" is one; "ss shows nothing" and "nstat" are not.
    """
    words = text.split(None, 8)
    while words and (words[0] in ("sudo", "time", "+") or _ASSIGNMENT.fullmatch(words[0])):
        words = words[1:]
    if len(words) < 2:
        return False
    tool, argument = PurePosixPath(words[0]).name, words[1]
    if tool not in TOOLS:
        return False
    if argument in _WORDS.get(tool, ()):
        return True
    if tool == "sysctl" and _SYSCTL_NAME.fullmatch(argument):
        return True
    return re.match(r"-{1,2}[A-Za-z]|/(?:proc|sys|etc|var)/", argument) is not None


def bare_values(command: str) -> list[BareValue]:
    """Return the values that a command line prints first, without names, one a line.

    It ends where a command prints something else.
    """
    values: list[BareValue] = []
    for first, *filters in simple(command):
        found = _of_command(without_wrappers(first))
        if not found or any(not words or words[0] not in _PASSING for words in filters):
            break
        values += found
    return values


def _of_command(words: list[str]) -> list[BareValue]:
    if not words:
        return []
    tool, arguments = words[0], words[1:]
    options = [word for word in arguments if word.startswith("-")]
    others = [word for word in arguments if not word.startswith("-") and not word.startswith(("2>", ">"))]
    match tool:
        case "cat" | "more" | "less" | "head" | "tail":
            if options or not others or (tool in ("head", "tail") and len(others) > 1):
                return []
            names = [sysctl_of_path(path) for path in others]
            return [BareValue(BareKind.SYSCTL, name) for name in names if name] if all(names) else []
        case "sysctl":
            asks = any(option == "--values" or re.fullmatch(r"-[a-mo-z]*n[a-z]*", option) for option in options)
            ok = asks and all(_SYSCTL_NAME.fullmatch(name) for name in others)
            ok = ok and not any(option in ("-a", "--all", "-an", "-na") for option in options)
            return [BareValue(BareKind.SYSCTL, sysctl_conf.dotted(name)) for name in others] if ok else []
        case "ulimit":
            return _of_ulimit(options, others)
        case "conntrack" if options and options[0] in ("-C", "--count"):
            # It asks over netlink for what this file has: nfct_stats in conntrack.c.
            return [BareValue(BareKind.SYSCTL, "net.netfilter.nf_conntrack_count")]
        case "uname" if options in (["-r"], ["--kernel-release"]):
            return [BareValue(BareKind.KERNEL)]
    return []


def _of_ulimit(options: list[str], others: list[str]) -> list[BareValue]:
    letters = "".join(option[1:] for option in options)
    matched = all(_ULIMIT.fullmatch(option) for option in options)
    asked = letters.replace("S", "").replace("H", "")
    if others or not matched or len(asked) != 1 or asked not in FLAGS:
        return []
    return [BareValue(BareKind.LIMIT, asked, "H" in letters)]


def sysctl_of_path(path: str) -> str:
    """Return the dotted name of a file below /proc/sys; "" for any other, and where the shell completes the path."""
    if not path.startswith(_PROC_SYS) or any(character in path for character in "*?[{$`"):
        return ""
    return sysctl_conf.dotted(path[len(_PROC_SYS) :].strip("/"))


def command_of(evidence: Evidence, file: str, line: int) -> str:
    """Return the command that printed what begins at this line: from the text, or else from the name of its file.

    sosreport writes `nstat -zas` into sos_commands/networking/nstat_-zas, and copies files of /proc. "": not known.
    """
    if command := evidence.command_before(file, line):
        return command
    path = PurePosixPath(file)
    for tree in ("proc", "etc"):
        if tree in path.parts:
            return "cat /" + "/".join(path.parts[path.parts.index(tree) :])
    command = path.name[:COMMAND_MAX].replace("_", " ")
    # "ss_web1.txt" is a name that a user gave.
    if is_plausible(command) or ("sos_commands" in path.parts and command in TOOLS):
        return command
    return ""


def calls(command: str, tool: str) -> list[tuple[list[str], bool]]:
    """Return the words behind a tool in each pipeline that runs it, and whether its output goes through a pipe."""
    found = []
    for commands in simple(command):
        words = without_wrappers(commands[0])
        if words and words[0] == tool:
            found.append((words[1:], len(commands) > 1))
    return found


def words_of(command: str, tool: str) -> list[str] | None:
    """Return the words behind a tool in the first pipeline that runs it; None if none does."""
    return next((words for words, _ in calls(command, tool)), None)
