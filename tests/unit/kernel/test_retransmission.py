"""Times of a SYN without an answer, beside those that were measured of a kernel and those of its documentation."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.kernel import retransmission
from loadgen.kernel.retransmission import SynTimes, syn_times


@pytest.mark.parametrize(
    ("retries", "linear", "rto_max_s", "again_s", "gives_up_s"),
    [
        # Measured on Linux 6.18 with a listener whose queue was full, rounded down to a second.
        (1, 4, 120, (1, 2), 3),
        (1, 0, 120, (1,), 3),
        (2, 0, 120, (1, 3), 7),
        (2, 1, 120, (1, 2, 4), 8),
        (2, 4, 1, (1, 2), 3),
        (3, 0, 1, (1, 2, 3), 4),
        (3, 1, 2, (1, 2, 4, 6), 8),
        # ip-sysctl.rst: tcp_syn_retries of 6, before Linux 6.5 and since.
        (6, 0, 120, (1, 3, 7, 15, 31, 63), 127),
        (6, 4, 120, (1, 2, 3, 4, 5, 7, 11, 19, 35, 67), 131),
    ],
)
def test_a_syn_is_sent_again_and_given_up_as_the_kernel_does(
    retries: int, linear: int, rto_max_s: float, again_s: tuple[int, ...], gives_up_s: int
) -> None:
    assert syn_times(retries, linear, rto_max_s) == SynTimes(again_s, gives_up_s)


@given(st.integers(1, 127), st.integers(0, 127), st.integers(1000, 120_000))
def test_pauses_never_shrink_and_none_is_longer_than_the_longest(retries: int, linear: int, rto_max_ms: int) -> None:
    times = syn_times(retries, linear, rto_max_ms / 1000)
    instants = (0.0, *times.again_s, times.gives_up_s)
    pauses = [later - earlier for earlier, later in pairwise(instants)]
    assert pauses == pytest.approx(sorted(pauses))
    assert pauses[0] == retransmission.INITIAL_S
    assert pauses[-1] <= rto_max_ms / 1000 + 1e-6
    assert retries <= len(times.again_s) <= retries + linear or times.gives_up_s >= retries


@pytest.mark.parametrize(
    ("settings", "gives_up_s"),
    [
        ({"tcp_syn_retries": "6", "tcp_syn_linear_timeouts": "4", "tcp_rto_max_ms": "120000"}, 131),
        ({"tcp_syn_retries": "6", "tcp_syn_linear_timeouts": "4"}, 131),
        ({"tcp_syn_retries": "5"}, 63),
        ({"tcp_syn_retries": "6", "tcp_syn_linear_timeouts": "4", "tcp_rto_max_ms": "5000"}, 31),
    ],
)
def test_settings_that_a_kernel_lacks_are_those_of_older_kernels(settings: dict[str, str], gives_up_s: int) -> None:
    times = retransmission.of_settings({f"net.ipv4.{name}": value for name, value in settings.items()})
    assert times is not None
    assert times.gives_up_s == gives_up_s


@pytest.mark.parametrize("settings", [{}, {"net.ipv4.tcp_syn_retries": "many"}, {"net.ipv4.tcp_syn_retries": "0"}])
def test_without_the_number_of_retries_no_time_is_known(settings: dict[str, str]) -> None:
    assert retransmission.of_settings(settings) is None


def test_a_sentence_names_some_of_the_times() -> None:
    assert syn_times(6, 4).text == "again after 1, 2, 3, 4, 5, 7, ... s, given up after 131 s"
    assert syn_times(1).text == "again after 1 s, given up after 3 s"
