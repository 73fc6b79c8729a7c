"""The command blocks of the pages: which are run, how, and what has to come true; docs/README.md has the rule.

A block is fenced as console, sh or bash. The tests run all of a page in order, unless its fence has
title="not run: REASON", or the comment behind a command says `not run: REASON`. Both show on the page. Comments of HTML
above a fence do not: `<!-- before: COMMAND -->` is run before the block, and prepares what the page takes for granted;
`<!-- run by tests/e2e/test_x.py -->` says that this test runs the block.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Programs that a command may use, and the packages of Debian that have them; a page is skipped without them.
PROGRAMS: Final = {
    "curl": "curl",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "jq": "jq",
    "make": "make",
    "man": "man-db",
    "nft": "nftables",
    "nginx": "nginx-light",
    "ss": "iproute2",
    "strace": "strace",
}

_FENCE: Final = re.compile(
    r"^(?P<above>(?:(?P<indent> *)<!-- .* -->\n)*)(?P<space> *)```(?:console|sh|bash|shell)\b", re.MULTILINE
)
_FENCED: Final = re.compile(
    r'(?P<space> *)```(?P<language>console|sh|bash)(?: title="not run: (?P<reason>[^"]+)")?\n'
    r"(?P<code>.*?)^(?P=space)```$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT: Final = re.compile(r"<!-- (before|run by)?:? ?(.*) -->")
_FILE: Final = re.compile(r"^```\w*\n# (\S+\.\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TEXT: Final = re.compile(r"^<!-- (\S+) -->\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A number as a whole, but for those of the machine: with a decimal point, a unit or a per cent sign.
_EXACT: Final = re.compile(r"(?<![\d.,+-])\d+(?:,\d{3})*(?![\d,]|\.\d|/s| [num]?s\b| %)")
_ERRNO: Final = re.compile(r"\bE[A-Z]{4,}\b")
_WORD: Final = re.compile(r"\b(?:four-tuples|source-ports|ListenOverflows|LISTEN|refused|FAIL|pass)\b")


@dataclass(frozen=True, slots=True)
class Step:
    """A command and the lines shown below it."""

    line: str
    shown: str = ""
    #: Exit codes that are right.
    codes: frozenset[int] = frozenset({0})

    @property
    def comment(self) -> str:
        """The words behind the command."""
        return self.line.rpartition("\n")[2].partition(" # ")[2].strip()

    @property
    def reason(self) -> str:
        """Why the tests do not run it; empty if they do."""
        return self.comment.rpartition("not run: ")[2] if "not run: " in self.comment else ""

    @property
    def until_interrupted(self) -> bool:
        """Whether it goes on until Ctrl-C."""
        return "until Ctrl-C" in self.comment

    @property
    def in_background(self) -> bool:
        """Whether the shell goes on at once."""
        return self.line.partition(" # ")[0].rstrip().endswith("&")

    @property
    def listens_at(self) -> tuple[str, str] | None:
        """Host and port at which loadgen listens from then on, while the shell goes on."""
        found = re.search(r"loadgen .*(?:sink|--exporter) (\S+):(\d+)", self.line)
        return (found[1], found[2]) if found and self.in_background else None

    @property
    def promised(self) -> set[str]:
        """The facts in the lines shown."""
        return facts(self.shown)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page; `line` is that of its fence."""

    line: int
    steps: tuple[Step, ...]
    #: Commands that prepare it, and do not show on the page.
    before: tuple[str, ...] = ()
    #: Why the tests do not run it; empty if they do.
    reason: str = ""
    #: The test that runs it; empty where test_command_blocks.py does.
    run_by: str = ""


def facts(text: str) -> set[str]:
    """Numbers, errno names, limits and results of expectations; not the words around them."""
    return {fact for pattern in (_EXACT, _ERRNO, _WORD) for fact in pattern.findall(text)}


def blocks(text: str) -> list[Block]:
    """All of a page, in order.

    Raises: ValueError, with the line: a fence or a comment above it is not as above, or a block has no command.
    """
    found = []
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("space")) + 1
        block = _FENCED.match(text, fence.start("space"))
        if not block:
            raise ValueError(f'line {line}: behind the language may stand title="not run: REASON", and nothing else')
        before, run_by = _above(fence["above"], line)
        code = re.sub(rf"^{block['space']}", "", block["code"], flags=re.MULTILINE)
        steps = tuple(_steps(code)) if block["language"] == "console" else (Step(code.rstrip("\n")),)
        if not steps or not code.strip():
            raise ValueError(f"line {line}: no command begins with `$ ` or `# `")
        found.append(Block(line, steps, before, block["reason"] or "", run_by))
    return found


def _above(comments: str, line: int) -> tuple[tuple[str, ...], str]:
    """Commands that prepare a block, and the test that runs it."""
    before, run_by = [], ""
    for comment in comments.splitlines():
        kind, words = _COMMENT.fullmatch(comment.strip()).groups()  # type: ignore[union-attr]  # _FENCE has matched it
        if kind == "before":
            before.append(words)
        elif kind == "run by":
            run_by = words
        else:
            raise ValueError(f"line {line}: above it may stand `before: COMMAND` or `run by TEST`, not {comment!r}")
    return tuple(before), run_by


