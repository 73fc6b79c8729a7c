"""Readers of scenarios and of what is written on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from loadgen.compare.regression import CompareCondition
from loadgen.errors import ScenarioError, UsageError
from loadgen.explain.conditions import ExplainCondition
from loadgen.protocols.payload import escaped, unescaped
from loadgen.scenario import parse_cells, units
from loadgen.scenario.expect import Expectation
from loadgen.views.dashboard.address import EXPORTER, listen_at
from loadgen.watch.conditions import WatchCondition
from tests.fuzz.reader import Reader

_ROOT: Final = Path(__file__).parents[3]
_SMALL: Final = 'name: a\nsources: {addresses: 127.0.0.2}\ntargets: [{address: "127.0.0.1:9000"}]\nconnections: 9\n'


def _scenarios() -> Sequence[bytes]:
    files = [*(_ROOT / "scenarios").glob("*.yaml"), *(_ROOT / "tests/data/runs").glob("*/scenario.yaml")]
    return [_SMALL.encode(), *(file.read_bytes() for file in sorted(files))]


def _check(error: ScenarioError) -> None:
    """A message is for a terminal: a line for each mistake, without control characters."""
    if not all(line.isprintable() for line in str(error).split("\n")):
        raise AssertionError(f"control characters in a message: {error!r}") from error


def _scenario(data: bytes) -> object:
    try:
        return parse_cells(data, "s.yaml")
    except ScenarioError as error:
        _check(error)
        if any(mistake.file != "s.yaml" or mistake.line < 1 for mistake in error.mistakes):
            raise AssertionError(f"a mistake without its place: {error}") from error
        raise


def _as_argument(data: bytes) -> str:
    """Return bytes of a command line as Python has them (PEP 383); there is no NUL in one."""
    return data.replace(b"\0", b"").decode("utf-8", "surrogateescape")


def _overrides(data: bytes) -> object:
    try:
        return parse_cells(_SMALL, "s.yaml", _as_argument(data).split("\n"))
    except ScenarioError as error:
        _check(error)
        raise


_SETTINGS: Final = (
    b"connections=1000",
    b"targets.0.address=127.0.0.1:80\nname=x",
    b"lab.sysctls.net.ipv4.ip_local_port_range=1024 65535",
    b"lab={}\nmatrix.sources.strategy=[late, explicit]\nrepeat=2",
    b'sources.addresses=["::1", 127.0.0.2-4, 127.1.0.0/24]',
    b"arrival={rate: 20000/s, ramp: 5s}\nhold=1m30s",
    b"arrival.stages=[{duration: 1s, rate: 10/s}]",
    b"expect=[outcomes.failed == 0, latency_us.connect.p99 <= 5ms]",
    b"traffic=http\nhttp.path=/x\nhttp.headers.Host=a",
    b"tls={verify: false, alpn: [h2]}\nheartbeat={every: 5s}\nchurn={lifetime: 1s}\nprobes={count: 2}",
    b"targets.0.sink={delay: 1s, body: 9}\nclose=rst\nengine=io_uring",
)


def _text_reader(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(_as_argument(data))


def _unescaped(data: bytes) -> object:
    result = unescaped(data.decode("utf-8", "replace"))
    assert unescaped(escaped(result)) == result, "no round trip"
    return result


_VALUES: Final[tuple[Callable[[str], object], ...]] = (
    units.endpoint,
    units.listening_endpoint,
    units.destination,
    units.host_name,
    units.block,
    units.duration_s,
    units.rate_per_s,
    units.share,
    units.port_range,
)


def _units(data: bytes) -> object:
    """Give one text to all that read values of a scenario; each reads it or refuses it."""
    text = data.decode("utf-8", "replace")
    for one in _VALUES:
        try:
            one(text)
        except ValueError as error:
            if not str(error):
                raise AssertionError(f"{one} refuses without a word") from error
    return None


READERS: Final = (
    Reader("scenario", _scenario, _scenarios, (ScenarioError,), bytes_per_byte=3_000, tries=80),
    Reader("set", _overrides, lambda: _SETTINGS, (ScenarioError,), bytes_per_byte=3_000, tries=80),
    Reader(
        "expectation",
        _text_reader(Expectation.parse),
        lambda: (b"outcomes.failed == 0", b"latency_us.connect.p99 <= 5ms", b"cells.0.outcomes.established > 1_000"),
        (ValueError,),
    ),
    Reader(
        "explain --fail-if",
        _text_reader(ExplainCondition.parse),
        lambda: (b"used > 80%", b"limit == four-tuples", b"findings > 0"),
        (ValueError,),
    ),
    Reader(
        "watch --fail-if",
        _text_reader(WatchCondition.parse),
        lambda: (b"used > 80%", b"free < 1000", b"exhausts_in < 60s"),
        (ValueError,),
    ),
    Reader(
        "compare --fail-if",
        _text_reader(CompareCondition.parse),
        lambda: (b"worse", b"worse: rate_per_s", b"connect_p99_us > 10%", b"failed > 0"),
        (ValueError,),
    ),
    Reader(
        "place to listen",
        _text_reader(lambda text: (listen_at(text, public=True), listen_at(text, public=False, option=EXPORTER))),
        lambda: (b"127.0.0.1:8080", b"[::1]:0", b"localhost:1", b":8080", b"0.0.0.0:80", b"[::]:80"),
        (UsageError,),
    ),
    Reader("payload text", _unescaped, lambda: (rb"PING\r\n", rb"\x00\t\\\0", b"caf\xc3\xa9"), (ValueError,)),
    Reader(
        "values",
        _units,
        lambda: (b"127.0.0.1:80", b"[fe80::1%eth0]:80", b"127.0.0.2-4", b"10.0.0.0/24", b"1m30s", b"250ms", b"10k/s"),
    ),
)
