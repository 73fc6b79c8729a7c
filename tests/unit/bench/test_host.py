"""When the namespace is quiet."""

from bench.host import sockets_left


def test_sockets_in_time_wait_are_not_quiet() -> None:
    text = "sockets: used 9\nTCP: inuse 4 orphan 1 tw 3 alloc 8 mem 2\nUDP: inuse 7 mem 0\n"
    assert sockets_left(text) == 8
    assert sockets_left("sockets: used 0\n") == 0
