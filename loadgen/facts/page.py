"""docs/facts.md, made from the facts: `python -m loadgen.facts.page > docs/facts.md`, as `make schemas` does."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from loadgen import facts
from loadgen.facts.base import Fact
from loadgen.facts.comparison import FactRelation
from loadgen.facts.kernels import CHANGES, KernelChange
from loadgen.facts.sections import SECTIONS

_WIDTH: Final = 119
_HEAD: Final = """\
# How Linux picks source ports: the facts

`loadgen facts` tries each of these on the kernel it runs on, in some ten seconds, and prints the expected result
beside the observed one. Every experiment has a network namespace of its own with a few ports, so the network of the
host is not changed. No privilege is needed except for 2.10 and 2.17, which take a second user, and 14.5, which loads
BPF programs. What follows from the facts for the choice of a port is in [strategies.md](strategies.md), and for
connections that open and close all the time in [timewait.md](timewait.md).

```
loadgen facts                      all of them, as a table
loadgen facts --only 5             one section
loadgen facts --only 5.6 --json    one fact, as JSON
loadgen facts --compare A.json B.json
```

"Differs" is no error: the expectations are those of Linux 6.18, and the column "since" names the first kernel that
did it ("any": no kernel in use is known to do otherwise). That column comes from manual pages and commit messages,
and was not tried on each of those kernels; on yours, the observed result is the truth. The exit code is 0 if all
experiments could be made, and 4 if some could not; the reason is on stderr, and in the JSON. 2.12,
2.13 and 5.15 were so before Linux 6.1, too, which broke them for a few releases.

Unless a fact says otherwise, automatic choice has the hundred ports 40000 to 40099, and everything is on 127.0.0.1.
"late" is a bind() with IP_BIND_ADDRESS_NO_PORT, "explicit" one with a port number. Events are those of epoll, OUT
for EPOLLOUT. The column "source" says where the behaviour is tested or written: paths are those of the Linux source,
a number of twelve hexadecimal digits is one of its commits, ip-sysctl.rst and the like are in
Documentation/networking.

This page is made from the facts in the code; `make schemas` writes it.
"""
_COMPARE: Final = """\
## Two kernels beside each other

```console title="not run: needs two kernels"
$ loadgen facts --json > 6.1.json          # on one host
$ loadgen facts --json > 6.18.json         # on the other
$ loadgen facts --compare 6.1.json 6.18.json
```

prints the facts of which another result was seen, those that ran or exist on one side only, and for facts that
measure a cost how much it is of the first one's; costs depend on the machine as well as on the kernel. `--json`
prints one object, `"schema": "loadgen.facts-compare/1"`:

| key | meaning |
|---|---|
| `a`, `b` | `file`, `kernel`, `started_at` |
| `facts` | every number of both, in order |
| `facts[].number`, `title` | as in the files, the title from B |
| `facts[].relation` | RELATIONS |
| `facts[].a`, `b` | `verdict`, `seen`, `reason`, `since`, `source`, `cost_ns`; null where the side lacks the fact |
| `facts[].cost_what`, `cost_ratio` | unit of the cost; cost of B as a multiple of A's, null without two costs |
| `summary` | the number of facts of each relation |

The exit code is 0 whatever differs, and 2 for a file that is missing, or not of `loadgen facts --json`. The schema of
those files is [facts.schema.json](schema/facts.schema.json); `loadgen schema facts` prints it.
"""
_KERNELS: Final = """\
## From kernel to kernel

Changes from 4.2 on that a program with many connections notices. Stable kernels have some of them earlier.

| since | what changed | what it means for you | facts | source |
|---|---|---|---|---|
"""
_COLUMNS: Final = (
    "| fact | what the kernel does | expected | since | what it means for you | source |\n|---|---|---|---|---|---|\n"
)


def page() -> str:
    """Return the text of docs/facts.md."""
    known = facts.all_facts()
    parts = [_HEAD]
    for section in SECTIONS:
        prose = textwrap.fill(section.prose, _WIDTH, break_on_hyphens=False, break_long_words=False)
        rows = _table(fact_row(fact) for fact in known if fact.order[0] == section.number)
        parts.append(f"## {section.number} {section.title}\n\n{prose}\n\n{_COLUMNS}{rows}")
    parts += [_KERNELS + _table(map(change_row, CHANGES)), _COMPARE.replace("RELATIONS", ", ".join(FactRelation))]
    return "\n".join(parts)


def _table(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def fact_row(fact: Fact) -> str:
    """Return the row of a fact."""
    return _row((fact.number, fact.title, fact.expected, fact.since or "any", fact.meaning, fact.source))


def change_row(change: KernelChange) -> str:
    """Return the row of a change of the kernel."""
    return _row((change.version, change.what, change.meaning, ", ".join(change.facts), change.source))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_escaped(cells))} |"


def _escaped(cells: Iterable[str]) -> Iterator[str]:
    return (cell.replace("|", "\\|") for cell in cells)


if __name__ == "__main__":
    sys.stdout.write(page())
