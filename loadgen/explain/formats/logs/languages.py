"""Messages of languages and their libraries, one row each.

Sources: captured of Go 1.19, Java 17, node 20, Python 3.11, Ruby 3.1, PHP 8.2, Erlang 25, Rust 1.9x; of others their
sources and public reports. Java says the same of bind() and of connect(); only its stack trace tells them apart.
"""

from __future__ import annotations

from typing import Final

from loadgen.explain.formats.logs.row import (
    BIND,
    CALL,
    CONNECT,
    FROM,
    HOST,
    NONE,
    OPENING,
    SOCKET,
    TO,
    WAIT,
    E,
    MessageRow,
    row,
)
from loadgen.outcomes import Syscall

_PROTOCOL: Final = r"(?P<protocol>tcp|udp)[46]?"
#: Behind an exception of Java: the part in brackets, or after a colon (on Windows), that names the call.
_JAVA_CALL: Final = r"(?:(?: \(|: )(?P<call>connect|bind|jvm_bind)\b(?: failed)?\)?)?"
_JAVA_TARGET: Final = rf"(?:(?: \([\w ]{{1,40}}\))?: [\w.-]{{0,253}}/{TO})?"
_NATIVE: Final = (
    r"(?:syscall:)?(?:new)?(?P<call>finishConnect|connect|bind|socket|accept|write|read)\w{0,20}\(\.\.\) "
    r"failed(?: with error\(-?\d+\))?: "
)

