"""The number that is left while others come and go, against a namespace of plain sets and a clock that is set."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.errors import HostError, IncompleteError
from loadgen.model import Endpoint, PortRange
from loadgen.occupy.account import ports_mask
from loadgen.occupy.holders import TakeResult
from loadgen.occupy.occupation import INTERVAL_S, REFUSED_S, SHARE, Occupation, OccupyStatus
from loadgen.occupy.reading import PortReading
from loadgen.occupy.request import TIME_WAIT_S, OccupyRequest, OccupyWay
from loadgen.occupy.taking import PortRefusal

LOW, HIGH = 40_000, 40_009
RANGE = range(LOW, HIGH + 1)
TARGET = Endpoint("127.0.0.1", 9000)
NONE = ports_mask()


class Kernel:
    """Ports of others, ports of others that no table shows, and ours; it is reader, holders and clock in one."""

    def __init__(self) -> None:
        self.others: set[int] = set()
        self.unlisted: set[int] = set()
        self.ours: set[int] = set()
        self.closing: set[int] = set()
        self.listening: set[int] = set()
        self.refuses = 0
        self.tried: list[int] = []
        self.now_s = 0.0
        self.read_s = 0.0
        self.gone = False

    def read(self) -> PortReading:
        self.now_s += self.read_s
        present = self.ours | self.closing
        return PortReading(
            ports=PortRange(LOW, HIGH),
            reserved=0,
            offered=ports_mask(RANGE),
            blocked=ports_mask(self.others | present),
            present=ports_mask(present),
            listening=ports_mask(self.listening),
            shared=NONE,
            spared=NONE,
            doubtful=NONE,
            time_wait=ports_mask(self.closing),
        )

    def take(self, ports: Sequence[int]) -> TakeResult:
        self.tried += ports
        result = TakeResult()
        for port in ports:
            if port in self.others | self.unlisted:
                result.refused.append(PortRefusal(port, "bind", 98))
            elif self.refuses:
                result.refused.append(PortRefusal(port, "connect", self.refuses))
            else:
                result.taken.append(port)
                self.ours.add(port)
        return result

    def release(self, ports: Sequence[int]) -> None:
        self.ours -= set(ports)

    def require_all(self) -> None:
        if self.gone:
            raise IncompleteError("gone")

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def occupation(self, request: OccupyRequest) -> Occupation:
        return Occupation(request, self, self, clock=self.clock, sleep=self.sleep)

    @property
    def left(self) -> int:
        return len(set(RANGE) - self.others - self.unlisted - self.ours - self.closing)


ports = st.sets(st.sampled_from(RANGE))


@given(st.integers(0, 10), st.lists(ports, min_size=1, max_size=6), ports)
def test_the_number_left_is_kept_whatever_others_do(leave: int, steps: list[set[int]], unlisted: set[int]) -> None:
    kernel = Kernel()
    kernel.unlisted = unlisted
    occupation = kernel.occupation(OccupyRequest(leave))
    occupation.begin()
    for others in steps:
        kernel.others = others - kernel.ours  # no other program gets a port of ours
        status = occupation.look()
        status = occupation.look()  # the second corrects what was refused at the first
        assert status.held == len(kernel.ours)
        assert not kernel.ours & (kernel.others | kernel.unlisted)
        room = len(set(RANGE) - kernel.others)
        assert status.left == min(leave, room) or status.held == 0
        if not unlisted:
            assert kernel.left == min(leave, room)


def test_a_look_that_changes_nothing_is_no_adjustment() -> None:
    kernel = Kernel()
    occupation = kernel.occupation(OccupyRequest(3))
    assert occupation.begin() == OccupyStatus(left=3, held=7, adjustments=0)
    assert occupation.look() == OccupyStatus(left=3, held=7, adjustments=0)
    kernel.others = {next(port for port in RANGE if port not in kernel.ours)}
    assert occupation.look() == OccupyStatus(left=3, held=6, adjustments=1)
    kernel.others = set()
    assert occupation.look() == OccupyStatus(left=3, held=7, adjustments=2)
    assert (occupation.left_min, occupation.left_max, occupation.held_max) == (3, 3, 7)


def test_a_port_that_is_refused_is_taken_by_another_and_tried_again_later() -> None:
    kernel = Kernel()
    kernel.unlisted = {LOW}
    occupation = kernel.occupation(OccupyRequest(0))
    assert occupation.begin() == OccupyStatus(left=0, held=9, adjustments=0)
    tried = len(kernel.tried)
    occupation.look()
    assert len(kernel.tried) == tried
    kernel.now_s += REFUSED_S
    kernel.unlisted = set()
    assert occupation.look() == OccupyStatus(left=0, held=10, adjustments=1)


def test_a_target_that_refuses_is_an_error_before_the_rest_is_tried() -> None:
    kernel = Kernel()
    kernel.refuses = 111
    with pytest.raises(HostError, match=r"does not accept connections from here: connect ECONNREFUSED"):
        kernel.occupation(OccupyRequest(0, OccupyWay.CONNECTIONS, target=TARGET)).begin()
    assert len(kernel.tried) == 1


def test_a_target_that_refuses_later_is_left_alone_for_a_while() -> None:
    kernel = Kernel()
    occupation = kernel.occupation(OccupyRequest(0, OccupyWay.CONNECTIONS, target=TARGET))
    occupation.begin()
    kernel.refuses = 111
    kernel.ours -= {LOW, LOW + 1}  # reset by the target
    assert occupation.look() == OccupyStatus(left=2, held=8, adjustments=0)
    tried = len(kernel.tried)
    kernel.now_s += REFUSED_S
    assert occupation.look().left == 2
    assert len(kernel.tried) == tried + 2
    assert occupation.look().left == 2
    assert len(kernel.tried) == tried + 2
    assert occupation.failures == {("connect", "ECONNREFUSED"): 2}


def test_time_wait_is_made_anew_and_never_released() -> None:
    kernel = Kernel()
    kernel.closing = kernel.ours  # what is taken is in TIME-WAIT at once
    occupation = kernel.occupation(OccupyRequest(2, OccupyWay.TIME_WAIT, target=TARGET))
    assert occupation.begin().held == 8
    kernel.others = set(RANGE) - kernel.ours
    assert occupation.look() == OccupyStatus(left=0, held=8, adjustments=0)
    kernel.others = set()
    kernel.now_s += TIME_WAIT_S
    kernel.ours -= {LOW}  # its minute is over
    assert occupation.look() == OccupyStatus(left=2, held=8, adjustments=1)
    kernel.ours -= {LOW}  # and now it was reset: another one takes its place
    assert occupation.look() == OccupyStatus(left=2, held=8, adjustments=2)
    assert LOW not in kernel.ours


def test_a_target_that_closes_first_leaves_no_time_wait() -> None:
    kernel = Kernel()
    with pytest.raises(HostError, match="the target closes first"):
        kernel.occupation(OccupyRequest(0, OccupyWay.TIME_WAIT, target=TARGET)).begin()


@pytest.mark.parametrize("read_s", [0.01, 0.2])
def test_looks_take_a_bounded_share_of_the_time(read_s: float) -> None:
    kernel = Kernel()
    occupation = kernel.occupation(OccupyRequest(0, for_s=60.0))
    occupation.begin()
    kernel.read_s, began_s = read_s, kernel.now_s
    remains: list[float] = []
    occupation.hold(lambda _, remains_s: remains.append(remains_s))
    assert kernel.now_s - began_s == pytest.approx(60.0, abs=2 * read_s)
    assert len(remains) == pytest.approx(60.0 / max(INTERVAL_S, read_s / SHARE), abs=2)
    assert remains[0] == 60.0


def test_the_port_of_a_listener_that_is_gone_is_kept_for_it() -> None:
    kernel = Kernel()
    kernel.others = kernel.listening = {LOW}
    occupation = kernel.occupation(OccupyRequest(0))
    assert occupation.begin().held == 9
    kernel.others = kernel.listening = set()
    assert occupation.look() == OccupyStatus(left=1, held=9, adjustments=0)


def test_a_process_that_is_gone_ends_it() -> None:
    kernel = Kernel()
    occupation = kernel.occupation(OccupyRequest(0))
    occupation.begin()
    kernel.gone = True
    with pytest.raises(IncompleteError):
        occupation.hold(lambda *_: None)
