"""`loadgen cluster`: certificates for many hosts, and a look at their agents before a run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli import interrupts, options
from loadgen.cli.streams import EPILOG, complain, reader_may_leave, show
from loadgen.errors import ExitCode, InterruptedRunError


@click.group(epilog=EPILOG)
def cluster() -> None:
    """Prepare runs on many hosts: certificates, and a check.

    Checking needs the extra: pip install 'loadgen[cluster]'.

    \b
    Examples:
      loadgen cluster certs --out certs --hosts a,b,c
      loadgen cluster check --agents 3 --listen 10.0.0.1:9786 --certs certs
    """


@cluster.command(epilog=EPILOG)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the files, made if there is none; only its owner may look into it.",
)
@click.option("--hosts", metavar="HOST,...", required=True, help="Names or addresses of the hosts of agents.")
def certs(out: Path, hosts: str) -> None:
    """Write an authority, and a certificate with its key for each host and for the coordinator.

    Where DIR has an authority with its key, that one signs the further hosts. No file is written anew. Each agent gets
    ca.pem, HOST.pem and HOST-key.pem; ca-key.pem stays here.

    \b
    Examples:
      loadgen cluster certs --out certs --hosts a,b,c
      loadgen cluster certs --out certs --hosts 10.0.0.4     # one more, of the same authority
    """
    from loadgen.cluster import certificates

    written = certificates.write(out, options.split_by_commas(hosts))
    with reader_may_leave():
        for path in written:
            click.echo(path)


@cluster.command(epilog=EPILOG)
@click.option(
    "--agents", metavar="N", type=click.IntRange(1, 10_000), required=True, help="Number of agents to wait for."
)
@options.all_of(*options.reached)
@options.as_json("The table")
def check(agents: int, listen: str | None, certs: Path | None, dask: str | None, wait: str, as_json: bool) -> None:
    """Show what would stop a run on these agents, and the remedy of each problem.

    Each agent is asked for its versions, its clock, its kernel, its capacity and what it allows. Exit code 3 says that
    there are problems.

    \b
    Examples:
      loadgen cluster check --agents 3 --listen 10.0.0.1:9786 --certs certs
      loadgen cluster check --agents 20 --dask tls://scheduler:8786 --certs certs --json
    """
    import asyncio

    from loadgen import event_loop
    from loadgen.cluster import check as preflight
    from loadgen.cluster import extra

    extra.require()
    wait_s = options.wait_s(wait)
    place = preflight.place_of(listen, dask)

    async def look() -> preflight.Preflight:
        looking = asyncio.ensure_future(preflight.take(place, agents, certs, wait_s, complain))

        def stop() -> None:
            looking.cancel()

        with interrupts.delivered_to(stop):
            try:
                return await looking
            except asyncio.CancelledError:
                raise InterruptedRunError("interrupted") from None

    found = event_loop.run(look)
    show(found.to_json(), lambda console: preflight.render(found, console), as_json=as_json)
    if found.problems:
        sys.exit(ExitCode.HOST)