GO: Final = (
    row(
        "Go",
        "i/o timeout",
        rf"\bdial {_PROTOCOL} (?:{FROM}->)?{TO}: (?:connect: )?i/o timeout",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("Go", "dial ", rf"\bdial {_PROTOCOL} (?:{FROM}->)?{TO}: (?:{CALL}: )?{E}", OPENING, listening=False),
    row("Go", "i/o timeout", r"\bdial: i/o timeout", WAIT, errno="ETIMEDOUT", listening=False),
    row("Go", ": lookup ", r"\bdial (?:tcp|udp)[46]?: lookup ", told=False),
    row(
        "Go",
        "listen ",
        rf"\blisten {_PROTOCOL} (?:{FROM}|:(?P<sport2>\d{{1,5}})): (?:{CALL}: )?{E}",
        BIND,
        listening=True,
    ),
    row("Go", "accept ", rf"\baccept {_PROTOCOL} \S{{1,300}}: (?P<call>accept4?): {E}", SOCKET, listening=True),
    row("Go", "read |write ", rf"\b(?P<call>read|write) {_PROTOCOL} {FROM}->{TO}: (?:\w{{1,12}}: )?{E}"),
    row("Go", "i/o timeout", rf"\b(?:read|write) {_PROTOCOL} {FROM}(?:->{TO})?: i/o timeout", told=False),
    row("Go", "while awaiting headers", r"exceeded while awaiting headers", told=False),
)

JAVA: Final = (
    row(
        "JMeter",
        "non http response",
        rf"Non HTTP response code: [\w.]{{0,80}}(?:BindException|SocketException)(?:,\"?|/)\"?Non HTTP "
        rf"response message: {E}{_JAVA_CALL}",
        OPENING,
        listening=False,
    ),
    row(
        "JMeter",
        "non http response",
        rf"Non HTTP response code: [\w.]{{0,80}}(?:ConnectException|NoRouteToHostException)(?:,\"?"
        rf"|/)\"?Non HTTP response message: (?:Connect to {TO} (?:\[[^\]]{{0,200}}\] )?failed: )?{E}",
        CONNECT,
        listening=False,
    ),
    row(
        "JMeter",
        "non http response",
        r"Non HTTP response code: [\w.]{0,80}(?:ConnectTimeoutException|SocketTimeoutException)"
        rf"(?:,\"?|/)\"?Non HTTP response message: (?:Connect to {TO} .{{0,400}}?)?connect(?:ion)? timed out",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row(
        "JMeter",
        "non http response",
        r"Non HTTP response code: [\w.]{0,80}BindException(?![^\n]{0,40}Non HTTP)",
        frozenset((*BIND, *CONNECT)),
        listening=False,
    ),
    row(
        "Java",
        "failed: ",
        rf"(?:Native\w{{0,12}}Exception|Errors\$\w{{1,40}}): {_NATIVE}{E}(?:: [\w.-]{{0,253}}/{TO})?",
        OPENING,
    ),
    row(
        "Java",
        "connect to ",
        rf"Connect to (?:\w{{1,10}}://)?{TO} (?:\[[^\]]{{0,200}}\] )?failed: "
        rf"(?:[\w.]{{1,80}}Exception: )?(?:connect(?:ion)?|read) timed out",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row(
        "Java",
        "connect to ",
        rf"Connect to (?:\w{{1,10}}://)?{TO} (?:\[[^\]]{{0,200}}\] )?failed: {E}",
        CONNECT,
        listening=False,
    ),
    row(
        "Java",
        "bindexception",
        rf"BindException: (?:Failed to bind to \S{{1,253}}: )?(?:Address already in use){_JAVA_CALL}{_JAVA_TARGET}",
        BIND,
        errno="EADDRINUSE",
    ),
    row("Java", "bindexception", rf"BindException: {E}{_JAVA_CALL}{_JAVA_TARGET}", frozenset((*BIND, *CONNECT))),
    row(
        "Java",
        "connectexception|noroutetohost",
        rf"(?:ConnectException|NoRouteToHostException): {E}{_JAVA_CALL}{_JAVA_TARGET}",
        CONNECT,
        listening=False,
    ),
    row("Java", "socketexception|ioexception", rf"(?:\bSocketException|IOException): {E}{_JAVA_CALL}{_JAVA_TARGET}"),
    row(
        "Java",
        "connect timed out|connection timed out",
        r"(?:SocketTimeout|ConnectTimeout|HttpConnectTimeout)Exception: (?:HTTP )?connect(?:ion)? "
        rf"timed out(?:(?: after \d{{1,9}} ms)?: [\w.-]{{0,253}}/{TO})?",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("Java", "read timed out", r"SocketTimeoutException: Read timed out", told=False),
    row(
        "Java",
        "was already in use|is already in use",
        r"\bport (?P<sport>\d{1,5}) (?:was|is) already in use",
        BIND,
        errno="EADDRINUSE",
        listening=True,
    ),
)

NODE: Final = (
    # libuv keeps EADDRINUSE of bind() until connect() or listen(): uv__tcp_bind(), src/unix/tcp.c.
    row(
        "node",
        "connect eaddrinuse",
        rf"\bconnect (?-i:(?P<error>EADDRINUSE))(?: {TO})?(?: - Local \({FROM}\))?",
        BIND,
        listening=False,
    ),
    row(
        "node",
        "connect e",
        rf"\b(?P<call>connect) (?-i:(?P<error>E[A-Z]{{3,15}}))(?: {TO})?(?: - Local \({FROM}\))?",
        OPENING,
        listening=False,
    ),
    row(
        "node",
        "listen e",
        rf"\blisten (?-i:(?P<error>E[A-Z]{{3,15}}))\b(?:(?:: [a-z ]{{1,60}}?)? {FROM})?",
        BIND,
        listening=True,
    ),
    # A port other than 0 follows the address, without brackets (exceptionWithHostPort(), lib/internal/errors.js). So
    # 2001:db8::5 may have one; it is taken as a whole, because hardly any client binds a port of its choice.
    row(
        "node",
        "bind e",
        rf"\bbind (?-i:(?P<error>E[A-Z]{{3,15}}))"
        rf"(?: (?:(?P<source2>(?=[^\s:]*:[^\s:]*:)[0-9A-Fa-f:.]{{2,45}})|{FROM}|(?P<source3>{HOST})))?",
        BIND,
    ),
    row("node", "read e|write e|send e", r"\b(?P<call>read|write|send) (?-i:(?P<error>E[A-Z]{3,15}))\b"),
    row(
        "node",
        "emfile|enfile",
        r"\b(?-i:(?P<error>EMFILE|ENFILE)): [a-z ]{1,40}, (?:open|scandir|watch|mkdir|stat|uv_)",
        NONE,
    ),
    row("node", "getaddrinfo ", r"\bgetaddrinfo (?:ENOTFOUND|EAI_\w{1,12})", told=False),
    row("node", "socket hang up", r"\bsocket hang up\b", told=False),
)

PYTHON: Final = (
    row(
        "Python",
        "multiple exceptions",
        rf"(?:\[Errno (?P<number>\d{{1,3}})\] (?:Connect call failed \('(?P<target>[^']{{0,80}})', "
        rf"(?P<port>\d{{1,5}})|{E}))",
        frozenset((*SOCKET, *CONNECT)),
        listening=False,
    ),
    row(
        "Python",
        "attempting to bind",
        rf"error while attempting to bind on address \('(?P<source>[^']{{0,80}})', "
        rf"(?P<sport>\d{{1,5}})[^)]{{0,80}}\): (?:\[errno \d{{1,3}}\] )?{E}",
        BIND,
    ),
    row(
        "Python",
        "connect call failed",
        r"\[Errno (?P<number>\d{1,3})\] Connect call failed \('(?P<target>[^']{0,80})', (?P<port>\d{1,5})",
        CONNECT,
        listening=False,
    ),
    row(
        "Python",
        "cannot connect to host",
        rf"Cannot connect to host {TO} ssl:[^\[]{{0,200}}\[Connect call failed",
        CONNECT,
        listening=False,
    ),
    row(
        "Python",
        "cannot connect to host",
        rf"Cannot connect to host {TO} ssl:[^\[]{{0,200}}\[(?:\[Errno \d{{1,3}}\] )?{E}",
        OPENING,
        listening=False,
    ),
    row(
        "Python",
        "establish a new connection",
        rf"(?:host='(?P<target>[^']{{1,253}})', port='?(?P<port>\d{{1,5}})'?.{{0,2000}}?)?Failed to "
        rf"establish a new connection: \[Errno (?P<number>\d{{1,3}})\] {E}",
        OPENING,
        listening=False,
    ),
    row(
        "Python",
        "connect timeout=",
        rf"(?:host='(?P<target2>[^']{{1,253}})', port='?(?P<port2>\d{{1,5}})'?.{{0,2000}}?)?Connection "
        rf"to (?P<target>{HOST}) timed out\. \(connect timeout=",
        WAIT,
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("Python", "read timeout=", r"Read timed out\. \(read timeout=", told=False),
    row(
        "Python",
        "connecting to",
        rf"Error (?P<number>\d{{1,3}}) connecting to {TO}\. {E}",
        frozenset((*SOCKET, *CONNECT)),
        listening=False,
    ),
    row(
        "Python",
        "connection in use: (",
        r"Connection in use: \('(?P<source>[^']{0,80})', (?P<sport>\d{1,5})\)",
        BIND,
        errno="EADDRINUSE",
        listening=True,
    ),
    row("Python", "timeout connecting to", r"Timeout connecting to server", WAIT, errno="ETIMEDOUT", listening=False),
    row(
        "Python",
        ": timed out",
        r"^(?:TimeoutError|socket\.timeout): timed out$",
        frozenset((*CONNECT, Syscall.RECV)),
        errno="ETIMEDOUT",
        listening=False,
    ),
    row("Python", "[errno ", rf"\[Errno -?(?P<number>\d{{1,3}})\] {E}"),
)

OTHERS: Final = (
    row(
        "gRPC",
        "ipv4:|ipv6:",
        rf"\bipv[46]:{TO}: (?:Failed to connect to remote host: )?(?:connect: )?{E}",
        CONNECT,
        listening=False,
    ),
    row(
        "Rust",
        "tcp bind",
        r"tcp bind local error.{0,80}?(?:code: |os error )(?P<number>\d{1,3})",
        BIND,
        listening=False,
    ),
    row(
        "Rust",
        "tcp connect error",
        rf"tcp connect error.{{0,80}}?(?:code: (?P<number>\d{{1,3}})|{E} \(os error)",
        CONNECT,
        listening=False,
        bare=True,
    ),
    row(
        "Rust", "os { code", rf"\bOs \{{ code: (?P<number>\d{{1,3}}), kind: \w{{1,40}}, message: \"(?:{E})?", bare=True
    ),
    row("Rust", "(os error ", rf"{E} \(os error (?P<number>\d{{1,3}})\)"),
    row(
        "Ruby",
        "(2) for ",
        rf"{E} - (?P<call>connect)\(2\) for (?:{TO}|\"(?P<target2>[^\"]{{1,253}})\" port (?P<port2>\d{{1,5}}))",
        CONNECT,
        listening=False,
    ),
    row(
        "Ruby",
        "(2) for ",
        rf"{E} - (?P<call>bind|listen)\(2\) for (?:{FROM}|\"(?P<source2>[^\"]{{0,253}})\" port (?P<sport2>\d{{1,5}}))",
        BIND,
    ),
    row("Ruby", "(2)", rf"{E} - {CALL}\(2\)"),
    row("Ruby", "errno::", rf"\bErrno::{E}"),
    row(
        "PHP",
        "stream_socket_server",
        rf"stream_socket_server\(\): Unable to connect to \w{{1,10}}://{FROM} \({E}\)",
        BIND,
        listening=True,
    ),
    row(
        "PHP",
        "failed to bind to '",
        rf"Failed to bind to '(?P<source>{HOST}):(?P<sport>\d{{1,5}})', system said: {E}",
        BIND,
        listening=False,
    ),
    row(
        "PHP",
        "unable to connect to",
        rf"\(\): Unable to connect to (?:\w{{1,10}}://)?{TO} \({E}\)",
        CONNECT,
        listening=False,
    ),
    row(
        "PHP",
        "failed to open stream",
        rf"\(\w{{1,10}}://(?P<target>[^)/:\s]{{1,253}})(?::(?P<port>\d{{1,5}}))?[^)]{{0,500}}\): "
        rf"Failed to open stream: {E}",
        CONNECT,
        listening=False,
    ),
    row("PHP", "sqlstate[", rf"SQLSTATE\[HY000\] \[2002\] {E}", frozenset((*SOCKET, *CONNECT)), listening=False),
    row(
        ".NET",
        "failed to bind to address",
        rf"Failed to bind to address \w{{1,10}}://{FROM}: {E}",
        BIND,
        listening=True,
    ),
    row(".NET", "httprequestexception", rf"HttpRequestException: {E} \({TO}\)", OPENING, listening=False),
    row(
        ".NET",
        "socketexception (",
        rf"SocketException \((?:0x[0-9A-F]{{1,8}}, )?(?P<number>\d{{1,5}})\): {E}(?: {TO})?",
    ),
    row(
        "Erlang",
        "failed_connect",
        r"failed_connect,\s?\[\{to_address,\s?\{['\"](?P<target>[^'\"]{1,253})['\"],\s?"
        r"(?P<port>\d{1,5})\}.{0,300}?[,:](?-i:(?P<error>e[a-z]{4,13}))\b",
        OPENING,
        listening=False,
    ),
    row(
        "Erlang",
        "listen",
        r"\blisten(?:er|_error)?\b.{0,400}?[\s{,:(](?-i:(?P<error>eaddrinuse|eaddrnotavail|eacces))\b",
        BIND,
        listening=True,
    ),
    row(
        "Erlang",
        ",e|:e|, e",
        r"(?:\{error, ?|[ {,(]:|\{)(?-i:(?P<error>eaddrnotavail|eaddrinuse|emfile|enfile|econnrefused"
        r"|etimedout|ehostunreach|enetunreach|enobufs))\b",
    ),
)

ROWS: Final[tuple[MessageRow, ...]] = (*GO, *JAVA, *NODE, *PYTHON, *OTHERS)
