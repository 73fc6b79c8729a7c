"""What is read out of a page: its blocks, what marks one as not run, exit codes, files; and what would go unseen."""

from __future__ import annotations

import shutil

import pytest

from tests.command_blocks import Block, Step, blocks, facts, files, missing_programs, to_run

FENCE = "```"


def only(text: str) -> Block:
    """The one block of a page."""
    (block,) = blocks(text)
    return block


def page(code: str, fence: str = "console", above: str = "") -> str:
    """A page with one block."""
    return f"# Title\n\n{above}{FENCE}{fence}\n{code}{FENCE}\n\nText.\n"


def test_commands_and_the_lines_below_them() -> None:
    block = only(page("$ a --x \\\n    --y\nout\nmore\n# b   # as root\n"))
    assert block.line == 3
    assert [(step.line, step.shown) for step in block.steps] == [
        ("a --x \\\n    --y", "out\nmore\n"),
        ("b   # as root", ""),
    ]


def test_a_script_is_one_step() -> None:
    block = only(page("for x in a b; do\n    echo $x\ndone\n", "bash"))
    assert block.steps == (Step("for x in a b; do\n    echo $x\ndone"),)


def test_a_block_inside_a_list_loses_its_indent() -> None:
    assert only(f"1. Do\n\n   {FENCE}console\n   $ a\n   out\n   {FENCE}\n").steps == (Step("a", "out\n"),)


def test_a_title_says_that_a_block_is_not_run_and_why() -> None:
    block = only(page("$ a\n", 'console title="not run: needs two hosts"'))
    assert block.reason == "needs two hosts"
    assert to_run([block]) == []


def test_a_comment_says_that_a_command_is_not_run_and_why() -> None:
    block = only(page("$ a     # of a container; not run: needs one\n$ b\n"))
    assert [step.reason for step in block.steps] == ["needs one", ""]
    assert [step.line for step in to_run([block])] == ["b"]


def test_comments_above_prepare_a_block_or_name_its_test() -> None:
    block = only(page("$ a\n", above="<!-- before: b > c -->\n<!-- before: d -->\n"))
    assert block.before == ("b > c", "d")
    assert [step.line for step in to_run([block])] == ["b > c", "d", "a"]
    elsewhere = only(page("$ a\n", above="<!-- run by tests/e2e/test_x.py -->\n"))
    assert elsewhere.run_by == "tests/e2e/test_x.py"
    assert to_run([elsewhere]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (page("$ a\n", 'console title="an example"'), "line 3: behind the language"),
        (page("$ a\n", 'console title="not run: "'), "line 3: behind the language"),
        (page("$ a\n", "console linenums"), "line 3: behind the language"),
        (page("$ a\n", "shell"), "line 3: behind the language"),
        (page("only output\n"), "line 3: no command"),
        (page("\n", "sh"), "line 3: no command"),
        (page("$ a\n", above="<!-- not run -->\n"), "line 4: above it"),
    ],
)
def test_a_block_that_would_go_unseen_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blocks(text)


@pytest.mark.parametrize(
    ("code", "codes"),
    [
        ("$ a\n", {0}),
        ("$ a      # exit code 99\n", {99}),
        ("$ a      # exit code 99 when anything got worse\n", {0, 99}),
        ("$ a      # until Ctrl-C\n", {0, 130}),
        ("$ a\nout\n$ echo $?\n3\n", {3}),
        ("$ a &\n", {0, 130, 143}),
        ("$ a &    # exit code 99\n", {0, 99, 130, 143}),
    ],
)
def test_exit_codes_that_are_right(code: str, codes: set[int]) -> None:
    assert only(page(code)).steps[0].codes == codes


def test_a_listener_in_the_background_is_waited_for() -> None:
    assert Step("loadgen sink 127.0.0.1:9000 [::1]:9000 &   # it").listens_at == ("127.0.0.1", "9000")
    assert Step("loadgen watch --exporter 127.0.0.1:9435 &").listens_at == ("127.0.0.1", "9435")
    assert Step("loadgen sink 127.0.0.1:9000   # until Ctrl-C").listens_at is None
    assert Step("loadgen agent --coordinator tcp://127.0.0.1:9786 &").listens_at is None


def test_figures_of_the_machine_are_no_facts() -> None:
    assert facts("28,232 of 28,500 at 20,010/s in 2 s, after 9.40 us, +14 %: connect EADDRNOTAVAIL") == {
        *("28,232", "28,500", "EADDRNOTAVAIL"),
    }


def test_files_of_a_page() -> None:
    text = f"{FENCE}yaml\n# a.yaml\nname: a\n{FENCE}\n{FENCE}\n# b.cfg\nc\n{FENCE}\n"
    text += f"<!-- d.log -->\n{FENCE}text\ne\n{FENCE}\n"
    assert files(text + f"{FENCE}yaml\nname: part\n{FENCE}\n") == {
        "a.yaml": "# a.yaml\nname: a\n",
        "b.cfg": "# b.cfg\nc\n",
        "d.log": "e\n",
    }


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    steps = [Step("nginx -c nginx.conf &"), Step("loadgen run haproxy.yaml   # not with curl"), Step("a | jq .b")]
    assert missing_programs(steps) == "needs jq, nginx: apt install jq nginx-light"
    assert missing_programs([Step("loadgen trace -- ./a")]) == "needs strace: apt install strace"
    assert missing_programs([Step("loadgen plan a.yaml")]) == ""
