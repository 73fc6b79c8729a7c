"""`sink` of a target: whether loadgen listens there, and how that sink behaves toward its clients."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, WithJsonSchema, model_validator

from loadgen.model import SinkBehaviour, Speaks
from loadgen.scenario import units
from loadgen.scenario.fields import AgentPattern, Duration, Mistakes, Model, Rate, items, refuse, within, wrong_at

_BODY_MAX: Final = 16 * 1024 * 1024
#: Answers that have no body (RFC 9110 15.3.5, 15.4.5).
_WITHOUT_BODY: Final = (204, 304)
_HTTP_ONLY: Final = ("status", "body")
#: Entries of a list of agents.
_AGENTS_MAX: Final = 100
#: Keys that mean nothing for a sink that never reads.
_HEARS: Final = ("speaks", "tls", "delay", "close_after_requests", "status", "body")


def _readable(per_s: float) -> float:
    if 0 < per_s < 1:
        raise ValueError("write a rate in bytes from 1/s, or 0/s for a sink that never reads")
    return per_s


class SinkSpec(Model):
    """Behaviour of a sink of loadgen toward its clients."""

    speaks: Speaks = Field(
        Speaks.ECHO, description="echo: sends back what it reads; http: answers requests; nothing: reads, never answers"
    )
    tls: StrictBool = Field(False, description="whether it speaks TLS, with a certificate made for the run")
    reset: StrictBool = Field(False, description="whether it resets each connection that it has accepted")
    drop: (
        Annotated[
            float,
            BeforeValidator(units.share),
            WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$"}),
        ]
        | None
    ) = Field(None, description="share of the connections that it resets, evenly spread", examples=["10%"])
    delay_s: Annotated[Duration, AfterValidator(within("0s", "1h"))] = Field(
        cast(Any, "0s"), alias="delay", description="duration each answer waits", examples=["50ms"]
    )
    close_after_s: Annotated[Duration, AfterValidator(within("1ms", "8760h"))] | None = Field(
        None, alias="close_after", description="duration from accept() until it closes", examples=["5s"]
    )
    close_after_requests: StrictInt | None = Field(
        None, ge=1, le=1_000_000_000, description="requests after which it closes; without http a read is one"
    )
    read_per_s: Annotated[Rate, AfterValidator(_readable)] | None = Field(
        None,
        alias="read",
        description="bytes that it reads from each connection; 0/s: it never reads",
        examples=["1000/s"],
    )
    status: StrictInt = Field(200, ge=200, le=599, description="status code of its HTTP answers", examples=[503])
    body: StrictInt = Field(
        0, ge=0, le=_BODY_MAX, description="size of the body of its HTTP answers, in bytes", examples=[1024]
    )
    agents: Annotated[tuple[AgentPattern, ...], AfterValidator(items(_AGENTS_MAX))] | None = Field(
        None,
        description="in a run on several hosts: agents that listen there for all; left out: each for itself",
        examples=[["sink-*"]],
    )

    @property
    def behaviour(self) -> SinkBehaviour:
        """The behaviour as the plan has it."""
        return SinkBehaviour(
            speaks=self.speaks,
            tls=self.tls,
            reset=self.reset,
            drop=self.drop or 0.0,
            delay_s=float(self.delay_s),
            close_after_s=self.close_after_s,
            close_after_requests=self.close_after_requests,
            read_per_s=None if self.read_per_s is None else int(self.read_per_s),
            status=self.status,
            body_bytes=self.body,
        )

    @property
    def _written(self) -> list[str]:
        """Keys present in the file, by their names there."""
        fields = type(self).model_fields
        return [fields[name].alias or name for name in fields if name in self.model_fields_set]

    @model_validator(mode="after")
    def _can_be_meant(self) -> SinkSpec:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Mistakes:
        for key in self._written:
            if self.reset and key not in ("reset", "agents"):
                message = f"reset: true resets every connection at once; leave {key} out"
            elif self.speaks is not Speaks.HTTP and key in _HTTP_ONLY:
                message = f"{key} is about answers in HTTP; write speaks: http, or leave {key} out"
            elif self.speaks is Speaks.NOTHING and key == "delay":
                message = f"speaks: nothing never answers; leave {key} out"
            elif self.read_per_s == 0 and key in _HEARS:
                message = f"read: 0/s never reads, and so never gets to that; leave {key} out"
            else:
                continue
            yield wrong_at((key,), message, "wrong_key")
        if self.body and self.status in _WITHOUT_BODY:
            yield wrong_at(("body",), f"an answer with status {self.status} has no body; leave body out", "wrong_key")


def _mapping(value: object) -> object:
    """`true` is a sink that is a plain echo, `false` no sink; a mapping is a sink with another behaviour."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, (dict, SinkSpec)):
        raise ValueError("write true or false, or a mapping as {speaks: http}")
    return value


def _boolean_or_mapping(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"type": "boolean"}, *(kind for kind in schema["anyOf"] if kind != {"type": "null"})]


SinkField = Annotated[SinkSpec | None, BeforeValidator(_mapping), Field(json_schema_extra=_boolean_or_mapping)]
