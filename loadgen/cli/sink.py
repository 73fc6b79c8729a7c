"""`loadgen sink`: a target of one's own, well behaved or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from loadgen.cli import options
from loadgen.cli.streams import EPILOG, complain, show

#: How a sink treats its clients: the keys of `sink` in a scenario, which has the checks too.
_MANNERS = (
    click.option(
        "--speaks", metavar="echo|http|nothing", help="Send back what comes, answer HTTP/1.1, or never answer."
    ),
    click.option("--tls", is_flag=True, help="Speak TLS, with --certificate and --key or with one made now."),
    click.option("--reset", is_flag=True, help="Reset every connection that was accepted."),
    click.option("--drop", metavar="SHARE", help="Reset this share of the connections, evenly spread: 10%."),
    click.option("--delay", metavar="DURATION", help="Let each answer wait: 50ms."),
    click.option("--close-after", metavar="DURATION", help="Close so long after accept(): 5s."),
    click.option(
        "--close-after-requests", metavar="N", type=int, help="Close after N requests; without HTTP a read is one."
    ),
    click.option("--read", metavar="RATE", help="Bytes to read of each connection: 1000/s; 0/s never reads."),
    click.option("--status", metavar="N", type=int, help="Status of the answers in HTTP: 503."),
    click.option("--body", metavar="BYTES", type=int, help="Size of the answers in HTTP."),
)


@click.command(epilog=EPILOG)
@click.argument("addresses", metavar="ADDR:PORT...", nargs=-1, required=True)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=None,
    help="Processes that share the port; by default one per core.",
)
@options.all_of(*_MANNERS)
@click.option(
    "--certificate",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --tls: the certificate to show, PEM, and those between it and its authority.",
)
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --certificate: its private key, PEM, not encrypted.",
)
@click.option(
    "--ca-out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --tls: where to write the authority of the certificate that is made; else a file for the time being.",
)
@options.as_json("The final counts")
@click.option("--quiet", is_flag=True, help="No line per second on stderr.")
def sink(
    addresses: tuple[str, ...],
    workers: int | None,
    certificate: Path | None,
    key: Path | None,
    ca_out: Path | None,
    as_json: bool,
    quiet: bool,
    **manners: str | int | None,
) -> None:
    """Listen, accept in batches, hold and echo, until Ctrl-C; or misbehave on request.

    \b
    Examples:
      loadgen sink 127.0.0.1:9000
      loadgen sink 127.0.0.1:9000 [::1]:9000 --workers 6
      loadgen sink 127.0.0.1:8443 --speaks http --tls --ca-out ca.pem --body 1024
      loadgen sink 127.0.0.1:9000 --delay 50ms --drop 10%
    """
    import uvloop

    from loadgen.control import standalone_sink
    from loadgen.scenario.units import endpoint

    try:
        endpoints = tuple(endpoint(address) for address in addresses)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    say: Callable[[str], None] = (lambda _: None) if quiet else lambda text: complain(text, "")
    told = standalone_sink.manners_of({name: value for name, value in manners.items() if value not in (None, False)})
    with standalone_sink.certified(
        endpoints, told, certificate, key, ca_out, lambda text: complain(text, "")
    ) as certificates:
        counts = uvloop.run(standalone_sink.serve(endpoints, workers, say, told, certificates))
    show(counts, lambda _: click.echo(standalone_sink.describe(counts)), as_json=as_json)
