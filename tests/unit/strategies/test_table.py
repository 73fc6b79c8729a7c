"""The rows of the table agree with each other, with the outcomes, and with the tables of README.md and docs."""

from __future__ import annotations

from errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Endpoint
from loadgen.outcomes import Outcome, Syscall
from loadgen.strategies import TABLE, Binding, PortScope, Strategy, StrategyRow, TimeWaitReuse, Transport
from loadgen.strategies.options import NO_PORT, PORT_RANGE, REUSEADDR, REUSEPORT

CHECKOUT = Path(__file__).parents[3]
CLIFF = {None: "flat", 0.5: "a cliff at half", 0.25: "a cliff at a quarter"}
DEFAULT = Strategy.LATE_RANGE
#: Every strategy over each transport that offers it.
OFFERED = [
    (strategy, transport)
    for transport in Transport
    for strategy, row in TABLE.items()
    if transport is Transport.TCP or row.udp
]


def test_every_strategy_has_a_row() -> None:
    assert set(TABLE) == set(Strategy)


@pytest.mark.parametrize(("strategy", "transport"), OFFERED)
def test_the_options_are_those_that_the_binding_needs(strategy: Strategy, transport: Transport) -> None:
    row, options = strategy.row, set(strategy.over(transport).options)
    late = row.binding in (Binding.ADDRESS, Binding.ONE_PORT_RANGE)
    assert (NO_PORT in options) == late
    assert (PORT_RANGE in options) == (row.binding is Binding.ONE_PORT_RANGE)
    if row.binding is Binding.NOTHING:
        assert not options


@pytest.mark.parametrize(("strategy", "transport"), OFFERED)
def test_a_strategy_ends_where_the_port_is_picked(strategy: Strategy, transport: Transport) -> None:
    """In bind() with EADDRINUSE, or in connect() with what the transport says there."""
    rules, in_connect = strategy.over(transport), {Transport.TCP: EADDRNOTAVAIL, Transport.UDP: EAGAIN}
    syscall, number = rules.ends
    assert number == (EADDRINUSE if syscall is Syscall.BIND else in_connect[transport])
    assert rules.outcome is (Outcome.NO_FREE_FOUR_TUPLE if number == EADDRNOTAVAIL else Outcome.NO_FREE_PORT), (
        "the outcomes' table has another name for it"
    )
    if not strategy.row.slices_ports:
        assert (syscall is Syscall.BIND) == (strategy.row.binding is Binding.ADDRESS_AND_PORT)


@pytest.mark.parametrize(("strategy", "transport"), OFFERED)
def test_over_udp_only_strategies_that_name_ports_share_them(strategy: Strategy, transport: Transport) -> None:
    """With an option that shares, and the kernel's own choice, two sockets would get one four-tuple."""
    rules = strategy.over(transport)
    if transport is Transport.UDP:
        shares = bool({REUSEADDR, REUSEPORT} & set(rules.options))
        assert shares == rules.shares_ports
        assert strategy.row.names_ports or not shares


@pytest.mark.parametrize("strategy", TABLE)
def test_a_strategy_that_ends_in_bind_or_names_ports_takes_the_port_in_bind(strategy: Strategy) -> None:
    ends_in_bind = strategy.row.tcp.ends[0] is Syscall.BIND
    assert strategy.row.binds_port == (ends_in_bind or strategy.row.names_ports)


@pytest.mark.parametrize("strategy", [strategy for strategy, row in TABLE.items() if row.udp is None])
def test_a_strategy_that_udp_does_not_offer_says_why(strategy: Strategy) -> None:
    with pytest.raises(ValueError, match=strategy.row.udp_refusal):
        strategy.over(Transport.UDP)


@pytest.mark.parametrize(("strategy", "row"), TABLE.items())
def test_time_wait_leaves_a_port_to_those_that_share_it(strategy: Strategy, row: StrategyRow) -> None:
    """What a socket holds alone, it holds through TIME-WAIT, too."""
    assert (row.time_wait in (TimeWaitReuse.AT_ONCE, TimeWaitReuse.TW_REUSE)) == row.tcp.shares_ports, strategy
    assert (row.time_wait is TimeWaitReuse.AT_ONCE) == (row.names_ports and row.tcp.shares_ports)


@pytest.mark.parametrize("row", TABLE.values())
def test_a_strategy_is_replaced_by_an_older_one(row: StrategyRow) -> None:
    """On a kernel without one of its options; the other does the same with fewer."""
    if row.instead:
        other = row.instead.row
        assert set(other.tcp.options) < set(row.tcp.options)
        assert (other.tcp.scope, other.tcp.ends, other.time_wait) == (row.tcp.scope, row.tcp.ends, row.time_wait)


ADDRESSES = st.lists(st.sampled_from([f"127.0.0.{host}" for host in range(1, 6)]), unique=True, min_size=1)


@given(ADDRESSES, st.integers(1, 4))
def test_spaces_are_pairs_or_sources_or_the_host(sources: list[str], targets: int) -> None:
    pairs = [(source, Endpoint("127.0.0.9", 9000 + target)) for target in range(targets) for source in sources]
    spaces = {scope: scope.spaces(pairs) for scope in PortScope}
    assert spaces == {
        PortScope.PAIR: len(sources) * targets,
        PortScope.SOURCE: len(sources),
        PortScope.HOST: 1,
    }


# --- The tables for readers -----------------------------------------------------------------------


def name_of(strategy: Strategy, link: str) -> str:
    text = f"[`{strategy}`]({link}#{strategy})" if link else f"`{strategy}`"
    return f"{text} (default)" if strategy is DEFAULT else text


def lines(rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


def of_readme() -> list[str]:
    return lines(
        [
            [
                name_of(strategy, "docs/strategies.md"),
                row.summary,
                f"N per {row.tcp.scope.value}",
                f"{row.tcp.ends_text}; {CLIFF[row.tcp.cliff_at]}",
            ]
            for strategy, row in TABLE.items()
        ]
    )


def of_tcp() -> list[str]:
    return lines(
        [
            [
                name_of(strategy, ""),
                row.calls(row.tcp),
                f"N per {row.tcp.scope.value}",
                row.tcp.ends_text,
                CLIFF[row.tcp.cliff_at],
                row.since or "any",
            ]
            for strategy, row in TABLE.items()
        ]
    )


def of_udp() -> list[str]:
    return lines(
        [
            [name_of(strategy, ""), row.calls(row.udp), f"N per {row.udp.scope.value}", row.udp.ends_text]
            if row.udp
            else [name_of(strategy, ""), "", "refused", ""]
            for strategy, row in TABLE.items()
        ]
    )


@pytest.mark.parametrize(
    ("page", "table"),
    [("README.md", of_readme()), ("docs/strategies.md", of_tcp()), ("docs/strategies.md", of_udp())],
    ids=["README", "TCP", "UDP"],
)
def test_readers_see_the_table(page: str, table: list[str]) -> None:
    """Write the lines of a failure's message into the page."""
    assert "\n".join(table) in (CHECKOUT / page).read_text(), "\n".join(table)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_has_a_section(strategy: Strategy) -> None:
    """The calls it names are those of the row."""
    page = (CHECKOUT / "docs/strategies.md").read_text()
    section = page.partition(f"\n## `{strategy}`\n")[2].partition("\n## ")[0]
    for option in strategy.row.tcp.options:
        assert f"setsockopt({option.name}" in section
    assert strategy.row.binding.call in section
