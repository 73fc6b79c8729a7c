"""Messages of client tools and databases, one row each.

Sources: captured of curl 7.88, ApacheBench 2.3, wrk 4.1, siege 4.0, redis-cli 7.0, psql 15, MariaDB 10.11; of others
their sources and public reports. k6, hey and vegeta print messages of Go.
"""

from __future__ import annotations

from typing import Final

from loadgen.explain.formats.logs.row import (
    BIND,
    CALL,
    CONNECT,
    DIALING,
    FROM,
    HOST,
    NONE,
    REGISTER,
    SOCKET,
    TO,
    WAIT,
    E,
    MessageRow,
    row,
)

CURL: Final = (
    row(
        "curl",
        "connect timeout after",
        r"\* ipv[46] connect timeout after \d{1,9} ?ms",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row(
        "curl",
        "* closing connection|*   trying|* local port: |* name '",
        r"^\*   Trying \S+|^\* (?:Closing connection|Local port: \d|Name ')",
        told=False,
    ),
    row(
        "curl",
        "immediate connect fail",
        rf"Immediate connect fail for (?P<target>{HOST}): {E}",
        CONNECT,
        listening=False,
    ),
    row("curl", "bind failed with errno", rf"bind failed with errno (?P<number>\d{{1,3}}): {E}", BIND, listening=False),
    row(
        "curl",
        "bind to '",
        rf"(?:Couldn't|Could not) bind to '(?P<source>{HOST})'(?: with errno (?P<number>\d{{1,3}}): {E})?",
        BIND,
        listening=False,
        bare=True,
    ),
    row(
        "curl",
        "failed to connect to",
        rf"Failed to connect to (?P<target>{HOST}) port (?P<port>\d{{1,5}})(?: after \d{{1,9}} ms)?: Failed binding",
        BIND,
        listening=False,
    ),
    row(
        "curl",
        " port ",
        rf"connect to (?P<target>{HOST}) port (?P<port>\d{{1,5}}) (?:from {HOST} port \d{{1,5}} )?failed: {E}",
        CONNECT,
        listening=False,
    ),
    row(
        "curl",
        "failed to connect to",
        rf"Failed to connect to (?P<target>{HOST}) port (?P<port>\d{{1,5}})(?: after \d{{1,9}} ms)?: "
        r"Timeout was reached",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row(
        "curl",
        "failed to connect to",
        rf"Failed to connect to (?P<target>{HOST}) port (?P<port>\d{{1,5}})(?: after \d{{1,9}} ms)?: "
        r"Connection timed out",
        frozenset((*CONNECT, *WAIT)),  # its own timer or the kernel's
        errno="ETIMEDOUT",
        listening=False,
    ),
    row(
        "curl",
        "failed to connect to",
        rf"Failed to connect to (?P<target>{HOST}) port (?P<port>\d{{1,5}})(?: after \d{{1,9}} ms)?: "
        rf"(?:{E}|Could(?:n't| not) connect to server)",
        CONNECT,
        listening=False,
        bare=True,
    ),
    row(
        "curl",
        "curl: (28)",
        r"curl: \(28\) (?:Connection time(?:d )?-?out|connect\(\) timed out|Failed to connect)",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("curl", "curl: (28)", r"curl: \(28\) (?:Operation|SSL connection) time", told=False),
    row("curl", "curl: (7)", r"curl: \(7\) Could(?:n't| not) connect to server", CONNECT, listening=False),
)

LOAD: Final = (
    row("siege", "read error ", rf"socket: (?P<call>read) error {E} sock\.c", listening=False),
    row("ab", "apr_socket_connect", rf"apr_socket_connect\(\): {E} \(\d{{1,3}}\)", CONNECT, listening=False),
    row("ab", "apr_socket_recv", rf"apr_socket_(?P<call>recv)(?:\(\))?: {E} \(\d{{1,3}}\)", listening=False),
    row("ab", "socket: ", rf"^socket: {E} \(\d{{1,3}}\)", SOCKET, listening=False),
    row("ab", "apr_pollset_poll", r"apr_pollset_poll: The timeout specified has expired", told=False),
    row(
        "wrk",
        "unable to connect to",
        rf"unable to connect to (?P<target>{HOST}):(?:(?P<port>\d{{1,5}})|\w{{1,20}}) {E}",
        CONNECT,
        listening=False,
    ),
    row("wrk", "socket errors:", r"Socket errors: connect [1-9]\d{0,12}, read", CONNECT, listening=False),
    row("wrk", "socket errors:", r"Socket errors: connect 0, read", told=False),
    row(
        "siege",
        "address is unavailable",
        rf"socket: -?\d{{1,12}} address is unavailable\.: {E}",
        CONNECT,
        listening=False,
    ),
    row(
        "siege",
        "sock.c:",
        rf"(?:unable to connect|connection refused|connection timed out|no route)[^:]{{0,40}}sock\.c:\d{{1,5}}: {E}",
        CONNECT,
        listening=False,
    ),
    row("siege", "[error] ", rf"\[error\] (?:socket|descriptor table full)[:\s].{{0,120}}: {E}"),
)

DATABASES: Final = (
    # 115, EINPROGRESS: connect() did not wait, and what it ended with is not said.
    row(
        "mysql",
        "(115)",
        rf"Can't connect to (?:MySQL |MariaDB )?server on '(?:{TO}|(?P<target2>{HOST}))' \(115\)",
        CONNECT,
        listening=False,
    ),
    row(
        "libpq",
        "connection to server at",
        rf"connection to server at \"(?P<target>[^\"]{{1,253}})\"(?: \([^)]{{1,80}}\))?, port "
        rf"(?P<port>\d{{1,5}}) failed: {E}",
        DIALING,
        listening=False,
    ),
    row(
        "libpq",
        "connection to server at",
        r"connection to server at \"(?P<target>[^\"]{1,253})\"(?: \([^)]{1,80}\))?, port "
        r"(?P<port>\d{1,5}) failed: timeout expired",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("libpq", "could not connect to server", rf"could not connect to server: {E}", DIALING, listening=False),
    row(
        "mysql",
        "can't connect to",
        rf"Can't connect to (?:MySQL |MariaDB )?server on '(?:{TO}|(?P<target2>{HOST}))' \((?:\[Errno "
        rf")?(?P<number>\d{{1,3}})(?:\]? \"?{E})?",
        DIALING,
        listening=False,
        bare=True,
    ),
    row(
        "postgres",
        "could not bind ",
        rf"could not (?:bind|listen on) IPv[46] (?:address|socket)(?: \"(?P<source>{HOST})\")?: {E}",
        BIND,
        listening=True,
    ),
    row("mysql", "bind on tcp/ip port", rf"Bind on TCP/IP port[:.] {E}", BIND, listening=True),
    row("mysql", "too many connections", r"ERROR (?:1040|08004)\b[^:]{0,20}: Too many connections", NONE),
    row(
        "redis-cli", "could not connect to redis", rf"Could not connect to Redis at {TO}: {E}", DIALING, listening=False
    ),
    row(
        "redis",
        "tcp listening socket",
        rf"Could not create server TCP listening socket (?P<source>[\w.:*\[\]-]{{1,80}}?):"
        rf"(?P<sport>\d{{1,5}}): (?:bind: )?{E}",
        BIND,
        listening=True,
    ),
    row("redis", "max number of clients", r"max number of clients reached", NONE),
)

#: Any program that writes as perror(3) does: "connect: Cannot assign requested address", "bind() failed (98): ...".
ANY: Final = (
    row(
        "",
        "bind",
        rf"\bbind(?:ing)?(?: [\w-]{{1,20}}){{0,4}} (?:to|on)(?: address)? ['\"(]?(?:{FROM}|(?P<source2>{HOST}))['\")]?"
        rf"(?: failed)?:? (?:\(\d{{1,3}}\) ?)?{E}",
        BIND,
    ),
    # Words alone mean a disk that is full; only this call means watches.
    row(
        "",
        "epoll_ctl|epollctl|epoll ctl",
        r"\bepoll[_ ]?ctl\b.{0,300}?(?:\(28[:)]|ENOSPC|no space left on device)",
        REGISTER,
        errno="ENOSPC",
        bare=True,
    ),
    row("", " = -1 ", rf"\b{CALL}\(\d.{{0,400}}\) = -1 {E}"),
    row(
        "",
        "connect|bind|listen|socket|accept",
        rf"(?<!to )(?<!not )(?<!n't )(?<!cannot )\b{CALL}(?:\(\d?\)|\([^()]{{0,200}}\))?(?: call)?(?: "
        rf"to (?:{TO}|\S{{1,253}}))?(?: (?:failed|error))?(?: with err(?:no|or))?[:,]? (?:\(?(?:errno[ "
        rf"=:]{{0,2}})?\d{{1,3}}\)?[:,]? ?)?[\"'(\[]?{E}",
    ),
    row(
        "",
        "errno",
        rf"\b{CALL}\([^()]{{0,200}}\)(?: failed)?[:,]? (?:with )?\(?errno[ =:]{{1,3}}(?P<number>\d{{1,3}})\b",
    ),
)

ROWS: Final[tuple[MessageRow, ...]] = (*CURL, *LOAD, *DATABASES)
