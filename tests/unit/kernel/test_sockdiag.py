"""Lists of sockets: a kernel's answers, every mixture of messages packed by hand, and a kernel that misbehaves."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.errors import HostError
from loadgen.kernel import sockdiag
from loadgen.kernel.sockdiag import ALL, SOCKET, TUPLES, Extension, Reader, Sockets, TcpState, mask, parse

NETLINK: Final = Path(__file__).parents[2] / "data" / "netlink" / "linux-6.18"
#: The first that a reader uses, and what the recorded answers carry.
SEQUENCE: Final = 0x5D1A6000
ERROR, DONE, BY_FAMILY = 2, 3, 20
MULTI, INTERRUPTED = 0x2, 0x10


def recorded(name: str) -> bytes:
    return (NETLINK / f"{name}.bin").read_bytes()


def four_tuples(sockets: Sockets) -> list[tuple[TcpState, str, str]]:
    """Return each socket as `ss -n` prints it."""
    return sorted((TcpState(row["state"]), end(row, "source"), end(row, "destination")) for row in sockets)


def end(row: Any, name: str) -> str:
    size = 4 if row["family"] == socket.AF_INET else 16
    return f"{socket.inet_ntop(int(row['family']), row[name].tobytes()[:size])} {row[f'{name}_port']}"


# --- a kernel's answers


def test_every_kind_of_ipv4_socket() -> None:
    answer = parse(recorded("tcp4"), SEQUENCE)
    assert answer.done
    assert not answer.interrupted
    assert answer.errno == 0
    assert four_tuples(answer.sockets) == [
        (TcpState.ESTABLISHED, "127.0.0.1 9000", "127.0.0.2 40000"),
        (TcpState.ESTABLISHED, "127.0.0.2 40000", "127.0.0.1 9000"),
        (TcpState.ESTABLISHED, "127.0.0.4 40003", "127.0.0.1 9001"),
        (TcpState.SYN_RECV, "127.0.0.1 9001", "127.0.0.4 40003"),
        (TcpState.FIN_WAIT2, "127.0.0.2 40002", "127.0.0.1 9000"),
        (TcpState.TIME_WAIT, "127.0.0.3 40001", "127.0.0.1 9000"),
        (TcpState.CLOSE, "127.0.0.5 40004", "0.0.0.0 0"),
        (TcpState.CLOSE_WAIT, "127.0.0.1 9000", "127.0.0.2 40002"),
        (TcpState.LISTEN, "127.0.0.1 9000", "0.0.0.0 0"),
        (TcpState.LISTEN, "127.0.0.1 9001", "0.0.0.0 0"),
    ]


def test_the_other_fields() -> None:
    sockets = parse(recorded("tcp4"), SEQUENCE).sockets
    by_state = {TcpState(row["state"]): row for row in sockets}
    waiting, listening = by_state[TcpState.TIME_WAIT], by_state[TcpState.LISTEN]
    assert (waiting["timer"], waiting["inode"]) == (3, 0)
    assert 50_000 < waiting["expires_ms"] <= 60_000
    assert listening["wqueue"] == 7  # its backlog
    assert listening["inode"] > 0
    assert sockets["rqueue"].tolist().count(5) == 1  # five bytes were sent to a client that did not read them
    assert len(np.unique(sockets["cookie"])) == len(sockets)


def test_ipv6_and_mapped_ipv4() -> None:
    sockets = parse(recorded("tcp6"), SEQUENCE).sockets
    mapped = sockdiag.is_mapped(sockets)
    assert four_tuples(sockets[mapped]) == [
        (TcpState.ESTABLISHED, "::ffff:127.0.0.1 9002", "::ffff:127.0.0.6 40006"),
        (TcpState.ESTABLISHED, "::ffff:127.0.0.6 40006", "::ffff:127.0.0.1 9002"),
    ]
    assert four_tuples(sockets[~mapped]) == [
        (TcpState.ESTABLISHED, "::1 40005", "::1 9002"),
        (TcpState.ESTABLISHED, "::1 9002", "::1 40005"),
        (TcpState.LISTEN, ":: 9002", ":: 0"),
    ]
    assert not sockdiag.is_mapped(parse(recorded("tcp4"), SEQUENCE).sockets).any()


def test_udp() -> None:
    assert four_tuples(parse(recorded("udp4"), SEQUENCE).sockets) == [
        (TcpState.ESTABLISHED, "127.0.0.7 40007", "127.0.0.1 9003"),
        (TcpState.CLOSE, "127.0.0.1 9003", "0.0.0.0 0"),
    ]


def test_an_extension_is_an_attribute() -> None:
    inet_diag_cong = 4
    answer = parse(recorded("tcp4-congestion"), SEQUENCE, attributes=True)
    assert [attributes[inet_diag_cong] for attributes in answer.attributes] == [b"bbr\0"]
    assert parse(recorded("tcp4-congestion"), SEQUENCE).attributes == ()


def test_an_answer_without_sockets() -> None:
    answer = parse(recorded("nothing"), SEQUENCE)
    assert answer.sockets.dtype == SOCKET
    assert (answer.sockets.size, answer.done, answer.errno) == (0, True, 0)


@pytest.mark.parametrize(("name", "errno"), [("no-such-protocol", 2), ("no-such-family", 22)])
def test_a_refusal_comes_in_either_kind_of_message(name: str, errno: int) -> None:
    assert parse(recorded(name), SEQUENCE).errno == errno


# --- any messages


def message(kind: int, payload: bytes, *, flags: int = MULTI, sequence: int = SEQUENCE) -> bytes:
    data = struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 4711) + payload
    return data + bytes(-len(data) % 4)


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


#: Anything, and the mark by which messages are found where none begins.
bodies = st.binary(max_size=40) | st.integers(1, 6).map(lambda times: struct.pack("=I", SEQUENCE) * times)
#: A family and a state that there are, and anything behind them.
rows = st.builds(
    lambda family, state, rest: bytes((family, state)) + rest,
    st.sampled_from((socket.AF_INET, socket.AF_INET6)),
    st.integers(1, 13),
    st.binary(min_size=SOCKET.itemsize - 2, max_size=SOCKET.itemsize - 2)
    | st.just(struct.pack("=18I", *[SEQUENCE] * 18)[2:]),
)
attribute_lists = st.dictionaries(st.integers(1, 30), bodies, max_size=4)
foreign = st.builds(
    message, st.sampled_from([1, ERROR, DONE, BY_FAMILY]), bodies, sequence=st.integers(0, SEQUENCE - 1)
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, list[tuple[bytes, dict[int, bytes]]]]:
    """Generate a buffer, and the sockets with their attributes in it."""
    parts, listed = [], []
    for _ in range(draw(st.integers(0, 12))):
        if draw(st.integers(0, 5)):
            row, attributes = draw(rows), draw(attribute_lists)
            listed.append((row, attributes))
            parts.append(message(BY_FAMILY, row + b"".join(attribute(*item) for item in attributes.items())))
        else:
            parts.append(draw(foreign))
    return b"".join(parts), listed


@given(answers(), st.booleans())
def test_parsing_reverses_packing(packed: tuple[bytes, list[tuple[bytes, dict[int, bytes]]]], end: bool) -> None:
    data, listed = packed
    answer = parse(data + message(DONE, bytes(4)) * end, SEQUENCE, attributes=True)
    assert answer.sockets.tobytes() == b"".join(row for row, _ in listed)
    assert list(answer.attributes) == [attributes for _, attributes in listed]
    assert (answer.done, answer.errno, answer.interrupted) == (end, 0, False)


@given(answers(), st.data())
def test_a_truncated_buffer_is_an_error(packed: tuple[bytes, object], data: st.DataObject) -> None:
    whole = packed[0] + message(BY_FAMILY, bytes((2, 1)) + bytes(SOCKET.itemsize - 2))
    size = len(whole) - 4 * data.draw(st.integers(1, (16 + SOCKET.itemsize) // 4 - 1))
    with pytest.raises(ValueError, match="a message of 88 bytes at byte"):
        parse(whole[:size], SEQUENCE)


@pytest.mark.parametrize(("family", "state", "name"), [(2, 0, "state 0"), (2, 14, "state 14"), (1, 1, "family 1")])
def test_a_socket_that_would_be_taken_for_another_is_an_error(family: int, state: int, name: str) -> None:
    """Counted by state it would be one of the next group; its address could not be written."""
    with pytest.raises(ValueError, match=f"{name}, which this version of loadgen does not know"):
        parse(message(BY_FAMILY, bytes((family, state)) + bytes(SOCKET.itemsize - 2)), SEQUENCE)


def test_a_message_of_length_zero_is_an_error() -> None:
    with pytest.raises(ValueError, match="a message of 0 bytes at byte 88 of 104"):
        parse(message(BY_FAMILY, bytes((2, 1)) + bytes(70)) + bytes(16), SEQUENCE)


@pytest.mark.parametrize(("kind", "size"), [(BY_FAMILY, 68), (DONE, 0), (ERROR, 0)])
def test_a_message_too_short_for_its_type(kind: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"a message of {16 + size} bytes is too short"):
        parse(message(BY_FAMILY, bytes((2, 1)) + bytes(70)) + message(kind, bytes(size)), SEQUENCE)


def test_an_attribute_longer_than_its_message() -> None:
    with pytest.raises(ValueError, match="an attribute of 9 bytes where 8 are left"):
        parse(message(BY_FAMILY, bytes((2, 1)) + bytes(70) + struct.pack("=HHI", 9, 1, 0)), SEQUENCE, attributes=True)


def test_a_list_that_changed_meanwhile_is_flagged() -> None:
    data = message(BY_FAMILY, bytes((2, 1)) + bytes(70), flags=MULTI | INTERRUPTED)
    assert parse(data, SEQUENCE).interrupted
    assert not parse(data, SEQUENCE + 1).interrupted


def test_states_are_counted() -> None:
    sockets = np.zeros(5, SOCKET)
    sockets["state"] = [1, 6, 1, 10, 1]
    assert sockdiag.count_states(sockets) == {TcpState.ESTABLISHED: 3, TcpState.TIME_WAIT: 1, TcpState.LISTEN: 1}
    assert sockdiag.count_states(sockets[:0]) == {}


def test_masks() -> None:
    assert mask(TcpState.ESTABLISHED, TcpState.LISTEN, TcpState.LISTEN) == 0x402
    assert ALL == 0x1FFE
    assert mask(TcpState.LISTEN, TcpState.CLOSE) == ALL & ~TUPLES


# --- the dialogue, with the other end of a pair of sockets as the kernel


class Kernel:
    """Answers that wait to be read; what a netlink socket hands over in one piece is one packet here."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def answers(self, *parts: bytes) -> None:
        for part in parts:
            self._socket.send(part)

    def ends(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def was_asked(self) -> bytes:
        return self._socket.recv(4096)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Reader, Kernel]]:
    """Return a reader with a buffer for some six sockets, and its kernel."""
    monkeypatch.setattr(sockdiag, "_PART_MAX_BYTES", 256)
    monkeypatch.setattr(sockdiag, "_BUFFER_BYTES", 600)
    monkeypatch.setattr(sockdiag, "_TIMEOUT_MS", 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, Reader(ours) as reader:
        yield reader, Kernel(theirs)


def numbered(first: int, count: int) -> Sockets:
    sockets = np.zeros(count, SOCKET)
    sockets["family"], sockets["state"] = socket.AF_INET, TcpState.ESTABLISHED
    sockets["inode"] = range(first, first + count)
    return sockets


def listed(sockets: Sockets, sequence: int = SEQUENCE) -> bytes:
    return b"".join(message(BY_FAMILY, row.tobytes(), sequence=sequence) for row in sockets)


def test_an_answer_in_more_parts_than_the_buffer_holds(pair: tuple[Reader, Kernel]) -> None:
    reader, kernel = pair
    sockets = numbered(1, 40)
    kernel.answers(*(listed(sockets[at : at + 2]) for at in range(0, 40, 2)), message(DONE, bytes(4)))
    dump = reader.dump(families=[socket.AF_INET])
    assert dump.sockets.tobytes() == sockets.tobytes()
    assert not dump.interrupted


def test_the_families_are_requested_one_after_the_other(pair: tuple[Reader, Kernel]) -> None:
    reader, kernel = pair
    kernel.answers(listed(numbered(1, 2)) + message(DONE, bytes(4)))
    with pytest.raises(HostError, match="the kernel paused"):  # the second answer is not there
        reader.dump()
    assert [kernel.was_asked()[16] for _ in range(2)] == [socket.AF_INET, socket.AF_INET6]


def test_the_request_is_an_inet_diag_req_v2(pair: tuple[Reader, Kernel]) -> None:
    reader, kernel = pair
    kernel.answers(message(DONE, bytes(4)))
    reader.dump(
        mask(TcpState.TIME_WAIT),
        families=[socket.AF_INET6],
        source_port=40000,
        destination_port=9000,
        extensions=Extension.INFO | Extension.CONG,
    )
    header = struct.pack("=IHHII", 72, BY_FAMILY, 0x301, SEQUENCE, 0)
    request = struct.pack("=BBBxI", 10, 6, 0b1010, 1 << 6) + struct.pack("!HH44x", 40000, 9000)
    assert kernel.was_asked() == header + request


def test_messages_of_an_earlier_answer_are_skipped(pair: tuple[Reader, Kernel]) -> None:
    reader, kernel = pair
    kernel.answers(
        listed(numbered(7, 2), SEQUENCE - 1) + message(DONE, bytes(4), sequence=SEQUENCE - 1),
        listed(numbered(1, 2)),
        message(DONE, bytes(4)),
    )
    assert reader.dump(families=[socket.AF_INET]).sockets["inode"].tolist() == [1, 2]


def test_interruption_is_passed_on(pair: tuple[Reader, Kernel]) -> None:
    reader, kernel = pair
    kernel.answers(listed(numbered(1, 2)), message(DONE, bytes(4), flags=MULTI | INTERRUPTED))
    assert reader.dump(families=[socket.AF_INET]).interrupted


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (recorded("no-such-protocol"), r"dump .* ENOENT .* modprobe tcp_diag, udp_diag"),
        (recorded("no-such-family"), r"dump .* EINVAL .* sock_diag\(7\)"),
        (message(ERROR, struct.pack("=i", -16) + bytes(16)), r"EBUSY .* use one socket per reader"),
    ],
)
def test_a_refusal_names_errno_and_remedy(pair: tuple[Reader, Kernel], answer: bytes, said: str) -> None:
    reader, kernel = pair
    kernel.answers(answer)
    with pytest.raises(HostError, match=said):
        reader.dump(families=[socket.AF_INET])


