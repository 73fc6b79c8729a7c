"""The request and the right reply of the echo protocol."""

from __future__ import annotations

import pytest

from loadgen.protocols.echo import Echo


@pytest.mark.parametrize("size", [1, 8, 16, 65_536])
def test_a_request_has_its_size_and_number(size: int) -> None:
    requests = [Echo(size).request(number) for number in range(100)]
    assert {len(request) for request in requests} == {size}
    assert len(set(requests)) == 100


@pytest.mark.parametrize("size", [0, 65_537])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 65,536"):
        Echo(size)


def test_the_right_reply_is_the_complete_request() -> None:
    echo = Echo(16)
    request = echo.request(7)
    assert echo.reply(request, b"") is None
    assert echo.reply(request, request[:15]) is None
    assert echo.reply(request, request) is True
    assert echo.reply(request, request + b"more") is True
    assert echo.reply(request, echo.request(6)) is False
    assert echo.reply(request, b"x") is False
