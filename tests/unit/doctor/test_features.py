"""Trials in child processes, and what is made of their answers."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from loadgen.doctor import features
from loadgen.errors import HostError
from loadgen.strategies.options import IP_LOCAL_PORT_RANGE

from .reading import HOST

# Python 3.12 warns of a fork beside threads; numpy's idle ones are no concern of the child.
pytestmark = pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")

ALLOWED = {name: features.Permission(name, "", "") for name in (features.LABS, features.VETH)}


def refuse() -> str:
    raise HostError("not here; do that")


def fail() -> str:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_trial_answers_with_nothing_or_with_the_reason() -> None:
    assert features.trial(lambda: "") == ""
    assert features.trial(refuse) == "not here; do that"
    assert features.trial(fail) == "Operation not permitted (EPERM)"


def test_a_trial_in_a_child_gives_the_same_answers() -> None:
    assert features.tried(lambda: "") == ""
    assert features.tried(refuse) == "not here; do that"
    assert features.tried(fail) == "Operation not permitted (EPERM)"


def test_what_a_child_does_to_itself_stays_there() -> None:
    before = os.getcwd()

    def move() -> str:
        os.chdir("/")
        return os.getcwd()

    assert features.tried(move) == "/"
    assert os.getcwd() == before


def test_a_child_that_breaks_says_how_and_leaves_no_process() -> None:
    def broken() -> str:
        raise ZeroDivisionError("a bug")

    def killed() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "never"

    assert features.tried(broken) == "ZeroDivisionError: a bug"
    assert features.tried(killed) == "the process that tried it was killed"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_hangs_is_given_up() -> None:
    def hang() -> str:
        signal.pause()
        return "never"

    assert features.tried(hang, time_limit_s=0.01) == "no answer within 0.01 s"


def test_an_ordinary_user_has_no_privilege() -> None:
    """Nor has a child of an ordinary user; CAP_SETFCAP alone may be kept, see there."""
    kept = int(features.tried(lambda: str(features.effective_capabilities()), ordinary=True))
    assert kept in (0, 1 << 31)


@pytest.mark.parametrize(
    ("sysctls", "commands"),
    [
        ({}, ()),
        ({"kernel.unprivileged_userns_clone": "1", "user.max_user_namespaces": "96365"}, ()),
        ({"kernel.unprivileged_userns_clone": "0"}, ("sysctl -w kernel.unprivileged_userns_clone=1",)),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "0"},
            (
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
                "sysctl -w user.max_user_namespaces=65536",
            ),
        ),
        ({"user.max_net_namespaces": "0"}, ("sysctl -w user.max_net_namespaces=65536",)),
    ],
)
def test_what_forbids_namespaces_is_named_with_its_remedy(sysctls: dict[str, str], commands: tuple[str, ...]) -> None:
    assert features.forbidding(sysctls) == commands


def test_an_option_that_the_kernel_lacks_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "has_option", lambda option, _: option != IP_LOCAL_PORT_RANGE)
    monkeypatch.setattr(features, "tried", lambda *_, **__: "")
    found = {feature.name: feature for feature in features.features(HOST, ALLOWED)}
    assert not found["IP_LOCAL_PORT_RANGE"].present
    assert found["IP_LOCAL_PORT_RANGE"].absent == "setsockopt: ENOPROTOOPT"
    assert found["IP_BIND_ADDRESS_NO_PORT"].present
    assert found["tcp_tw_reuse_delay"].present


def test_labs_that_were_refused_are_a_feature_that_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "tried", lambda *_, **__: "")
    refused = {**ALLOWED, features.LABS: features.Permission(features.LABS, "unshare: EPERM", "unshare: EPERM")}
    found = {feature.name: feature for feature in features.features(HOST, refused)}
    assert found["network namespaces"].absent == "unshare: EPERM"
    assert all(feature.since and feature.without for feature in found.values())


def test_the_request_for_a_pair_of_veth_is_that_of_pyroute2() -> None:
    """Parsed by the library that a lab makes its cable with."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    message = ifinfmsg(features.veth_request("here0", "there0"))
    message.decode()
    assert message["header"]["length"] == len(features.veth_request("here0", "there0"))
    assert message.get_attr("IFLA_IFNAME") == "here0"
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    assert info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER").get_attr("IFLA_IFNAME") == "there0"