def test_a_packet_larger_than_the_buffer_is_an_error(pair: tuple[Reader, Kernel]) -> None:
    reader, kernel = pair
    kernel.answers(listed(numbered(1, 10)))
    with pytest.raises(HostError, match="880 bytes at once, there is room for 256"):
        reader.dump(families=[socket.AF_INET])


def test_a_socket_that_closes(pair: tuple[Reader, Kernel]) -> None:
    reader, kernel = pair
    kernel.ends()
    with pytest.raises(HostError, match="0 bytes at once"):
        reader.dump(families=[socket.AF_INET])


def test_a_kernel_that_cannot_list_bound_sockets_is_an_error(
    pair: tuple[Reader, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, kernel = pair
    monkeypatch.setattr(sockdiag, "lists_bound", lambda: False)
    with pytest.raises(HostError, match=r"Linux 6\.8 does; leave out BOUND"):
        reader.dump(ALL | mask(TcpState.BOUND))
    kernel.answers(message(DONE, bytes(4)))
    assert reader.dump(mask(TcpState.BOUND), protocol=socket.IPPROTO_UDP, families=[socket.AF_INET]).sockets.size == 0


def test_a_process_that_ends_without_sending_its_socket() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(HostError, match="ended early"):
        sockdiag.receive_socket(ours)


@pytest.mark.parametrize("native", [False, True])
def test_sockets_are_selected_as_they_are(native: bool) -> None:
    """Also of a table that numpy has joined, and so turned into the byte order of this machine."""
    table = np.zeros(4, SOCKET)
    table["source_port"] = [1, 2, 258, 40_000]
    joined = np.concatenate([table[:2], table[2:]]) if native else table
    chosen = np.array([True, False, True, True])
    found = sockdiag.selected(joined, chosen)
    assert found["source_port"].tolist() == [1, 258, 40_000]
    assert sockdiag.selected(table, np.ones(4, np.bool_)) is table