def _steps(code: str) -> Iterator[Step]:
    """The commands of a transcript: a line that ends with a backslash, and the next one, are one."""
    pairs = [_cut(part) for part in re.split(r"^[$#] ", code, flags=re.MULTILINE)[1:]]
    for number, (line, shown) in enumerate(pairs):
        asked = pairs[number + 1] if number + 1 < len(pairs) else ("", "")
        code_shown = int(asked[1]) if asked[0] == "echo $?" else None
        yield Step(line, shown, _codes(line, code_shown))


def _cut(part: str) -> tuple[str, str]:
    """A command with its continued lines, and the lines below it."""
    lines = part.splitlines(keepends=True)
    end = next((n for n, line in enumerate(lines) if not line.endswith("\\\n")), len(lines) - 1) + 1
    return "".join(lines[:end]).rstrip("\n"), "".join(lines[end:])


def _codes(line: str, shown: int | None) -> frozenset[int]:
    """Exit codes that are right: the one that the page prints next, or that the comment of the command names.

    `# exit code 99` alone is the one that is right, `# exit code 99 when anything got worse` one of two. A command that
    goes on in the background or until Ctrl-C may also be ended.
    """
    step = Step(line)
    ended = {0, 130, 143} if step.in_background else {130} if step.until_interrupted else set()
    named = {int(code) for code in re.findall(r"exit code (\d+)", step.comment)}
    if shown is not None:
        return frozenset({shown})
    if re.fullmatch(r"exit code \d+", step.comment):
        return frozenset(named | ended)
    return frozenset({0} | named | ended)


def to_run(page: Sequence[Block]) -> list[Step]:
    """The commands of a page that test_command_blocks.py runs, with those that prepare them, in order."""
    steps = []
    for block in page:
        if not block.reason and not block.run_by:
            steps += [Step(command) for command in block.before]
            steps += [step for step in block.steps if not step.reason]
    return steps


def missing_programs(steps: Sequence[Step]) -> str:
    """The reason to skip a page; empty where all programs are there."""
    text = "\n".join(step.line.partition(" # ")[0] for step in steps)
    used = {name for name in PROGRAMS if re.search(rf"(?<![\w./-]){name}(?![\w./=-])", text)}
    used |= {"strace"} if "loadgen trace" in text else set()
    lacking = sorted(name for name in used if not shutil.which(name))
    return f"needs {', '.join(lacking)}: apt install {' '.join(PROGRAMS[name] for name in lacking)}" if lacking else ""


def files(text: str) -> dict[str, str]:
    """The files that a page shows, by name: a fenced block that begins with `# NAME`, a text below `<!-- NAME -->`."""
    found = {name: f"# {name}\n{body}" for name, body in _FILE.findall(text)}
    return found | dict(_TEXT.findall(text))


def script(steps: Sequence[Step], notes: Path, patience_s: float) -> str:
    """One shell of bash for all steps: output and exit code of step N are in N.out and N.code of the directory `notes`.

    Of a program in the background the code is the one it ended with, if it ended before all steps were done.
    """
    lines = ["set -o pipefail", "jobs_=()", *_functions(round(patience_s * 10))]
    for number, step in enumerate(steps):
        out, code = (shlex.quote(str(notes / f"{number}.{kind}")) for kind in ("out", "code"))
        if step.until_interrupted:
            lines += [
                "set -m",  # job control, so that a command in the background heeds Ctrl-C
                f"{{ {step.line}\n}} >{out} 2>&1 &",
                f"printed {out} $!",
                "kill -INT -- -$! 2>/dev/null",
                "wait $!",
                "code=$?",
                "set +m",
            ]
        else:
            lines += ["{", step.line, f"}} >{out} 2>&1", "code=$?"]
        lines.append(f"echo $code >{code}")
        if step.in_background:
            lines.append(f"jobs_+=($!:{code})")
            # A reader takes longer to type the next command than a server to listen.
            lines += [f"listens {' '.join(step.listens_at)} 2>/dev/null"] if step.listens_at else []
            lines += [f"printed {out} $!"] if step.shown else []
        lines.append("(exit $code)")
    forgotten = shlex.quote(str(notes / "forgotten"))  # what bash says of a process that the page has waited for
    lines += [
        "for job in ${jobs_[@]}; do",
        "kill ${job%%:*} 2>/dev/null && continue",
        f"wait ${{job%%:*}} 2>{forgotten}",
        f'code=$?; [ -s {forgotten} ] || echo $code >"${{job#*:}}"',
        "done",
    ]
    return "\n".join(lines)


def _functions(tries: int) -> list[str]:
    """Functions of the shell that wait for a listener, and for output of a process while it is there."""
    loop = f"for _ in {{1..{tries}}}; do"
    return [
        f"listens() {{ {loop} (exec 3<>/dev/tcp/$1/$2) && return; sleep 0.1; done; exit 1; }}",
        f"printed() {{ {loop} [ -s $1 ] || ! kill -0 $2 2>/dev/null && return; sleep 0.1; done; exit 1; }}",
    ]
