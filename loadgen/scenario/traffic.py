"""`protocol` and `tls` of a scenario, checked by the protocol's own class and by OpenSSL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, PlainValidator, StrictBool, TypeAdapter, ValidationError, WithJsonSchema

from loadgen import protocols, secret
from loadgen.model import Endpoint, Tls, Traffic
from loadgen.scenario import masking
from loadgen.scenario.fields import Model, at_most, refuse, wrong_at
from loadgen.scenario.nearest import nearest

#: A bundle of all public authorities takes a fifth of it.
_CA_BYTES_MAX: Final = 1 << 20
_ALPN_MAX: Final = 16
#: To try a protocol whose requests depend on the target.
_ANY_TARGET: Final = Endpoint("127.0.0.1", 80)
#: RFC 7468 5; "X509" and "TRUSTED" are older spellings that OpenSSL reads as well.
_CERTIFICATE: Final = re.compile(
    r"-----BEGIN (?P<kind>(?:X509 |TRUSTED )?CERTIFICATE)-----[^-]*+-----END (?P=kind)-----"
)


def _traffic(value: object) -> Traffic:
    """Read `echo` or `{name: echo, size: 64}`. Raises: ValueError and PydanticCustomError with the remedy."""
    written = {"name": value} if isinstance(value, str) else value
    if not isinstance(written, dict) or not isinstance(written.get("name"), str):
        raise ValueError("write the name of a protocol, or a mapping with it, for example {name: echo, size: 64}")
    name, options = written["name"], {str(key): option for key, option in written.items() if key != "name"}
    place = ("name",) if isinstance(value, dict) else ()
    if name == "tcp":
        if options:
            raise wrong_at(
                (next(iter(options)),), "tcp has no options; leave it out, or name another protocol", "wrong_key"
            )
        return Traffic()
    protocol = _found(name, place)
    known = [field.name for field in fields(protocol) if field.init]
    refuse(
        wrong_at((key,), f"{name} has no such option; {nearest(key, known)}", "wrong_key")
        for key in options
        if key not in known
    )
    hidden, mistakes = masking.hidden(options)
    refuse(wrong_at(path, message) for path, message in mistakes)
    filled = secret.revealed(hidden)
    try:
        # Of JSON, a list may be a tuple.
        made = TypeAdapter(protocol).validate_json(json.dumps(filled), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = tuple(step for step in first["loc"] if isinstance(step, (str, int)))
        message = str(first.get("ctx", {}).get("error") or first["msg"])
        raise wrong_at(where, _shown(message, name, hidden)) from None
    if not getattr(made, "connector", ""):
        _try(name, made, place, hidden)
    if isinstance(made, protocols.Portable):
        hidden = _carried(made.carried(), filled, hidden)
    return Traffic(name, hidden)


def _shown(message: str, name: str, hidden: object) -> str:
    """Return a protocol's message about its options, unless it may repeat a part of a secret."""
    if secret.are_in(hidden) and not protocols.is_built_in(name):
        return f"{name} refuses its options, and why is not shown: some of them are secret"
    return secret.scrubbed(message)


