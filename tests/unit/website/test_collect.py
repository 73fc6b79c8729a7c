"""The site has every page, what they link to, and nothing that is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from website import collect, links

CHECKOUT: Final = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return collect.sources(CHECKOUT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository with all that is always there."""
    files = {
        "README.md": "# one\n\n**One.**\n\n[all](docs/README.md)\n",
        "CHANGELOG.md": "# Changelog\n",
        "SECURITY.md": "# Security\n",
        "docs/README.md": "# Pages\n\n| first | |\n|---|---|\n| [nat.md](nat.md) | behind a gateway |\n",
        "docs/nat.md": "# NAT\n",
        "scenarios/a.yaml": "name: a\n",
        "website/assets/site.css": "",
        "website/assets/iframe-worker/iframe-worker.js": "",
        "website/assets/iframe-worker/LICENSE": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_page_and_scenario_is_there(made: dict[str, bytes]) -> None:
    pages = {f"{path.relative_to(CHECKOUT / 'docs')}" for path in (CHECKOUT / "docs").rglob("*.md")} - {"README.md"}
    scenarios = {f"scenarios/{path.name}.md" for path in (CHECKOUT / "scenarios").glob("*.yaml")}
    assert pages | scenarios | {"index.md", "pages.md", "changelog.md", "llms.txt", "reference/limits.md"} <= set(made)
    assert b"name: wall-28k" in made["scenarios/wall-28k.yaml.md"]


def test_every_link_between_pages_has_its_file(made: dict[str, bytes]) -> None:
    """Those that only the site has, too."""
    for place, content in made.items():
        if place.endswith(".md"):
            for target in links.targets(content.decode()):
                file = links.file_of(target, place)
                assert file is None or file in made, f"{place}: {target}"


def test_a_source_becomes_a_page_with_a_fence_around_it(root: Path) -> None:
    (root / "scenarios" / "a.yaml").write_text('description: "\n  ```` in it"\n')
    page = collect.sources(root)["scenarios/a.yaml.md"].decode()
    assert page.startswith("# scenarios/a.yaml\n")
    assert '`````yaml\ndescription: "\n  ```` in it"\n`````\n' in page


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[a](no.md)", "docs/nat.md: link to no.md, which is no file"),
        ("[a](../docs)", "docs/nat.md: link to ../docs, which is no file"),
        ("[a](../a.py)", "docs/nat.md: link to ../a.py, which is not in the site"),
        ("[a](../../a.md)", "docs/nat.md: link to ../../a.md, which is not in the site"),
        ("[a](http://example.org)", "docs/nat.md: link to http://example.org: write https://"),
    ],
)
def test_a_link_that_is_wrong_is_named(root: Path, link: str, said: str) -> None:
    (root / "a.py").touch()
    (root.parent / "a.md").touch()
    (root / "docs" / "nat.md").write_text(f"# NAT\n\n{link} [twice](nowhere.md)\n")
    with pytest.raises(collect.SiteError) as caught:
        collect.sources(root)
    first, second = str(caught.value).splitlines()
    assert first.startswith(said)
    assert second == "docs/nat.md: link to nowhere.md, which is no file"


def test_a_linked_file_comes_with_the_page(root: Path) -> None:
    for name in ("packaging/unit.service", "docs/images/a.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"[Unit]\n")
    (root / "docs" / "nat.md").write_text("# NAT\n\n[a](../packaging/unit.service) ![b](images/a.png)\n")
    made = collect.sources(root)
    assert made["images/a.png"] == b"[Unit]\n"
    assert b"```ini\n[Unit]\n```" in made["packaging/unit.service.md"]
    assert made["nat.md"] == b"# NAT\n\n[a](packaging/unit.service.md) ![b](images/a.png)\n"


def test_writing_touches_only_what_differs(tmp_path: Path) -> None:
    assert collect.write({"a.md": b"1", "b/c.md": b"2"}, tmp_path) == (2, 0)
    before = (tmp_path / "a.md").stat().st_mtime_ns
    assert collect.write({"a.md": b"1", "d.md": b"3"}, tmp_path) == (1, 1)
    assert (tmp_path / "a.md").stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.md", "d.md"]
