"""The sockets that have a port, and whether a service could listen on it, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from loadgen.format import count, visible
from loadgen.model import Endpoint
from loadgen.strategies import Transport

if TYPE_CHECKING:
    from rich.console import Console

    from loadgen.watch.holders import ListenTrial, PortAnswer, PortHolder

_SHOWN: Final = 10


def render(answers: Sequence[PortAnswer], console: Console) -> None:
    """Print the answers, one block each."""
    for number, answer in enumerate(answers):
        console.print(
            *([""] if number else []), *lines(answer), sep="\n", highlight=False, markup=False, soft_wrap=True
        )


def lines(answer: PortAnswer) -> Iterator[str]:
    """Yield the lines about one port."""
    yield f"port {answer.port}: {_held(answer)}; {_place(answer)}"
    for holder in answer.holders[:_SHOWN]:
        yield f"  {_holder(holder)}"
    if answer.holder_count > _SHOWN:
        yield f"  and {count(answer.holder_count - min(_SHOWN, len(answer.holders)))} more"
    if answer.bound_unknown:
        yield f"  bound, unconnected sockets: unknown, {answer.bound_unknown}"
    for transport in Transport:
        trials = [one for one in answer.trials if one.transport is transport]
        if trials:
            yield f"  a {transport.upper()} service {_could(trials)}"
    if answer.in_range and not answer.reserved:
        yield f"  keep it out of automatic choice from now on: {answer.reserve}"


def _held(answer: PortAnswer) -> str:
    if not answer.holder_count:
        return "taken, by a socket that the kernel does not list" if answer.taken else "free"
    return f"{count(answer.holder_count)} socket{'s' * (answer.holder_count != 1)}"


def _place(answer: PortAnswer) -> str:
    inside = f"{'in' if answer.in_range else 'outside'} ip_local_port_range {answer.ports.low}-{answer.ports.high}"
    if answer.reserved:
        return f"{inside}, reserved (ip_local_reserved_ports)"
    return f"{inside}, not reserved: an outgoing connection may get it" if answer.in_range else inside


def _holder(holder: PortHolder) -> str:
    words = [f"{holder.transport.upper():<4}{holder.state:<12}{holder.source}"]
    if holder.destination:
        words.append(f"to {Endpoint(holder.destination, holder.destination_port)}")
    if holder.pid:
        words.append(f"of {visible(holder.command) or '?'}[{holder.pid}]")
    elif holder.unknown:
        words.append(f"of a process that is unknown ({holder.unknown})")
    else:
        words.append("of no process")
    return " ".join(words)


def _could(trials: Sequence[ListenTrial]) -> str:
    """Return whether a service could listen: on which addresses, and with SO_REUSEADDR or without."""
    addresses: dict[str, list[str]] = {}
    for address in dict.fromkeys(one.address for one in trials):
        addresses.setdefault(_answer([one for one in trials if one.address == address]), []).append(address)
    return ", ".join(answer.format(" or ".join(found)) for answer, found in addresses.items())


def _answer(of_address: Sequence[ListenTrial]) -> str:
    """Return the answer for one address, with a place for its name."""
    plain, *with_reuse = of_address
    if not plain.refused:
        return "could listen on {} now"
    if with_reuse and not with_reuse[0].refused:
        return f"could listen on {{}} only with SO_REUSEADDR ({plain.refused} without it)"
    return f"could not listen on {{}} now: {plain.refused}{', with SO_REUSEADDR as well' if with_reuse else ''}"
