"""`loadgen agent`: this host's part in runs on many hosts."""

from __future__ import annotations

import re
from pathlib import Path

import click

from loadgen.cli import interrupts, options
from loadgen.cli.streams import EPILOG, complain

#: It becomes the name of a directory.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def _name(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is not None and not _NAME.fullmatch(text):
        raise click.BadParameter("write letters, digits, dots, hyphens and underscores, at most 63, no dot first")
    return text


@click.command(epilog=EPILOG)
@click.option(
    "--coordinator",
    metavar="tls://HOST:PORT",
    required=True,
    help="The host that runs `loadgen run --agents`; on loopback also tcp://, without certificates.",
)
@options.certificates
@click.option(
    "--name",
    metavar="NAME",
    callback=_name,
    help="Name of this agent in results (default: that of its certificate, or of this host).",
)
@options.permissions
@click.option(
    "--sources",
    metavar="ADDR,...",
    default="",
    help="Source addresses of this host where the scenario names none for it.",
)
@click.option(
    "--results",
    metavar="DIR",
    type=click.Path(file_okay=False),
    default="results",
    show_default=True,
    help="Directory in which each share makes its run directory.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(1, 65535),
    help="Port on which the coordinator reaches this agent, for firewalls (default: any that is free).",
)
@click.option("--once", is_flag=True, help="End when the coordinator goes away, and wait for no other.")
def agent(
    coordinator: str,
    certs: Path | None,
    name: str | None,
    allow: tuple[str, ...],
    authorized: bool,
    port_blocking: bool,
    sources: str,
    results: str,
    port: int | None,
    once: bool,
) -> None:
    """Take part in runs on many hosts.

    Waits for the coordinator, conducts its share of each run, and then waits for the next. What is not allowed here, no
    coordinator can ask for. Needs the extra: pip install 'loadgen[cluster]'.

    \b
    Examples:
      loadgen agent --coordinator tls://10.0.0.1:9786 --certs certs --allow 10.0.0.0/24
      loadgen agent --coordinator tcp://127.0.0.1:9786 --name a --once
    """
    import os
    import socket

    from loadgen import event_loop
    from loadgen.cluster import agent as agents
    from loadgen.cluster import calls, extra, security
    from loadgen.control import allowlist

    extra.require()
    allowlist.check("127.0.0.1", allowed=allow, authorized=authorized)  # that each --allow is a network
    files = security.of_agent(certs, name) if certs else None
    for sentence in security.check(files) if files else ():
        complain(sentence)
    named = name or (files.name if files else socket.gethostname().partition(".")[0])
    calls.permit(
        calls.AgentPermissions(
            allow, authorized, port_blocking, options.split_by_commas(sources), os.path.abspath(results)
        )
    )
    settings = agents.AgentSettings(coordinator, named, files, once, port or 0)

    async def serve() -> None:
        interrupted = agents.Interrupted()
        with interrupts.delivered_to(interrupted):
            await agents.serve(settings, complain, interrupted)

    event_loop.run(serve)
