"""The table of strategies: one row for each way to choose the source port of a new four-tuple.

options   socket options that a strategy sets before bind(), with their numbers
table     the rows, and the types of their columns

Both engines, the plan, the verdict and its remedies, and the tables of README.md and docs/strategies.md read a
strategy here; a new one is a new row. Nothing here opens a socket.
"""

from loadgen.strategies.table import (
    TABLE,
    Binding,
    PortScope,
    Strategy,
    StrategyRow,
    TimeWaitReuse,
    Transport,
    TransportRules,
)

__all__ = [
    "TABLE",
    "Binding",
    "PortScope",
    "Strategy",
    "StrategyRow",
    "TimeWaitReuse",
    "Transport",
    "TransportRules",
]
