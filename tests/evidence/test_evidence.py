"""What people paste: for each case, explain says what the evidence proves, and no more."""

from __future__ import annotations

import codecs
import fcntl
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import scenario as scenarios
from tests.incidents.incident import Remedy

from .case import RIGHT, Bulk, Case, Expected, Row, Said, cases, contradictions, explain, wrong

ALL = cases()
SMALL = [case for case in ALL if case.is_small]
REPRODUCED = [case for case in ALL if case.situation.reproduces]
#: No run of such a scenario takes a quarter of it, unless it hangs.
PATIENCE_S = 60.0


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_evidence_is_told_right(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names, stdin = case.prepare(tmp_path)
    said = explain("--json", *case.situation.arguments, *names, stdin=stdin)
    differences = list(wrong(case.situation.right, said))
    assert not differences, "\n".join([case.situation.situation, *differences, shown(said)])
    plain = explain(*case.situation.arguments, *names, stdin=stdin)
    assert plain.code == said.code
    assert harmless(plain.out + plain.message)
    flat = " ".join(plain.out.split())
    assert all(" ".join(finding["text"].split()) in flat for finding in said.findings[:1])


def in_colour(text: bytes) -> bytes:
    """As a terminal logs it, or a Windows editor saves it: colours, CRLF, a byte order mark."""
    lines = [b"\x1b[1;32m" + line + b"\x1b[0m" if line else line for line in text.split(b"\n")]
    return codecs.BOM_UTF8 + b"\r\n".join(lines)


def in_a_mail(text: bytes) -> bytes:
    """As a mail quotes it: prose around, fences, marks of quotation, each line end doubled."""
    lines = [b"Hi all, this is what we see:", b"```", *text.split(b"\n"), b"```", b"Any help is welcome."]
    return b"\n\n".join(b"> " + line for line in lines)


def in_utf_16(text: bytes) -> bytes:
    """As a Windows shell redirects it."""
    return codecs.BOM_UTF16_LE + text.decode(errors="replace").encode("utf-16-le")


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_how_it_was_pasted_does_not_matter(case: Case, tmp_path: Path) -> None:
    names, stdin = case.prepare(tmp_path)
    text = stdin or b"\n".join((tmp_path / name).read_bytes() for name in names)
    plain = named(explain("--json", "-", stdin=text))
    for pasted in (in_colour, in_a_mail, in_utf_16):
        assert named(explain("--json", "-", stdin=pasted(text))) == plain, pasted.__doc__


def named(said: Said) -> list[tuple[object, ...]]:
    """The findings without their words and places."""
    assert said.code == 0, said.message
    keys = ("limit", "confidence", "candidates", "source", "target")
    return [tuple(map(str, (finding[key] for key in keys))) for finding in said.findings]


@given(st.lists(st.sampled_from(SMALL), min_size=2, max_size=3))
@settings(max_examples=40)
def test_several_situations_in_one_text_do_not_contradict_each_other(drawn: list[Case]) -> None:
    texts = []
    with tempfile.TemporaryDirectory() as home:
        for place, case in enumerate(drawn):
            names, stdin = case.prepare(Path(home) / str(place))
            texts.append(stdin or b"\n".join((Path(home) / str(place) / name).read_bytes() for name in names))
    said = explain("--json", "-", stdin=b"\n".join(texts))
    assert said.code == 0, said.message
    assert list(contradictions(said)) == [], [case.name for case in drawn]


def harmless(text: str) -> bool:
    """Return True if a terminal shows a text as it is: no controls, nothing that reorders or hides it."""
    return all(character == "\n" or unicodedata.category(character) not in ("Cc", "Cf") for character in text)


def shown(said: Said) -> str:
    """The answer, for the message of a failed test."""
    keys = ("limit", "confidence", "source", "target", "candidates", "text", "evidence", "refuted", "looks")
    found = [{key: finding[key] for key in keys if finding.get(key)} for finding in said.findings]
    return json.dumps({"findings": found, "missing": said.document.get("missing")}, indent=1, ensure_ascii=False)


@pytest.mark.usefixtures("_network_namespaces")
@pytest.mark.parametrize("case", REPRODUCED, ids=lambda case: case.name)
def test_the_scenario_reproduces_it(
    case: Case, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with the same error of the same call, and with the same limit, as its expectations say."""
    reproduced = case.situation.reproduces
    assert reproduced
    if reproduced.needs and not shutil.which(reproduced.needs):
        pytest.skip(f"needs {reproduced.needs}: apt install {PACKAGES[reproduced.needs]}")
    monkeypatch.chdir(tmp_path)
    names, stdin = case.prepare(tmp_path)
    written = explain("--scenario", "it.yaml", *case.situation.arguments, *names, stdin=stdin)
    assert written.code == 0, written.message
    assert re.search(reproduced.says, " ".join(Path("it.yaml").read_text().split()))
    lab = scenarios.load(Path("it.yaml")).lab
    if lab and (lab.rules or lab.rules_of_sinks) and not shutil.which("nft"):
        pytest.skip(f"needs nft: apt install {PACKAGES['nft']}")
    with (tmp_path_factory.getbasetemp().parent / "evidence.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if reproduced.alone else fcntl.LOCK_SH)
        ran = subprocess.run(
            [sys.executable, "-m", "loadgen", "run", "it.yaml", "--json", "--quiet", "--out", "results"],
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE_S,
        )
    assert ran.returncode == 0, f"{ran.stderr}\n{Path('it.yaml').read_text()}"
    summary = json.loads(ran.stdout)
    assert summary["verdict"]["limit"] == reproduced.limit
    counts = {f"{one['syscall']} {one['errno']}": one["count"] for one in summary["errors"]}
    assert counts.get(reproduced.fails) or not reproduced.fails, counts
    expressions = " ".join(one["expression"] for one in summary["expect"])
    wanted = [*reproduced.fails.split(), *reproduced.probe.split()]
    assert all(word in expressions for word in (wanted if reproduced.probe else [reproduced.limit, *wanted])), (
        expressions
    )


@pytest.mark.parametrize("name", ["memory", "log-lines/host-out-of-files", "prose-only"])
def test_what_a_lab_cannot_have_is_no_scenario(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that says why, and no file: never a scenario of something else."""
    monkeypatch.chdir(tmp_path)
    (case,) = (case for case in ALL if case.name == name)
    names, stdin = case.prepare(tmp_path)
    said = explain("--scenario", "it.yaml", *names, stdin=stdin)
    assert said.code in (2, 3)
    assert said.message
    assert not Path("it.yaml").exists()


def pasted_lines() -> list[str]:
    """Every line that a case has, once."""
    texts = [case.situation.text for case in ALL]
    for case in ALL:
        files = [] if case.situation.text else [path for path in case.path.rglob("*") if path.is_file()]
        texts += [path.read_text(errors="backslashreplace") for path in files if path.name != RIGHT]
    return sorted({line for text in texts for line in text.splitlines()})


pieces_of_lines = st.tuples(st.sampled_from(pasted_lines()), st.integers(0, 80), st.integers(20, 400)).map(
    lambda drawn: drawn[0][max(drawn[1] - 70, 0) : drawn[2]]
)
junk = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(pieces_of_lines | junk, max_size=40))
@settings(max_examples=60)
def test_any_mixture_of_lines_has_an_answer(lines: list[str]) -> None:
    """Lines of all cases in any order, cut anywhere, with anything between them."""
    said = explain("--json", "-", stdin="\n".join(lines).encode(errors="surrogatepass"))
    assert said.code == 0, said.message
    assert list(contradictions(said)) == []


@pytest.mark.parametrize("argument", ["no-such-file", "a-directory", "broken.tar.gz", "unreadable"])
def test_what_cannot_be_read_is_refused_with_its_name(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, no answer: an answer without this file would be a guess."""
    monkeypatch.chdir(tmp_path)
    Path("a-directory").mkdir()
    Path("broken.tar.gz").write_bytes(bytes.fromhex("1f8b0800000000000003") + b"this is no compressed data")
    Path("unreadable").symlink_to("unreadable")
    Path("line.txt").write_text("curl: (7) Failed to connect to 10.0.0.7 port 80: Connection refused\n")
    said = explain("--json", "line.txt", argument)
    assert said.code in (2, 3)
    assert argument in said.message
    assert "\n" not in said.message.strip()
    assert not said.out


def test_nothing_at_all_is_no_evidence() -> None:
    for content in (b"", b"\n\n", b"\0\0\0"):
        said = explain("--json", "-", stdin=content)
        assert (said.code, said.findings) == (0, []), said.message
        assert said.document["missing"]
    assert explain("--json", "/dev/null").findings == []


def test_a_closed_standard_input_is_no_traceback() -> None:
    command = f"{shlex.quote(sys.executable)} -m loadgen explain --json - <&-"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, check=False, text=True, timeout=PATIENCE_S)
    assert "Traceback" not in ran.stderr
    assert ran.returncode in (0, 2, 3)


def test_several_files_are_one_evidence_and_keep_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range in one file, the sockets in another, the line of the log by standard input."""
    monkeypatch.chdir(tmp_path)
    Path("range").write_text("net.ipv4.ip_local_port_range = 40000 40003\n")
    rows = [f"ESTAB 0 0 10.0.0.5:{40000 + n} 10.0.0.7:443\n" for n in range(4)]
    Path("sockets").write_text("State Recv-Q Send-Q Local Address:Port Peer Address:Port\n" + "".join(rows))
    line = b"connect() to 10.0.0.7:443 failed (99: Cannot assign requested address)\n"
    said = explain("--json", "range", "sockets", "-", stdin=line)
    (finding,) = said.findings
    assert (finding["limit"], finding["target"]) == ("four-tuples", "10.0.0.7:443")
    assert {"-:1"} <= {f"{one['file']}:{one['line']}" for one in finding["evidence"]}
    assert {one["file"] for one in said.document["pieces"]} == {"range", "sockets", "-"}


PACKAGES = {"nft": "nftables", "ip": "iproute2"}


def test_every_case_says_what_is_right() -> None:
    assert len({case.name for case in ALL}) == len(ALL) >= 60
    for case in ALL:
        right = case.situation.right
        assert right.limit or right.candidates or right.message or right.text, case.name
        assert case.situation.text or any(case.path.iterdir()), case.name


def test_the_judge_of_answers_finds_what_is_wrong() -> None:
    """So that the tests above have something to compare."""
    finding = {
        "limit": "backlog",
        "confidence": "open",
        "text": "the queue overflowed",
        "source": "",
        "target": "10.0.0.7:80",
        "candidates": ["backlog", "syn-loss"],
        "evidence": [{"text": "69 packets", "file": "a.txt", "line": 3}],
        "refuted": [{"limit": "backlog", "because": "ListenOverflows is 0"}],
        "looks": [],
        "remedies": [{"text": "raise it", "set": {}, "needs": {}, "sysctls": {}, "command": ""}],
    }
    space = {"scope": "pair", "source": "10.0.0.5", "used": 7, "owners": [{"command": "nginx", "sockets": 7}]}
    document = {
        "findings": [finding, {**finding, "limit": "refused", "candidates": [], "looks": ["look"], "refuted": []}],
        "spaces": [space],
        "missing": [],
        "unread": [{"file": "a.txt", "first": 1, "last": 2, "why": ""}],
    }
    said = Said(0, "", "", document)
    right = Expected(
        limit="syn-loss",
        confidence=("certain",),
        candidates=("blackhole",),
        also=("reset",),
        only=True,
        never=("refused",),
        refuted=("conntrack",),
        source="10.0.0.5",
        target="10.0.0.8:80",
        text="lost",
        lines=("a.txt:4",),
        no_remedy=(Remedy(text="raise"),),
        first=Remedy(text="lower"),
        remedies=(Remedy(text="widen"),),
        fullest=Row(used=8),
        spaces=(Row(owner="haproxy"),),
        no_spaces=True,
        first_missing="nstat",
        missing=("sysctl",),
        facts=("spaces.0.used == 8",),
        exit=3,
    )
    # Each of the above, the remedy to be avoided in both findings; named and refuted; open without a look; unread.
    assert len(list(wrong(right, said))) == 21 + 1 + 3
    same = Expected(limit="backlog", unread=("a.txt:1-2",), fullest=Row(used=7, owner="nginx"), target="10.0.0.7:80")
    assert [one.split(":")[0] for one in wrong(same, said)] == [
        "named and refuted",
        "backlog is open, and nothing says what would decide",
    ]
    assert list(wrong(Expected(message="no such file", exit=2), Said(2, "", "a.txt: no such file"))) == []
    assert len(list(wrong(Expected(message="no such file", exit=2), Said(0, "", "")))) == 2
    assert len(list(wrong(Expected(limit="none"), Said(0, "", "")))) == 1


def test_bulk_lines_differ_in_port_and_number() -> None:
    lines = Bulk(4, "{n} 10.0.0.{m}:{port} {hex}", port=80, of=2, each=2).lines()
    assert list(lines) == ["0 10.0.0.1:80 0050", "1 10.0.0.2:80 0050", "2 10.0.0.1:81 0051", "3 10.0.0.2:81 0051"]