def _carried(carried: Mapping[str, Any], filled: Mapping[str, Any], hidden: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options that a protocol carries elsewhere, with what is secret in them hidden again."""
    options = {}
    for key, option in carried.items():
        if filled.get(key) == option:
            options[key] = hidden[key]
        elif isinstance(option, str):  # of a file, and it may have a credential in it
            shown, parts = masking.masked(option, key)
            options[key] = secret.Secret(shown, option, parts) if parts else option
        else:
            options[key] = option
    return options


def _found(name: str, place: tuple[str, ...]) -> Any:
    """Return the class of a protocol. Raises: PydanticCustomError if there is none, or it is not a protocol."""
    try:
        protocol = protocols.find(name)
    except LookupError:
        raise wrong_at(place, f"unknown protocol; {nearest(name, protocols.names())}") from None
    except Exception as error:  # anything that a foreign module raises when it is imported
        raise wrong_at(place, f"{name} cannot be loaded ({_in_a_line(error)}); mend or reinstall its package") from None
    exchange = all(callable(getattr(protocol, method, None)) for method in ("request", "reply"))
    other = hasattr(protocol, "at") or hasattr(protocol, "connector")
    if not isinstance(protocol, type) or not is_dataclass(protocol) or not (exchange or other):
        raise wrong_at(place, f"{name} is no dataclass with the methods request and reply; mend its package")
    return protocol


def _try(name: str, made: protocols.Exchange | protocols.PerTarget, place: tuple[str, ...], hidden: object) -> None:
    """Check before any load that it makes requests. Raises: PydanticCustomError if it does not."""
    try:
        exchange = made.at(_ANY_TARGET, "", secured=False) if isinstance(made, protocols.PerTarget) else made
        request: object = exchange.request(0)
    except Exception as error:  # anything that a foreign protocol raises
        problem = _shown(f"{name} makes no request ({_in_a_line(error)}); mend its package", name, hidden)
        raise wrong_at(place, problem) from None
    if not isinstance(request, bytes):
        raise wrong_at(place, f"{name} makes a request of type {type(request).__name__}, not bytes; mend its package")


def _in_a_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


TrafficSpec = Annotated[
    Traffic,
    PlainValidator(_traffic),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            ]
        }
    ),
]


def _server_name(text: str) -> str:
    if (
        not text
        or len(text) > 253
        or text.startswith(".")
        or not text.isascii()
        or not text.isprintable()
        or " " in text
    ):
        raise ValueError("write a host name in ASCII, as api.example.com, or an address")
    return text


def _alpn_name(text: str) -> str:
    if not 1 <= len(text) <= 255 or not text.isascii():
        raise ValueError("write a name of 1 to 255 ASCII characters, as h2 or http/1.1")
    return text


def _authorities(name: str) -> str:
    """Return the PEM text of a file of certificates. Raises: ValueError if OpenSSL refuses it."""
    import ssl  # takes 20 ms, which a scenario without TLS does not need

    try:
        with Path(name).open("rb") as file:
            data = file.read(_CA_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"cannot be read ({reason}); check path and permissions") from None
    if len(data) > _CA_BYTES_MAX:
        raise ValueError(f"is longer than {_CA_BYTES_MAX:,} bytes; write the file of the authorities that are needed")
    try:
        # The text becomes a part of the plan: a private key in the same file stays out of it.
        text = "".join(f"{match[0]}\n" for match in _CERTIFICATE.finditer(data.decode()))
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError):
        raise ValueError(
            "holds no certificate in PEM; write the file of the authority, -----BEGIN CERTIFICATE-----"
        ) from None
    return text


class TlsSpec(Model):
    """TLS on every connection, before anything else is sent."""

    server_name: Annotated[str, AfterValidator(_server_name)] | None = Field(
        None,
        description="name for SNI and the check of the certificate; left out: the target's host name, else its address",
        examples=["api.example.com"],
    )
    alpn: Annotated[tuple[Annotated[str, AfterValidator(_alpn_name)], ...], AfterValidator(at_most(_ALPN_MAX))] = Field(
        (), description="protocols to offer", examples=[["h2", "http/1.1"]]
    )
    ca: Annotated[str, AfterValidator(_authorities)] | None = Field(
        None,
        description="file of certificates to trust, PEM; left out: the system's, or for sinks of ours the run's own",
        examples=["ca.pem"],
    )
    verify: StrictBool = Field(True, description="whether the certificate is checked")
    resume: StrictBool = Field(False, description="whether to offer the session of an earlier connection")

    @property
    def tls(self) -> Tls:
        """TLS as the plan has it."""
        return Tls(self.server_name or "", self.alpn, self.ca or "", self.verify, self.resume)
