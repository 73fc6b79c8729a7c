"""The source address of a run that names none: of the route to each address of the target. No network."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Sequence

import pytest

from loadgen.control import name_resolution, route_source
from loadgen.errors import HostError, UsageError
from loadgen.kernel import route
from loadgen.kernel.route import Route
from loadgen.results.schema.matrix_plan import ResolvedName

ROUTES = {
    "10.0.0.7": Route("unicast", device="eth0", source="10.0.0.2"),
    "10.0.0.8": Route("unicast", device="eth0", source="10.0.0.2"),
    "10.9.0.1": Route("unicast", device="eth1", source="10.9.0.2"),
    "fd00::7": Route("", reason="Network is unreachable"),
}


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes and names of a made-up host."""

    async def look_up(names: Iterable[str]) -> dict[str, ResolvedName]:
        assert list(names) == ["web.internal"]
        addresses = ("fd00::7", "10.0.0.7", "10.0.0.8", "10.9.0.1", "fe80::1%eth0")
        return {"web.internal": ResolvedName(addresses=addresses, resolved_at="2026-01-31T12:00:00Z")}

    monkeypatch.setattr(name_resolution, "look_up", look_up)
    monkeypatch.setattr(route, "to", lambda addresses: [ROUTES[address] for address in addresses])


def picked(target: str) -> tuple[str, ...]:
    return asyncio.run(route_source.picked(target))


def test_it_is_the_source_of_the_route() -> None:
    assert picked("10.0.0.7:443") == ("10.0.0.2",)


def test_a_name_has_one_for_each_way_that_leads_to_it() -> None:
    assert picked("web.internal:443") == ("10.0.0.2", "10.9.0.2")


def test_without_a_route_it_says_why() -> None:
    with pytest.raises(HostError, match=r"no source address leads to \[fd00::7\]:443 .*Network is unreachable"):
        picked("[fd00::7]:443")


def test_a_link_is_not_chosen() -> None:
    with pytest.raises(UsageError, match="--from: routing does not choose"):
        picked("[fe80::1%eth0]:443")


def test_a_kernel_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_addresses: Sequence[str]) -> list[Route]:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(route, "to", refuse)
    with pytest.raises(HostError, match=r"Operation not permitted.*add --from ADDRESS"):
        picked("10.0.0.7:443")
