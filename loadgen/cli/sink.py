"""`loadgen sink`: a target to connect to, well behaved or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from loadgen.cli import interrupts, options
from loadgen.cli.streams import EPILOG, complain, show

#: Behaviour toward clients: the keys of `sink` in a scenario, where they are checked.
_MANNERS = (
    click.option(
        "--speaks", metavar="echo|http|nothing", help="Echo, answer HTTP/1.1, or never answer (default: echo)."
    ),
    click.option(
        "--tls", is_flag=True, help="Speak TLS, with --certificate and --key or with a certificate made at start."
    ),
    click.option("--reset", is_flag=True, help="Reset every connection after accept()."),
    click.option("--drop", metavar="SHARE", help="Reset this share of the connections, evenly spread: 10%."),
    click.option("--delay", metavar="DURATION", help="Delay each answer: 50ms."),
    click.option("--close-after", metavar="DURATION", help="Close this long after accept(): 5s."),
    click.option(
        "--close-after-requests",
        metavar="N",
        type=int,
        help="Close after N requests; without HTTP each read counts as one.",
    ),
    click.option(
        "--read", metavar="RATE", help="Bytes to read from each connection per second: 1000/s; 0/s never reads."
    ),
    click.option("--status", metavar="N", type=int, help="Status code of HTTP answers: 503."),
    click.option("--body", metavar="BYTES", type=int, help="Body size of HTTP answers."),
)


@click.command(epilog=EPILOG)
@click.argument("addresses", metavar="ADDR:PORT...", nargs=-1, required=True)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=None,
    help="Processes that share the port (default: one per core).",
)
@options.all_of(*_MANNERS)
@click.option(
    "--certificate",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --tls: the certificate to present, PEM, with its intermediate certificates.",
)
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --certificate: its private key, unencrypted PEM.",
)
@click.option(
    "--ca-out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --tls: write the CA certificate of a certificate made at start to FILE (default: a temporary file).",
)
@options.as_json("The final counts")
@click.option("--quiet", is_flag=True, help="Print no line per second on stderr.")
def sink(
    addresses: tuple[str, ...],
    workers: int | None,
    certificate: Path | None,
    key: Path | None,
    ca_out: Path | None,
    as_json: bool,
    quiet: bool,
    **behaviour: str | int | None,
) -> None:
    """Accept, hold and echo until Ctrl-C, or misbehave on request.

    \b
    Examples:
      loadgen sink 127.0.0.1:9000
      loadgen sink 127.0.0.1:9000 [::1]:9000 --workers 6
      loadgen sink 127.0.0.1:8443 --speaks http --tls --ca-out ca.pem --body 1024
      loadgen sink 127.0.0.1:9000 --delay 50ms --drop 10%
    """
    from loadgen import event_loop
    from loadgen.control import standalone_sink
    from loadgen.scenario.units import endpoint

    try:
        endpoints = tuple(endpoint(address) for address in addresses)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    say: Callable[[str], None] = (lambda _: None) if quiet else lambda text: complain(text, "")
    flags = {name: value for name, value in behaviour.items() if value not in (None, False)}
    sink_behaviour = standalone_sink.behaviour_of(flags)

    with standalone_sink.certified(
        endpoints, sink_behaviour, certificate, key, ca_out, lambda text: complain(text, "")
    ) as certificates:

        async def serve() -> standalone_sink.Counts:
            stop = standalone_sink.Stop()
            with interrupts.delivered_to(stop):
                return await standalone_sink.serve(endpoints, workers, say, sink_behaviour, certificates, stop=stop)

        counts = event_loop.run(serve)
    show(counts, lambda _: click.echo(standalone_sink.describe(counts)), as_json=as_json)
