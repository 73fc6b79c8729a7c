"""What commands do when their reader leaves."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from loadgen import errors
from loadgen.cli import main, streams
from loadgen.views import terminal
from loadgen.views.progress import ProgressStyle

_WRITES_ON = """
import sys
from loadgen.cli.streams import console, output, reader_may_leave
sys.stdout = output(sys.stdout)
with reader_may_leave():
    for number in range(100_000):
        {write}
print("unseen")
"""


@pytest.mark.parametrize("write", ["print(number)", "console().print(number)"])
def test_a_reader_who_leaves_ends_it_quietly(write: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES_ON.format(write=write)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert (process.stderr.read(), process.wait(30)) == (b"", 0)


_COMPLAINS = """
import sys
from loadgen.cli.streams import complain, stderr_may_fail
with stderr_may_fail():
    complain("no room")
    sys.stderr.write("nor here")
    sys.exit(3)
"""


def test_a_stderr_that_takes_nothing_keeps_the_exit_code() -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        assert (
            subprocess.run([sys.executable, "-c", _COMPLAINS], stderr=full, env=buffered, check=False).returncode == 3
        )


def test_a_complaint_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    streams.complain("no room")
    assert capsys.readouterr() == ("", "loadgen: no room\n")


def test_commands_say_the_same_of_exit_codes() -> None:
    assert {command.epilog for command in main.cli.commands.values()} == {streams.EPILOG}


#: A signal every millisecond interrupts a write to a full pipe, which has then taken a part of the text.
_INTERRUPTED = """
import signal, sys
from loadgen.cli import streams
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
stream = streams.output(sys.stdout)
stream.write("a line of a JSON document;" * 20_000)
stream.flush()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_is_written_in_parts_arrives_as_a_whole(unbuffered: str) -> None:
    """With PYTHONUNBUFFERED the text layer has no buffer, and Python drops what one write did not take."""
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout
        arrived = b""
        while part := os.read(process.stdout.fileno(), 4096):  # slowly enough for the pipe to be full
            arrived += part
    assert process.returncode == 0
    assert arrived == b"a line of a JSON document;" * 20_000


def test_a_stream_without_a_descriptor_stays() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    assert streams.output(stream) is stream


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    """Another process that has the same pipe may have set O_NONBLOCK."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.set_blocking(reader, True)
    text = "x" * 1_000_000
    with ThreadPoolExecutor() as pool, open(reader, "rb") as read, open(writer, "w") as pipe:
        arrived = pool.submit(read.read, len(text))
        stream = streams.output(pipe)
        stream.write(text)
        stream.flush()
        assert arrived.result(30) == text.encode()


def test_after_the_first_failure_nothing_is_tried_again() -> None:
    """What stays in a buffer would fail again when Python exits."""
    with open("/dev/full", "w") as full:
        stream = streams.output(full)
        stream.write("a line")
        with pytest.raises(errors.OutputError, match="No space left on device"):
            stream.flush()
        stream.write("another")
        stream.close()


class Tty(io.TextIOWrapper):
    """A terminal of a UTF-8 locale, as Python believes."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def isatty(self) -> bool:
        return True

    def sent(self) -> bytes:
        self.flush()
        return cast(io.BytesIO, self.buffer).getvalue()


def test_a_terminal_of_locale_c_gets_ascii_and_a_file_what_it_got(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    tty = Tty()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(sys, "stderr", tty)
    monkeypatch.setenv("LC_ALL", "C")
    streams.fit_the_locale()
    print("gr\u00fcn", file=sys.stderr)
    assert tty.sent() == b"gr\\xfcn\n"
    assert (tty.encoding, file.encoding) == ("ascii", "utf-8")
    assert streams.console(stderr=True).options.ascii_only


@pytest.mark.parametrize(
    ("environ", "is_terminal", "no_color"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, True, True),
        ({"NO_COLOR": ""}, True, False),
        ({"TERM": "vt100"}, True, True),
        ({"TERM": "vt100", "COLORTERM": "truecolor"}, True, False),
        ({"CI": "true"}, False, False),
        ({"CI": "true", "FORCE_COLOR": "1"}, True, False),
    ],
)
def test_a_console_is_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], is_terminal: bool, no_color: bool
) -> None:
    for name in ("NO_COLOR", "COLORTERM", "CI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color"} | environ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Tty())
    monkeypatch.setattr(terminal, "is_monochrome", lambda term: term == "vt100")
    console = streams.console(stderr=True)
    assert (console.is_terminal, console.no_color) == (is_terminal, no_color)
    assert streams.console(stderr=True, style=ProgressStyle.LIVE).is_terminal
