"""Credentials that are written out in a scenario: found by the names that usually hold them, and masked.

Only the options of `protocol` are looked at, in the scenario itself, in its matrix and in `--set`: nothing else of a
scenario is sent. What is not found here is written as it stands; `${env:NAME}` needs no finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from loadgen.errors import ScenarioError
from loadgen.scenario import references, yaml_document
from loadgen.scenario.yaml_document import Document, Path
from loadgen.secret import MASK, Secret

#: Names of headers, options, and parameters of a query, a form or a JSON body that usually hold credentials, as regular
#: expressions of the whole name, lower-case and with hyphens for underscores.
_NAMES: Final = (
    r"(proxy-)?authorization",  # RFC 9110 11.6.2, 11.7.2
    r"(set-)?cookie2?",  # RFC 6265
    r"(.+-)?(token|secret|password|passwd|passphrase|credentials?)",  # X-Auth-Token, client_secret
    r"(.+-)?api-?key",
    r".+-key",  # X-Functions-Key
    r"(access|id|refresh|auth|session)token|clientsecret|jwt|sessionid|phpsessid|jsessionid|csrf",
    r"(.+-)?signature",
)
#: Besides, names that mean something else as the name of a header or an option.
_PARAMETERS: Final = (r"key", r"sig", r"auth", r"pwd", r"pass", r"code", r"session")
_HOLDS: Final = re.compile("|".join(_NAMES))
_PARAMETER_HOLDS: Final = re.compile("|".join((*_NAMES, *_PARAMETERS)))

#: Places in a text where a value has a name: `?name=value&`, `"name": "value"`, `Name: value` (a request as text, its
#: line breaks as they are written there), and the user and password of a URL.
_IN_TEXT: Final = (
    re.compile(r"(?:^|[?&;\s])(?P<name>[A-Za-z0-9_.-]{1,64})=(?P<value>[^&;#\s\"']+)"),
    re.compile(r'"(?P<name>[A-Za-z0-9_.-]{1,64})"\s{0,8}:\s{0,8}"(?P<value>(?:[^"\\]|\\.)+)"'),
    re.compile(r"(?:^|\n|\\n)(?P<name>[A-Za-z0-9_-]{1,64}): ?(?P<value>[^\r\n\\]+)"),
)
_USER: Final = re.compile(r"://(?P<value>[^/@\s?#]{1,256})@")

_COMMENT: Final = (
    f"# {MASK} stands for a value that looked like a credential and was not written here; put the value, or better\n"
    "# ${env:NAME}, in its place before this file is run again.\n"
)


def masked(text: str, name: str = "") -> tuple[str, tuple[str, ...]]:
    """Return a text with masks in place of credentials, and these. name: of the header or option that it belongs to."""
    if text and _holds(_HOLDS.fullmatch, name) and not references.has_reference(text):
        return MASK, (text,)
    found: list[tuple[int, int]] = []
    for pattern in _IN_TEXT:
        found += [m.span("value") for m in pattern.finditer(text) if _holds(_PARAMETER_HOLDS.fullmatch, m["name"])]
    found += [match.span("value") for match in _USER.finditer(text)]
    shown, parts, end = "", [], 0
    for start, stop in sorted(found):
        if start < end or references.has_reference(text[start:stop]):
            continue
        shown += text[end:start] + MASK
        parts.append(text[start:stop])
        end = stop
    return shown + text[end:], tuple(parts)


def hidden(options: Any) -> tuple[Any, list[tuple[Path, str]]]:
    """Return the options of a protocol with a secret for each text that is filled in or looks like a credential.

    Also the mistakes, each with its place: references without a value, and values that were masked when the file
    was written.
    """
    mistakes: list[tuple[Path, str]] = []
    return _hidden(options, "", (), mistakes), mistakes


def _hidden(value: Any, name: str, path: Path, mistakes: list[tuple[Path, str]]) -> Any:
    if isinstance(value, dict):
        names = filter(references.has_reference, map(str, value))
        mistakes += [((*path, key), "a name cannot be filled in; write it out") for key in names]
        return {key: _hidden(inner, str(key), (*path, str(key)), mistakes) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(inner, name, (*path, index), mistakes) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    shown, credentials = masked(value, name)
    if MASK in credentials:
        message = f"{MASK} stands for a value that was not written to this file; put the value or ${{env:NAME}} here"
        mistakes.append((path, message))
        return value
    try:
        sent, filled_in = references.filled(value)
    except ValueError as error:
        mistakes.append((path, str(error)))
        return value
    parts = (*credentials, *filled_in)
    return Secret(shown, sent, parts) if parts else sent


def kept_value(key: str, value: Any) -> Any:
    """Return the value of a key of the scenario, a dotted path, as it may be written."""
    steps = yaml_document.split_key(key)
    if steps[0] == "matrix" and len(steps) == 2:
        return [kept_value(steps[1], each) for each in value] if isinstance(value, list) else value
    if steps == ["matrix"] and isinstance(value, dict):
        return {inner: kept_value(f"matrix.{inner}", each) for inner, each in value.items()}
    if steps[0] != "protocol":
        return value
    return _each(value, steps[-1], lambda text, name: masked(text, name)[0])


def kept_setting(setting: str) -> str:
    """Return a `KEY=VALUE` of the command line as it may be written."""
    key, equals, text = setting.partition("=")
    if yaml_document.leaves_out(text):
        return setting
    document = Document({})
    try:
        document.override(setting)
    except ScenarioError:
        # No YAML, or no such path: there are no names but those of the key.
        shown = masked(text, key.rpartition(".")[2])[0] if key.startswith(("protocol", "matrix")) else text
        return key + equals + shown
    value = document.data
    for step in yaml_document.split_key(key):
        value = value[step]
    kept = kept_value(key, value)
    return setting if kept == value else f"{key}={json.dumps(kept, ensure_ascii=False)}"


@lru_cache(maxsize=2)  # every cell of a matrix keeps the same text
def kept_text(text: str) -> str:
    """Return a scenario as it may be written: itself, or with masks where it has credentials.

    The rest stays as the user wrote it, unless a credential stands in a comment as well: then all of it is written
    anew, without comments. Raises: ScenarioError if it is not a scenario's text.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    document = yaml_document.read(text, "scenario")
    kept = {key: kept_value(key, value) for key, value in document.data.items()}
    if kept == document.data:
        return text
    result = text
    credentials: set[str] = set()
    for path, (start, end) in sorted(document.spans.items(), key=lambda item: item[1], reverse=True):
        old, new = _at(document.data, path), _at(kept, path)
        if old != new:
            credentials.update(_parts_of(old, path))
            line_break = "\n" if text[start:end].endswith("\n") else ""  # the end of a block scalar
            result = result[:start] + json.dumps(new, ensure_ascii=False) + line_break + result[end:]
    if not _says(result, kept) or any(credential in result for credential in credentials):
        result = json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
    return _COMMENT + result


def shown_text(text: str) -> str:
    """Return the scenario.yaml of a run directory as a page shows it: an older loadgen may have left credentials there.

    Text that is no scenario, as an edited file, stays as it is.
    """
    try:
        return kept_text(text)
    except ScenarioError:
        return text


def _holds(is_one: Callable[[str], re.Match[str] | None], name: str) -> bool:
    return is_one(name.lower().replace("_", "-")) is not None


def _each(value: Any, name: str, change: Callable[[str, str], str]) -> Any:
    """Return a plain value with every text in it changed; a text has the name of the nearest key above it."""
    if isinstance(value, dict):
        return {key: _each(inner, str(key), change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_each(inner, name, change) for inner in value]
    return change(value, name) if isinstance(value, str) else value


def _parts_of(value: str, path: Path) -> Iterator[str]:
    """Yield the credentials in the text at a path of the document."""
    names = [step for step in path if isinstance(step, str)]
    yield from masked(value, yaml_document.split_key(names[-1])[-1])[1]


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _says(text: str, data: object) -> bool:
    """Return whether a text is read as this data."""
    try:
        return yaml_document.read(text, "scenario").data == data
    except ScenarioError:
        return False
