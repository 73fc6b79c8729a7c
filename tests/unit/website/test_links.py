"""Links are found outside of code, lead to the same file in the site, and have a form that a browser can follow."""

from __future__ import annotations

import pytest

from website import links

TEXT = """\
See [nat](nat.md#a-heading), `[code](no.md)`, ``a ` [code](no.md)``, [two
lines](../README.md) and [![picture](images/report.png)](images/report.png).

```console
$ echo [no](no.md)
```

- item

    ```yaml
    [no](no.md)
    ```

[`span` in it](https://example.org/a_(b)) [titled](live.md "a title") [here](#below)
"""


def test_links_are_found_and_code_has_none() -> None:
    expected = ["nat.md#a-heading", "../README.md", "images/report.png", "images/report.png"]
    expected += ["https://example.org/a_(b)", "live.md", "#below"]
    assert links.targets(TEXT) == expected


def test_what_is_no_link_stays() -> None:
    assert links.replaced(TEXT, lambda target: target) == TEXT
    assert links.replaced('`[a](b)` [a](b "c")', str.upper) == '`[a](b)` [a](B "c")'


@pytest.mark.parametrize(
    ("target", "page", "file"),
    [
        ("nat.md", "docs/live.md", "docs/nat.md"),
        ("../README.md#use", "docs/live.md", "README.md"),
        ("docs/nat.md", "README.md", "docs/nat.md"),
        ("../../secret", "docs/live.md", "../secret"),
        ("#below", "docs/live.md", None),
        ("https://example.org/", "docs/live.md", None),
    ],
)
def test_a_link_leads_to_a_file(target: str, page: str, file: str | None) -> None:
    assert links.file_of(target, page) == file


def test_links_lead_to_the_same_file_in_the_site() -> None:
    text = "[a](nat.md#b) [c](../README.md) [d](../scenarios/x.yaml) [e](https://example.org/) [f](#g)"
    assert links.for_site(text, "docs/decisions/1.md") == (
        "[a](nat.md#b) [c](../pages.md) [d](../scenarios/x.yaml) [e](https://example.org/) [f](#g)"
    ).replace("../scenarios/x.yaml", "../scenarios/x.yaml.md")
    assert links.for_site("[a](docs/nat.md) [b](docs/README.md)", "README.md") == "[a](nat.md) [b](pages.md)"
    deep = "[a](../../docs/nat.md) [b](lab.py)"
    assert links.for_site(deep, "examples/x/README.md") == "[a](../../nat.md) [b](lab.py.md)"


def test_a_link_out_of_the_site_is_refused() -> None:
    with pytest.raises(KeyError, match=r"errors\.py"):
        links.for_site("[a](../loadgen/errors.py)", "docs/nat.md")


@pytest.mark.parametrize(
    ("target", "mistake"),
    [
        ("https://man7.org/linux/man-pages/man7/capabilities.7.html", None),
        ("https://example.org/a?b=c#d", None),
        ("http://example.org/", "write https://"),
        ("mailto:a@example.org", "write https://"),
        ("https://127.0.0.1/", "write the name of a host"),
        ("https:///path", "write the name of a host"),
        ("https://example/", "write the name of a host"),
        ("https://me@example.org/", "leave user and port out"),
        ("https://example.org:8443/", "leave user and port out"),
        ("https://example.org:port/", "Port could not be cast to integer value as 'port'"),
        ("https://example.org/a.", "the full stop or comma at its end is no part of it"),
    ],
)
def test_the_form_of_a_link_to_another_site(target: str, mistake: str | None) -> None:
    assert links.mistake(target) == mistake
