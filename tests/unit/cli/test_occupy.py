"""`loadgen occupy` without a kernel: what is refused before anything is looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from loadgen import errors
from loadgen.cli import main
from loadgen.cli import occupy as command
from loadgen.model import Endpoint, Transport
from loadgen.occupy import reading
from loadgen.occupy.request import OccupyRequest, OccupyWay
from loadgen.watch import netns
from tests.occupied import prospect


class GotThereError(Exception):
    """The command line was accepted."""


@pytest.fixture(autouse=True)
def _no_namespace_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(_place: int | str) -> None:
        raise GotThereError

    monkeypatch.setattr(netns, "enter", enter)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main.cli, ["occupy", "--netns", "4711", *args])


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ((), "Missing option '--leave'"),
        (("--leave", "-1"), "0<=x<=65535"),
        (("--leave", "0", "--for", "2h"), "write a duration from 1s to 1h"),
        (("--leave", "0", "--for", "10ms"), "write a duration from 1s to 1h"),
        (("--leave", "0", "--for", "soon"), "Invalid value for '--for'"),
        (("--leave", "0", "--by", "connections"), "add --target HOST:PORT"),
        (("--leave", "0", "--by", "time-wait"), "add --target HOST:PORT"),
        (("--leave", "0", "--by", "bind", "--target", "127.0.0.1:9000"), "leave out --target"),
        (("--leave", "0", "--target", "127.0.0.1:9000", "--transport", "udp"), "use --by bind"),
        (("--leave", "0", "--target", "127.0.0.1"), "write address and port"),
        (("--leave", "0", "--target", "127.0.0.1:9000-9001"), "write one port"),
        (("--leave", "0", "--source", "10.0.0.300"), "Invalid value for '--source'"),
        (("--leave", "0", "--source", "::1", "--target", "127.0.0.1:9000"), "different families"),
    ],
)
def test_what_cannot_be_meant(args: tuple[str, ...], hint: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert hint in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        (("--target", "10.0.0.7:80"), False),
        (("--target", "10.0.0.7:80", "--allow", "10.0.0.7/32"), True),
        (("--target", "192.0.2.7:80", "--allow", "192.0.2.7/32"), False),
        (("--target", "192.0.2.7:80", "--allow", "192.0.2.7/32", "--i-am-authorized"), True),
        (("--target", "169.254.169.254:80", "--allow", "169.254.169.254/32", "--i-am-authorized"), False),
        (("--target", "127.0.0.1:80"), True),
    ],
)
def test_a_target_is_checked_before_the_namespace_is_entered(flags: tuple[str, ...], *, allowed: bool) -> None:
    result = invoke("--leave", "0", "--yes", *flags)
    assert isinstance(result.exception, GotThereError if allowed else errors.UsageError)


@pytest.mark.parametrize(
    ("given", "request_"),
    [
        ({}, OccupyRequest(7, OccupyWay.BIND, 60.0)),
        ({"for_": "5m", "source": "10.0.0.5"}, OccupyRequest(7, OccupyWay.BIND, 300.0, "10.0.0.5")),
        ({"source": "::1", "transport": "udp"}, OccupyRequest(7, source="::1", transport=Transport.UDP)),
        (
            {"target": "[::1]:9000"},
            OccupyRequest(7, OccupyWay.CONNECTIONS, target=Endpoint("::1", 9000)),
        ),
        (
            {"target": "localhost:9000", "by": "time-wait", "source": "127.0.0.5"},
            OccupyRequest(7, OccupyWay.TIME_WAIT, 60.0, "127.0.0.5", Endpoint("127.0.0.1", 9000)),
        ),
    ],
)
def test_the_way_follows_from_the_options(given: dict[str, str], request_: OccupyRequest) -> None:
    options = {"source": None, "for_": "60s", "by": None, "target": None, "transport": "tcp"} | given
    assert command._request(7, **options, allowed=(), authorized=False) == request_  # type: ignore[arg-type]


def test_without_a_terminal_it_takes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(errors.UsageError, match="add --yes"):
        command._ask(prospect(), "this namespace", yes=False)
    assert "nginx[4711]: 12 outgoing connections" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_asks(monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: answer)
    if answer:
        command._ask(prospect(), "this namespace", yes=False)
        return
    with pytest.raises(errors.InterruptedRunError, match="nothing was taken"):
        command._ask(prospect(), "this namespace", yes=False)


def test_a_kernel_that_does_not_list_bound_sockets_is_not_guessed_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "lists_bound", lambda: False)
    with pytest.raises(errors.HostError, match="not here, because this kernel does not list"):
        reading.PortReader(OccupyRequest(0), "")


def test_names_of_namespaces_become_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[int | str] = []

    def enter(place: int | str) -> None:
        entered.append(place)
        raise GotThereError

    monkeypatch.setattr(netns, "enter", enter)
    for text in ("4711", "staging", "/proc/1/ns/net"):
        CliRunner().invoke(main.cli, ["occupy", "--netns", text, "--leave", "0"])
    assert entered == [4711, "/run/netns/staging", "/proc/1/ns/net"]


def test_a_request_for_time_wait_cannot_be_given_back() -> None:
    request = OccupyRequest(0, OccupyWay.TIME_WAIT, target=Endpoint("127.0.0.1", 9000))
    assert (request.can_give_back, replace(request, way=OccupyWay.CONNECTIONS).can_give_back) == (False, True)
    with pytest.raises(ValueError, match="no target"):
        assert OccupyRequest(0).destination
