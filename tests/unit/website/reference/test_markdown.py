"""Values stay what they are in Markdown, read by a renderer of it."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from website.check import of_host
from website.reference import markdown


@pytest.mark.parametrize(
    "text",
    ["a_b __c__ _d_ e_", "*a* ** b", "<b>x</b> 1 <= 2", r"C:\*", "[a](b) [c][d] [default: 5]", "{target} a `b_c` d"],
)
def test_plain_text_is_read_as_it_was_written(text: str) -> None:
    seen = of_host(markdown.plain(text))
    assert seen.text == text.replace(" ", "").replace("`", "")
    assert not seen.counts


def test_spans_of_code_stay_code() -> None:
    assert markdown.plain("`a_*` *b*") == r"`a_*` \*b\*"
    assert markdown.plain("ip_local_port_range") == "ip_local_port_range"


@pytest.mark.parametrize("text", ["a", "a`b", "``a``", "a|b"])
def test_code_is_read_as_it_was_written(text: str) -> None:
    assert f"<code>{text}</code>" in MarkdownIt().render(markdown.code(text))


def test_a_table_has_a_row_for_each() -> None:
    made = markdown.table(("a", "b"), [("1", "x|y"), ("2\n3", "`p|q`")])
    assert made == "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| 2 3 | `p\\|q` |\n"
    seen = of_host(made)
    assert (seen.counts["tr"], seen.counts["td"]) == (3, 4)
    assert "p|q" in seen.text


def test_a_block_of_code_has_its_language() -> None:
    assert markdown.fenced("a\n", "yaml") == "```yaml\na\n```\n"
    assert markdown.codes([1, "b"]) == "`1`, `b`"
