"""Links of a page in Markdown: found, rewritten for the site, and looked at where they lead elsewhere.

Links are inline, `[text](target)`; what stands in code is none. Nothing is asked of the network: of a link to another
site only the form is checked.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from website import tree

#: A block of code, a span of code, or the target of a link.
_CODE_OR_LINK: Final = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}).*?^(?P=indent)(?P=fence)[^\n]*$"
    r"|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
    r"|(?P<open>\]\()(?P<target>[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?P<close>(?:\s+\"[^\"]*\")?\))",
    re.MULTILINE | re.DOTALL,
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def replaced(text: str, change: Callable[[str], str]) -> str:
    """Return the text of a page with the target of each link changed."""

    def one(match: re.Match[str]) -> str:
        if match["open"] is None:
            return match[0]
        return f"{match['open']}{change(match['target'])}{match['close']}"

    return _CODE_OR_LINK.sub(one, text)


def targets(text: str) -> list[str]:
    """Return the targets of all links of a page, in their order."""
    found: list[str] = []

    def one(target: str) -> str:
        found.append(target)
        return target

    replaced(text, one)
    return found


def is_external(target: str) -> bool:
    """Return True if a target has a scheme."""
    return bool(_SCHEME.match(target))


def file_of(target: str, page: str) -> str | None:
    """Return the file of the repository that a link leads to; None: a place in the page itself, or another site.

    page: the page with the link, relative to the root of the repository. Above that root the result begins with "..".
    """
    path = target.partition("#")[0]
    if is_external(target) or not path:
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def mistake(target: str) -> str | None:
    """Return what is wrong with the form of a link to another site; None: nothing."""
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme != "https":
        return "write https://"
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", parts.hostname or ""):
        return "write the name of a host"
    if parts.username is not None or port is not None:
        return "leave user and port out"
    if re.search(r"[.,;:]$", target):
        return "the full stop or comma at its end is no part of it"
    return None


def for_site(text: str, page: str) -> str:
    """Return the text of a page of the repository with its links as the site needs them.

    Raises: KeyError with the target of a link that has no place in the site.
    """
    here = tree.place(page)
    if here is None:
        raise KeyError(page)

    def one(target: str) -> str:
        file = file_of(target, page)
        if file is None:
            return target
        there = tree.place(file)
        if there is None:
            raise KeyError(target)
        _, mark, fragment = target.partition("#")
        return posixpath.relpath(there, posixpath.dirname(here) or ".") + mark + fragment

    return replaced(text, one)
