"""`sink` of a target: true, false, or behaviour; and what cannot be meant."""

from __future__ import annotations

import pytest

from loadgen import scenario
from loadgen.errors import ScenarioError
from loadgen.model import SinkBehaviour, Speaks
from loadgen.scenario.messages import fields_of

SCENARIO = """\
name: x
sources: {{addresses: 127.0.0.2}}
targets: [{{address: "127.0.0.1:9000", sink: {}}}]
connections: 1
"""


def parsed(sink: str) -> SinkBehaviour | None:
    """The behaviour of the one target; None where it has no sink."""
    target = scenario.parse(SCENARIO.format(sink)).targets[0]
    assert target.sink == (target.sink_spec is not None)
    (planned,) = target.targets(["127.0.0.1"])
    assert planned.sink == target.sink
    assert planned.behaviour == (target.sink_spec.behaviour if target.sink_spec else SinkBehaviour())
    return planned.behaviour if planned.sink else None


@pytest.mark.parametrize(
    ("written", "behaviour"), [("true", SinkBehaviour()), ("{}", SinkBehaviour()), ("false", None)]
)
def test_a_sink_or_none(written: str, behaviour: SinkBehaviour | None) -> None:
    assert parsed(written) == behaviour


def test_every_key_is_carried_into_the_plan() -> None:
    assert parsed(
        "{speaks: http, tls: true, drop: 10%, delay: 50ms, close_after: 5s, close_after_requests: 100, "
        "read: 1000/s, status: 503, body: 1024}"
    ) == SinkBehaviour(
        speaks=Speaks.HTTP,
        tls=True,
        drop=0.1,
        delay_s=0.05,
        close_after_s=5.0,
        close_after_requests=100,
        read_per_s=1000,
        status=503,
        body_bytes=1024,
    )
    assert parsed("{reset: true}") == SinkBehaviour(reset=True)
    assert parsed("{speaks: nothing, close_after_requests: 1}") == SinkBehaviour(Speaks.NOTHING, close_after_requests=1)
    assert parsed("{read: 600/min}") == SinkBehaviour(read_per_s=10)
    assert parsed("{read: 0/s}") == SinkBehaviour(read_per_s=0)


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ("yes", 'sink: write true or false, or a mapping as {speaks: http}; got "yes"'),
        ("[1]", "write true or false, or a mapping"),
        ("{spaks: http}", 'unknown key "spaks"; did you mean "speaks"?'),
        ("{speaks: htp}", 'sink.speaks: unknown word "htp"; did you mean "http"?'),
        ("{reset: true, drop: 10%}", "sink.drop: reset: true resets every connection at once; leave drop out"),
        ("{tls: true, reset: true}", "leave tls out"),
        ("{body: 1}", "body is about answers in HTTP; write speaks: http, or leave body out"),
        ("{speaks: echo, status: 404}", "status is about answers in HTTP"),
        ("{speaks: nothing, delay: 1s}", "speaks: nothing never answers; leave delay out"),
        ("{read: 0/s, close_after_requests: 1}", "read: 0/s never reads, and so never gets to that"),
        ("{read: 30/min}", "write a rate in bytes from 1/s, or 0/s"),
        ("{speaks: http, status: 204, body: 3}", "an answer with status 204 has no body"),
        ("{speaks: http, status: 100}", "write at least 200"),
        ("{speaks: http, body: 20000000}", "write at most 16,777,216"),
        ("{drop: 0%}", "write a share above 0% and up to 100%"),
        ("{drop: 0.1}", "write a share"),
        ("{delay: 50}", "write 30s, 2m or 500ms"),
        ("{close_after: 0s}", "write a duration from 1ms to 8760h"),
        ("{close_after_requests: 0}", "write at least 1"),
        ("{reset: true}, accept: false", "a sink that never accepts has no other behaviour; write sink: true"),
        ("false, backlog: 9", "backlog is about a sink of ours"),
    ],
)
def test_what_cannot_be_meant(sink: str, words: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        parsed(sink)
    assert words in str(refused.value)
    assert str(refused.value).startswith("scenario:3:")


def test_a_setting_of_the_command_line_reaches_into_it() -> None:
    found = scenario.parse(SCENARIO.format("{speaks: http}"), overrides=["targets.0.sink.status=503"])
    assert (
        found.targets[0].sink_spec
        == scenario.parse(SCENARIO.format("{speaks: http, status: 503}")).targets[0].sink_spec
    )


def test_the_schema_offers_both() -> None:
    schema = scenario.json_schema()
    sink = schema["$defs"]["TargetSpec"]["properties"]["sink"]
    assert sink["anyOf"] == [{"type": "boolean"}, {"$ref": "#/$defs/SinkSpec"}]
    assert sink["default"] is False
    assert set(schema["$defs"]["SinkSpec"]["properties"]) == set(fields_of(("targets", "sink")))


def written(sink: str, more: str = "") -> scenario.ScenarioSpec:
    return scenario.parse(SCENARIO.format(sink) + more)


def test_a_sink_on_chosen_agents_is_one_to_the_agents_that_it_names_and_to_no_other() -> None:
    target = written('{speaks: http, agents: [c, "gen-?"]}, backlog: 9').targets[0]
    assert target.agents == ("c", "gen-?")
    assert [target.is_listened_at_by(name) for name in ("c", "gen-1", "gen-10", "d")] == [True, True, False, False]
    own, other = target.seen_by("c"), target.seen_by("d")
    assert own.sink_spec is not None
    assert (own.agents, own.sink_spec.behaviour, own.backlog) == ((), SinkBehaviour(speaks=Speaks.HTTP), 9)
    assert (other.sink, other.backlog) == (False, None)
    plain = written("true").targets[0]
    assert plain.seen_by("c") is plain


def test_an_agent_stands_beside_any_other_key() -> None:
    for text in ("{agents: [c], reset: true}", "{agents: [c]}, accept: false", "{agents: [c], read: 0/s}"):
        assert written(text).targets[0].agents == ("c",)


def test_an_agent_only_listens_unless_it_has_a_share() -> None:
    found = written("{agents: [c, d]}", "agents: {shares: [{name: d}]}\n")
    assert [(found.listens(name), found.only_listens(name)) for name in "acd"] == [
        (False, False),
        (True, True),
        (True, False),
    ]


@pytest.mark.parametrize(
    ("sink", "more", "words"),
    [
        ("{agents: []}", "", "targets.0.sink.agents: write 1 to 100 items"),
        ("{agents: [a b]}", "", "targets.0.sink.agents.0: write a name of letters"),
        ("{agents: [c]}", "lab: {}\n", "targets.0.sink.agents: no agent reaches the lab of another"),
        ("{agents: [c], tls: true}", "tls: {}\n", "write tls: {verify: false}"),
        (
            "true",
            'agents: {shares: [{name: a, targets: [{address: "127.0.0.1:9", sink: {agents: [c]}}]}]}\n',
            "agents.shares.0.targets.0.sink.agents: agents that listen for others are named at the targets of all",
        ),
    ],
)
def test_what_cannot_be_on_chosen_agents(sink: str, more: str, words: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        written(sink, more)
    assert words in str(refused.value)


def test_the_sinks_of_another_agent_may_close_first() -> None:
    more = "close: target\ntls: {verify: false}\nprotocol: echo\n"
    assert written("{agents: [c], tls: true}", more).targets[0].agents == ("c",)
