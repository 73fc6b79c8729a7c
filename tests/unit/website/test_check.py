"""A page that is another one on a code host is found, and one that needs the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from website import check

MARKDOWN = "# A\n\nSome `code` and [a](b.md).\n\n- x\n- y\n"
HTML = (
    '<nav><ul><li><a href="c.html">C</a></li></ul></nav><article>\n<h1 id="a">A'
    '<a class="headerlink" href="#a">¶</a></h1>\n<p>Some <code>code</code> and <a href="b.html">a</a>.</p>\n'
    "<ul>\n<li>x</li>\n<li>y</li>\n</ul>\n</article><footer><a>next</a></footer>"
)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """Sources and site of one page."""
    for name, text in (("docs/a.md", MARKDOWN), ("site/a.html", HTML)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return tmp_path


def mistakes(build: Path) -> list[str]:
    return check.mistakes(build / "docs", build / "site")


def test_a_page_that_is_the_same_passes(build: Path) -> None:
    assert mistakes(build) == []


def test_a_title_of_a_block_is_the_sites_own(build: Path) -> None:
    (build / "docs" / "a.md").write_text('```console title="not run: slow"\n$ a\n```\n')
    block = '<pre><span></span><code><span class="gp">$ </span>a\n</code></pre>'
    titled = f'<article><div><span class="filename">not run: slow</span>{block}</div></article>'
    (build / "site" / "a.html").write_text(titled)
    assert mistakes(build) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<li>y</li>", "- y", "1 <li> instead of 2; leave a line empty before a list"),
        ("<code>code", "<code>c\\ode", r"'ASomec\\odeanda.xy' instead of 'ASomecodeanda.xy'"),
        ("</ul>\n</article>", "</ul></article>", ""),
        ("xy", "x", ""),
        ("<nav>", "<nav><script src='https://example.org/a.js'></script>", "loads https://example.org/a.js"),
        ("<nav>", "<link rel=stylesheet href='//example.org/a.css'><nav>", "loads //example.org/a.css"),
    ],
)
def test_a_difference_is_named(build: Path, old: str, new: str, said: str) -> None:
    (build / "site" / "a.html").write_text(HTML.replace(old, new))
    found = mistakes(build)
    assert len(found) == bool(said)
    assert all(line.startswith("a.md: ") and said in line for line in found)


def test_a_text_that_ends_early_is_named(build: Path) -> None:
    (build / "site" / "a.html").write_text(HTML.replace("<li>y</li>", "<li></li>"))
    assert mistakes(build) == [
        "a.md: another text in the site than on a code host: 'ASomecodeanda.x' instead of 'ASomecodeanda.xy'"
    ]


def test_a_page_that_is_missing_is_named(build: Path) -> None:
    (build / "site" / "a.html").unlink()
    assert mistakes(build) == ["a.md: not rendered as a.html"]


def test_no_pages_are_a_mistake(tmp_path: Path) -> None:
    assert check.mistakes(tmp_path, tmp_path) == [f"{tmp_path}: no pages"]
