"""The subset of YAML: what is read, what is refused, where, and that nothing takes long."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadgen.errors import ScenarioError
from loadgen.scenario import parse, yaml_document
from loadgen.scenario.yaml_document import Place, printable, read, shown


def refusal(text: str | bytes) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        read(text, "s.yaml")
    assert str(caught.value).isprintable(), "one line, no control characters"
    assert caught.value.file == "s.yaml"
    return caught.value


def test_scalars_follow_the_core_schema_of_yaml_1_2() -> None:
    text = """\
    whole: [0, 12, -3, +4, 100_000, 0x1F, 0o17]
    real: [1.5, -0.5, 1e3, .5, 3.]
    truth: [true, True, TRUE, false]
    text: [yes, no, on, off, y, 1:30, 2001-01-01, 0b1, 1_, '12', "true", 1.2.3.4, ::1]
    block: |
      a
      b
    folded: >
      a
      b
    "quoted key": x # a comment
    """
    assert read(text, "s.yaml").data == {
        "whole": [0, 12, -3, 4, 100_000, 31, 15],
        "real": [1.5, -0.5, 1000.0, 0.5, 3.0],
        "truth": [True, True, True, False],
        "text": ["yes", "no", "on", "off", "y", "1:30", "2001-01-01", "0b1", "1_", "12", "true", "1.2.3.4", "::1"],
        "block": "a\nb\n",
        "folded": "a b\n",
        "quoted key": "x",
    }


def test_every_value_and_key_has_its_place() -> None:
    document = read("a: 1\nb:\n  - c: x\n    d: [7, é, {e: 9}]\n", "s.yaml")
    assert document.place(("a",)) == Place("s.yaml", 1, 4)
    assert document.key_place(("b", 0, "d")) == Place("s.yaml", 4, 5)
    assert document.place(("b", 0, "d", 1)) == Place("s.yaml", 4, 12)
    assert document.place(("b", 0, "d", 2, "e")) == Place("s.yaml", 4, 19)
    assert document.place(("b", 0, "missing", 5)) == document.place(("b", 0)) == Place("s.yaml", 3, 5)


def test_windows_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    document = read("a: 1\r\nb: x\r\n".encode("utf-8-sig"), "s.yaml")
    assert document.data == {"a": 1, "b": "x"}
    assert document.place(("b",)) == Place("s.yaml", 2, 4)


@pytest.mark.parametrize(
    ("text", "line", "column", "hint"),
    [
        ("", 1, 1, "nothing is written here"),
        ("# only a comment\n", 1, 1, "nothing is written here"),
        ("---\n...\n", 2, 1, "no value"),
        ("just text", 1, 1, "a scenario is a mapping"),
        ("- a\n- b", 1, 1, "a scenario is a mapping"),
        ("a: 1\n---\nb: 2", 2, 1, "second document"),
        ("%YAML 1.1\n---\na: 1", 1, 1, "directive"),
        ("a: &x 1", 1, 4, "write the value out"),
        ("a: *x", 1, 4, "write the value out"),
        ("a: &x\nb: *x", 1, 4, "write the value out"),
        ("&x a: 1", 1, 1, "write the value out"),
        ("a: !!python/object:os.system x", 1, 4, "tags"),
        ("a: !foo x", 1, 4, "tags"),
        ("a: ! x", 1, 4, "tags"),
        ("a: !!map {}", 1, 4, "tags"),
        ("!!str a: 1", 1, 1, "tags"),
        ("a: 1\n<<: {b: 2}", 2, 1, "merge keys"),
        ("a: 1\nb: 2\n a: 3", 3, 3, "not valid YAML"),
        ("a: 1\nb: 2\na: 3", 3, 1, 'key "a" is given twice, first at 1:1'),
        ('a: {b: 1, "b": 2}', 1, 11, "first at 1:5"),
        ("1: x", 1, 1, "a key must be text"),
        ("true: x", 1, 1, "a key must be text"),
        ("~: x", 1, 1, "a key must be text"),
        ("[a]: x", 1, 1, "a key must be text"),
        ("? {a: 1}\n: x", 1, 3, "a key must be text"),
        ("a: .nan", 1, 4, "finite"),
        ("a: -.inf", 1, 4, "finite"),
        ("a: 1e999", 1, 4, "too large"),
        ("a: " + "9" * 5000, 1, 4, "too large"),
        ("a: 010", 1, 4, "write 10"),
        ("a:", 1, 1, '"a" has no value'),
        ("a:\n  b: ~", 2, 3, '"b" has no value'),
        ("a: [1, null]", 1, 8, "this item has no value"),
        ("a:\tb", 1, 3, "a tab"),
        ("a: b\n# c\td", 2, 4, "a tab"),
        ("a: b\x07", 1, 5, "U+0007"),
        ("a: b\n\x7f", 2, 1, "U+007F"),
        ("a: b\rc: d", 1, 5, "U+000D"),
        ("a: \x85", 1, 4, "U+0085"),
        ("a: \u2028b", 1, 4, "U+2028"),
        ("a: x\ufeff", 1, 5, "U+FEFF"),
        ("a: \ud800", 1, 4, "U+D800"),
        ("a: x # \u202e", 1, 8, "bidirectional"),
        ("a: \u2066", 1, 4, "bidirectional"),
        ("a: \u200f", 1, 4, "bidirectional"),
        ('a: "\\u202e"', 1, 4, "bidirectional"),
        ('a: "\\e[31m"', 1, 4, "U+001B"),
        ('a: "\\ud800"', 1, 4, "U+D800"),
        ('a: "\\UFFFFFFFF"', 1, 1, "not readable as YAML"),
        ('a: "\\q"', 1, 6, "single quotes"),
        ("a: 'x", 1, 6, "close the quotes"),
        ("a: [1, 2", 1, 9, "close the bracket"),
        ("a: b: c", 1, 5, "quote text"),
        ("a: `x`", 1, 4, "in quotes"),
        ("a: 1\nb", 2, 2, 'write "key: value"'),
        ("a: [::1]:9000", 1, 9, 'in quotes: "[::1]:9000"'),
        (b"a: \xc3\xa9\nb: \xff", 2, 4, "byte 0xff is not UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, 1, "not UTF-8"),
    ],
)
def test_refused(text: str | bytes, line: int, column: int, hint: str) -> None:
    error = refusal(text)
    assert hint in error.message
    assert (error.line, error.column) == (line, column)


def test_twenty_levels_are_read_and_the_next_is_refused() -> None:
    deep = "a: " + "[" * 19 + "]" * 19
    assert read(deep, "s.yaml").data
    error = refusal("a: " + "[" * 20 + "]" * 20)
    assert "nested deeper than 20" in error.message
    assert (error.line, error.column) == (1, 23)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 250_000,
        "{a: " * 60_000,
        "a: " + "- " * 100_000,
        "\n".join(" " * depth + "a:" for depth in range(600)),
        "? " * 100_000,
        "a: [" + "1," * 120_000 + "1]",
        "".join(f"k{number}: 1\n" for number in range(25_000)),
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(100)),
        "a: x\n" * 50_000,
        "---\n" * 60_000,
        "a: '" + "x\n" * 100_000,
        "{" + "a " * 120_000,
        "a: " + "9" * 250_000,
        "a: 1\n" + "#" * 300_000,
        b"a: \xff" + b"x" * 250_000,
    ],
    ids=range(15),
)
def test_text_made_to_hurt_is_refused_soon(text: str | bytes) -> None:
    started = time.process_time()
    error = refusal(text)
    assert time.process_time() - started < 5, "normally below 1.5 s; recursive or quadratic reading takes minutes"
    assert len(str(error)) < 300


def test_the_limit_of_the_size_is_in_bytes() -> None:
    assert read("a: " + "x" * (yaml_document.TEXT_BYTES_MAX - 3), "s.yaml").data
    assert "larger than 256 KiB" in refusal("a: " + "x" * (yaml_document.TEXT_BYTES_MAX - 2)).message
    assert "larger than 256 KiB" in refusal("a: " + "é" * (yaml_document.TEXT_BYTES_MAX // 2)).message


@settings(max_examples=300)
@given(st.text(max_size=300) | st.text("abc:-[]{}&*!|>'\"%@`#?,\\ \n0.~<", max_size=80) | st.binary(max_size=100))
@example('"\\ud800"')
@example("\\UFFFFFFFF")
def test_any_text_is_read_or_refused_and_nothing_else(text: str | bytes) -> None:
    refused: ScenarioError | None = None
    try:
        document = read(text, "s.yaml")
    except ScenarioError as error:
        refused = error
    if refused is None:
        assert json.dumps(document.data, allow_nan=False)
    else:
        assert refused.line >= 1
        assert refused.column >= 1
        assert str(refused).isprintable()


JSON = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé: #{", max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=100)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), JSON, max_size=4))
def test_json_is_read_as_itself(data: dict[str, object]) -> None:
    assert read(json.dumps(data), "s.yaml").data == data


BASE = "n: 1\nlist:\n  - address: a\n    deep: {x: 1}\n  - address: b\nlab: {topology: t}\n"


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("n=2", ("n",), 2),
        ("n=[1, {a: b}]", ("n",), [1, {"a": "b"}]),
        ("list.1.address=127.0.0.1:80", ("list", 1, "address"), "127.0.0.1:80"),
        ('list.0.address="[::1]:80"', ("list", 0, "address"), "[::1]:80"),
        ("list.0={address: c}", ("list", 0), {"address": "c"}),
        ("new.inner.key=x=y", ("new", "inner", "key"), "x=y"),
        ("lab.sysctls.net.ipv4.tcp_tw_reuse=1", ("lab", "sysctls", "net.ipv4.tcp_tw_reuse"), 1),
    ],
)
def test_overrides(setting: str, path: tuple[str | int, ...], value: object) -> None:
    document = read(BASE, "s.yaml")
    document.override(setting)
    found: object = document.data
    for step in path:
        found = found[step]  # type: ignore[index] # plain data, or the test fails
    assert found == value
    assert document.place((*path, "anything", 3)) == Place(f"--set {setting}")
    assert document.key_place(path) == Place(f"--set {setting}")
    assert document.place(("list", 1)).file == "s.yaml"


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        ("a=null", {"lab": {"sysctls": {"net.x": 1}}, "l": [{"d": 1, "e": 2}]}),
        ("a.b= null ", {"a": {"c": 2}, "lab": {"sysctls": {"net.x": 1}}, "l": [{"d": 1, "e": 2}]}),
        ("lab.sysctls.net.x=null", {"a": {"b": 1, "c": 2}, "lab": {"sysctls": {}}, "l": [{"d": 1, "e": 2}]}),
        ("l=null", {"a": {"b": 1, "c": 2}, "lab": {"sysctls": {"net.x": 1}}}),
        ("l.0.d=null", {"a": {"b": 1, "c": 2}, "lab": {"sysctls": {"net.x": 1}}, "l": [{"e": 2}]}),
    ],
)
def test_null_leaves_a_key_out(setting: str, left: object) -> None:
    document = read("a: {b: 1, c: 2}\nlab: {sysctls: {net.x: 1}}\nl: [{d: 1, e: 2}]\n", "s.yaml")
    document.override(setting)
    assert document.data == left


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("", "KEY=VALUE"),
        ("absent=null", "this one is not"),
        ("lab.topology.x=null", "this one is not"),
        ("absent.x=null", "this one is not"),
        ("list.7.x=null", "from 0 to 1"),
        ("n", "KEY=VALUE"),
        ("=1", "KEY is names"),
        ("a..b=1", "KEY is names"),
        (".=1", "KEY is names"),
        ("lab.sysctls.=1", "KEY is names"),
        (".".join("a" * 30) + "=1", "KEY is names"),
        ("n=", "write a value"),
        ("n= ", "write a value"),
        ("n=~", "no value"),
        ("list.0=null", "not an item of a list"),
        ("list.5.x=null", "write an index from 0 to 1"),
        ("n=[1", "close the bracket"),
        ("n=&a 1", "write the value out"),
        ("n=!!int 1", "tags"),
        ("n=.inf", "finite"),
        ("n={a: 1, a: 2}", "twice"),
        ("n=\t1", "a tab"),
        ("n=\u202e", "bidirectional"),
        ("n=1\n---\n2", "second document"),
        ("n=" + "[" * 500, "nested deeper"),
        ("n=[::1]:80", "in quotes"),
        ("n.x=1", "single value"),
        ("list.2.address=1", '"list" is a list of 2; write an index from 0 to 1, not "2"'),
        ("list.-1.address=1", "from 0 to 1"),
        ("list.x=1", "from 0 to 1"),
        ("list.²=1", "from 0 to 1"),
    ],
)
def test_refused_overrides_point_at_the_option(setting: str, hint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(BASE, "s.yaml").override(setting)
    error = caught.value
    assert hint in error.message
    named = setting if len(setting) <= 200 else f"{setting[:197]}..."
    assert (error.file, error.line, error.column) == (f"--set {printable(named)}", 0, 0)
    assert str(error).isprintable()


def test_what_is_shown_is_short_and_printable() -> None:
    assert shown("a\x1b[31m\n") == '"a\\x1b[31m\\n"'
    assert len(shown("x" * 1000)) == 62
    assert shown(12) == "12"


@pytest.mark.parametrize("setting", [b"\xff=1", b"name=\xff", b"lab.sysctls.\xe9=1"])
def test_bytes_of_the_command_line_that_are_not_utf_8_are_named(setting: bytes) -> None:
    """Python keeps them as lone surrogates (PEP 383)."""
    document = read("name: x\n", "s.yaml")
    with pytest.raises(ScenarioError, match=r"byte 0x(FF|E9) is not UTF-8; write the text in UTF-8$") as caught:
        document.override(setting.decode("utf-8", "surrogateescape"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["na\x1bme", "na\u202eme", "\tname"])
def test_a_key_of_the_command_line_has_no_hidden_characters(key: str) -> None:
    with pytest.raises(ScenarioError, match=r"delete it$|a tab") as caught:
        read("name: x\n", "s.yaml").override(f"{key}=1")
    assert str(caught.value).isprintable()


def test_a_long_option_is_not_repeated_before_each_of_its_mistakes() -> None:
    """10,000 mistakes in an option of 64 KiB were 640 MB of text, of which twenty lines are shown."""
    setting = "expect=[" + "lat 0, " * 9_000 + "]"
    with pytest.raises(ScenarioError) as caught:
        parse("name: x\n", "s.yaml", [setting])
    assert len(caught.value.mistakes) > 9_000
    assert max(len(str(mistake)) for mistake in caught.value.mistakes) < 500
    assert caught.value.file == f"--set {setting[:197]}..."
