"""Messages of servers and proxies, one row each.

Sources: captured of nginx 1.22, HAProxy 2.6, PgBouncer 1.18, Squid 5.7, Apache httpd 2.4, Varnish 7.1; of Envoy its
source (source/common/network/connection_impl.cc), of HAProxy src/proto_tcp.c.
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
    OPENING,
    SOCKET,
    TO,
    TO2,
    WAIT,
    E,
    MessageRow,
    row,
)

_UPSTREAM: Final = rf'(?:.{{0,2000}}?upstream: "(?:\w{{1,12}}://)?{TO2})?'

NGINX: Final = (
    # "upstream timed out" is nginx's own timer; the kernel's is "connect() failed (110: ...)".
    row(
        "nginx",
        "timed out (",
        rf"upstream timed out \(110: [^)]{{1,60}}\) while connecting to upstream{_UPSTREAM}",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("nginx", "timed out (", r"upstream timed out \(110: [^)]{1,60}\) while (?!connecting)", told=False),
    row(
        "nginx",
        "failed (",
        rf"\bbind\(\) to (?:{FROM}|(?P<target>unix):)\S* failed \((?P<number>\d{{1,3}}): [^)]{{1,60}}\)",
        BIND,
        listening=True,
    ),
    row(
        "nginx",
        "failed (",
        rf"\b(?P<call>bind)\((?:{FROM}|(?P<source2>{HOST}))\) failed \((?P<number>\d{{1,3}}): "
        rf"[^)]{{1,60}}\){_UPSTREAM}",
        BIND,
        listening=False,
        picks=True,
    ),
    row(
        "nginx",
        "failed (",
        r"\b(?P<call>accept4?)\(\) failed \((?P<number>\d{1,3}): [^)]{1,60}\)",
        SOCKET,
        listening=True,
    ),
    row(
        "nginx",
        "failed (",
        rf"\b{CALL}\(\)(?: to (?:{TO}|(?P<target2>unix):)\S*)? failed \((?P<number>\d{{1,3}}): [^)]{{1,60}}\)"
        rf"(?:.{{0,2000}}?upstream: \"(?:\w{{1,12}}://)?(?P<target3>{HOST}):(?P<port3>\d{{1,5}}))?",
        OPENING,
        listening=False,
    ),
    row("nginx", "failed (24", r"\bopen\(\) \"[^\"]{0,1000}\" failed \((?P<number>24): ", NONE),
    row("nginx", "worker_connections", r"worker_connections are not enough|worker_connections exceed", NONE),
    row("nginx", "still could not bind", r"still could not bind\(\)", told=False),
    row("nginx", "to unix:", r"\bconnect\(\) to unix:", told=False),
    row(
        "nginx",
        "no live upstreams|upstream prematurely",
        r"no live upstreams while connecting|upstream prematurely closed",
        told=False,
    ),
)

HAPROXY: Final = (
    row(
        "haproxy",
        "no free ports",
        r"connect\(\) failed for backend (\S{1,253}): no free ports",
        CONNECT,
        errno="EADDRNOTAVAIL",
        listening=False,
    ),
    row(
        "haproxy",
        "local address already in use",
        r"connect\(\) failed for backend (\S{1,253}): local address already in use",
        CONNECT,
        errno="EADDRINUSE",
        listening=False,
    ),
    row(
        "haproxy",
        "source address before connect",
        r"cannot bind to (?:tproxy )?source address before connect\(\)",
        BIND,
        listening=False,
    ),
    row(
        "haproxy",
        "cannot bind socket",
        rf"cannot bind (?:UDP )?socket (?:\({E}\) )?(?:for )?\[{FROM}\]",
        BIND,
        listening=True,
        bare=True,
    ),
    row(
        "haproxy",
        "layer4",
        rf"reason: Layer4 connection problem, info: \"(?:[\w ]{{1,40}}\()?{E}",
        CONNECT,
        listening=False,
    ),
    row("haproxy", "layer4", r"reason: Layer4 timeout", WAIT, errno="ETIMEDOUT", listening=False),
    row("haproxy", "process fd limit", r"reached process FD limit", SOCKET, errno="EMFILE"),
    row("haproxy", "system fd limit", r"reached system FD limit", SOCKET, errno="ENFILE"),
    row("haproxy", "system memory limit", r"reached system memory limit", SOCKET, errno="ENOMEM"),
    row(
        "haproxy",
        "maximum connection limit|maxconn",
        r"reached the configured maximum connection limit|reached configured maxconn|maxconn (?:limit )?reached",
        NONE,
    ),
    row("haproxy", "not enough free sockets", r"socket\(\): not enough free sockets", NONE),
    row("haproxy", "<nosrv>", r"<NOSRV> (?:-?\d{1,9}/){4}\+?\d{1,9} \d{3} .{0,200} S[CH][-DIVNEP]{2} ", told=False),
    row(
        "haproxy",
        "/-1/-1/",
        r" (?:-?\d{1,9}/){4}\+?\d{1,9} \d{3} .{0,200} (?-i:SC)[-DIVNEP]{2} \d",
        frozenset((*CONNECT, *BIND)),
        listening=False,
    ),
    row(
        "haproxy",
        "/-1/-1/",
        r" (?:-?\d{1,9}/){4}\+?\d{1,9} \d{3} .{0,200} (?-i:sC)[-DIVNEP]{2} \d",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("haproxy", "has no server available", r"\bbackend \S{1,253} has no server available", told=False),
)

ENVOY: Final = (
    row("envoy", "failed to bind to", rf"failed to bind to {FROM}: (?:\(\d+\) ?)?{E}", BIND, listening=False),
    row("envoy", "cannot bind '", rf"cannot bind '{FROM}': {E}", BIND, listening=True),
    row(
        "envoy",
        "connect error:|connection error:",
        rf"(?:immediate|delayed) connect(?:ion)? error: (?:{E}|(?P<number>\d{{1,3}}))(?:\|remote[ _]address:{TO})?",
        CONNECT,
        listening=False,
        bare=True,
    ),
    row(
        "envoy",
        "reset reason:",
        r"reset reason: (?:remote |local )?connection timeout",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("envoy", "reset reason:", r"reset reason: (?:remote |local )?connection failure", CONNECT, listening=False),
    row("envoy", "reset reason:", r"reset reason: overflow", NONE),
    row("envoy", "reset reason:", r"reset reason: (?:connection termination|(?:remote|local) reset)", told=False),
)

OTHERS: Final = (
    row(
        "squid",
        "cannot bind socket fd",
        rf"commBind:? Cannot bind socket FD \d{{1,9}} to {FROM}: \(\d{{1,3}}\) {E}",
        BIND,
        listening=True,
    ),
    row(
        "squid",
        "cannot bind socket fd",
        rf"commBind:? Cannot bind socket FD \d{{1,9}} to (?P<source>{HOST}): \(\d{{1,3}}\) {E}",
        BIND,
        listening=False,
        picks=True,
    ),
    row("squid", "socket failure", rf"comm_open: socket failure: \(\d{{1,3}}\) {E}", SOCKET),
    row("squid", "filedescriptors", r"cache is running out of filedescriptors", SOCKET, errno="EMFILE"),
    row(
        "squid",
        "tcp connection to",
        r"TCP connection to (?P<target>[\w.:-]{1,253})/(?P<port>\d{1,5}) failed",
        CONNECT,
        listening=False,
    ),
    row("squid", "unable to open", r"unable to open (?:HTTPS?|ICP|FTP) (?:socket|port)", BIND, listening=True),
    row("pgbouncer", "sbuf_connect failed", rf"sbuf_connect failed: {E}", DIALING, listening=False),
    row("pgbouncer", "cannot listen on", rf"cannot listen on {FROM}: bind\(\): {E}", BIND, listening=True),
    row(
        "pgbouncer",
        "because: connect",
        rf"@{TO} closing because: connect timeout",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("pgbouncer", "because: connect", rf"@{TO} closing because: connect failed", CONNECT, listening=False),
    row("pgbouncer", "no more connections allowed", r"no more connections allowed", NONE),
    row(
        "httpd",
        "(70007)",
        rf"\(70007\)[^:]{{1,60}}: (?:AH00957: )?\w{{1,12}}: attempt to connect to {TO}",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row(
        "httpd",
        "attempt to connect to",
        rf"\((?P<number>\d{{1,3}})\){E}: (?:AH00957: )?\w{{1,12}}: attempt to connect to {TO}",
        DIALING,
        listening=False,
    ),
    row(
        "httpd",
        "to local address",
        rf"\((?P<number>\d{{1,3}})\){E}: (?:AH\d{{5}}: )?\w{{1,12}}: failed to bind socket to local address",
        BIND,
        listening=False,
    ),
    row(
        "httpd",
        "make_sock",
        rf"\((?P<number>\d{{1,3}})\){E}: (?:AH00072: )?make_sock: could not bind to address {FROM}",
        BIND,
        listening=True,
    ),
    row("httpd", ": ah", rf"\((?P<number>\d{{1,3}})\){E}: AH\d{{5}}: "),
    row("httpd", "failed to make connection to backend", r"failed to make connection to backend", told=False),
    row("httpd", "maxrequestworkers|maxclients", r"server reached (?:MaxRequestWorkers|MaxClients) setting", NONE),
    row(
        "varnish",
        "fail errno",
        rf"\bbackend \S{{1,253}}: fail errno (?P<number>\d{{1,3}}) \({E}\)",
        DIALING,
        listening=False,
    ),
    row("varnish", "could not get socket", rf"Could not get socket {FROM}: {E}", BIND, listening=True),
    row(
        "systemd",
        "listen",
        rf"Failed to (?:create listening socket|listen on sockets?|listen)(?: \({FROM}\))?[^:]{{0,80}}: {E}",
        BIND,
        listening=True,
    ),
    row(
        "docker",
        "port is already allocated",
        rf"Bind for {FROM} failed: port is already allocated",
        NONE,
        listening=True,
    ),
    row(
        "docker",
        "failed to bind host port",
        rf"failed to bind host port (?:for )?{FROM}[^ ]{{0,80}}: {E}",
        BIND,
        listening=True,
    ),
)

ROWS: Final[tuple[MessageRow, ...]] = (*NGINX, *HAPROXY, *ENVOY, *OTHERS)
