"""The lab itself: fresh, set up as asked, gone with its last process, and there for ordinary users too."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from loadgen.errors import HostError, LabForbiddenError, UsageError
from loadgen.kernel import sysctl
from loadgen.lab import namespace

from .support import child, in_child, until

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_DUMPABLE: Final = 4
_NOBODY: Final = 65534
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def name_of(pid: int | str = "self") -> str:
    """The network namespace of a process, as the kernel numbers them: "net:[4026532281]"."""
    return os.readlink(f"/proc/{pid}/ns/net")


def members(name: str) -> set[int]:
    """The processes that live in a network namespace."""
    found = set()
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                if name_of(directory.name) == name:
                    found.add(int(directory.name))
            except OSError:
                pass  # ended meanwhile
    return found


def named() -> set[str]:
    """Everything that could keep a namespace without a process: names of ip-netns(8), bind mounts."""
    directory = Path("/run/netns")
    names = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return names | {line for line in mounts if " nsfs " in line}


def become_ordinary() -> None:
    """Be an ordinary user from now on: uid 65534, or no capability where no such user exists."""
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:  # in a user namespace with a single user, who is an ordinary one outside
        # capset(2), version 3; without CAP_SETFCAP even root may not be mapped (user_namespaces(7)).
        header, capabilities = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", *[1 << 31] * 3, 0, 0, 0)
        assert _LIBC.capset(header, capabilities) == 0
    # Changing credentials made /proc/self root's; a program that an ordinary user starts never has that.
    assert _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0) == 0


def test_a_lab_is_another_namespace_with_nothing_but_loopback() -> None:
    before = name_of()

    def body() -> tuple[str, list[str], int]:
        namespace.enter({})
        with socket.create_server(("127.0.0.1", 9000)), socket.socket() as client:
            return name_of(), [name for _, name in socket.if_nameindex()], client.connect_ex(("127.0.0.1", 9000))

    inside, interfaces, connected = in_child(body)
    assert inside != before
    assert "lo" in interfaces
    assert set(interfaces) <= {"lo", "sit0", "ip6tnl0", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0"}
    assert connected == 0
    assert name_of() == before


def test_children_are_born_in_the_lab() -> None:
    def body() -> tuple[str, str]:
        namespace.enter({})
        return name_of(), in_child(name_of)

    ours, theirs = in_child(body)
    assert ours == theirs


def test_two_labs_do_not_know_each_other() -> None:
    """The same address and port in each, and each has its own settings."""

    def body() -> str | None:
        namespace.enter({"net.ipv4.ip_local_port_range": "40000 40003"})
        with socket.create_server(("127.0.0.1", 9000)):
            return in_child(other)

    def other() -> str | None:
        namespace.enter({})
        with socket.create_server(("127.0.0.1", 9000)):
            return sysctl.read("net.ipv4.ip_local_port_range")

    assert in_child(body) not in (None, "40000 40003")


def test_settings_are_made_and_read_back() -> None:
    asked = {
        "net.ipv4.ip_local_port_range": "40000 40003",
        "net.ipv4.tcp_tw_reuse": "1",
        "net.ipv4.ip_local_reserved_ports": "40002,40001",
    }

    def body() -> dict[str, str]:
        namespace.enter(asked)
        return sysctl.read_all([*asked, "net.core.somaxconn"])

    assert in_child(body) == {**asked, "net.ipv4.ip_local_reserved_ports": "40001-40002", "net.core.somaxconn": "65535"}


def test_a_rehearsed_lab_leaves_the_process_where_it_is() -> None:
    def body() -> bool:
        before = name_of()
        namespace.rehearse({"net.ipv4.tcp_tw_reuse": "1"})
        with pytest.raises(HostError, match=r"lab\.sysctls: cannot set sysctl net\.ipv4\.tcp_tw_reuse to '7'"):
            namespace.rehearse({"net.ipv4.tcp_tw_reuse": "7"})
        return name_of() == before

    assert in_child(body)


def test_a_rehearsal_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> bool:
        def stop(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGSTOP)

        monkeypatch.setattr(namespace, "enter", stop)
        with pytest.raises(HostError, match=r"did not end within 0\.1 s"):
            namespace.rehearse({}, time_limit_s=0.1)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return True

    assert in_child(body)


def test_a_scenario_overrides_the_default_of_every_lab() -> None:
    def body() -> str | None:
        namespace.enter({"net.core.somaxconn": "128"})
        return sysctl.read("net.core.somaxconn")

    assert in_child(body) == "128"


ONCE_PER_HOST = (
    "it exists once per host, not once per network namespace; leave it out here, and set it on the host: "
    "sysctl -w net.netfilter.nf_conntrack_max=9"
)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("net.ipv4.tcp_tw_reuse", "7", "Invalid argument"),
        ("net.ipv4.ip_local_port_range", "50000 40000", "Invalid argument"),
        ("net.ipv4.no_such_setting", "1", "this kernel has no such setting; `sysctl -a` lists what it has"),
        (
            "net.netfilter.nf_conntrack_max",
            "9",
            ONCE_PER_HOST,
        ),
        ("net.ipv4.tcp_tw_recycle", "1", "it is gone since Linux 4.12; net.ipv4.tcp_tw_reuse is what is left"),
    ],
)
def test_a_refused_setting_is_named_with_the_reason(name: str, value: str, reason: str) -> None:
    with pytest.raises(HostError) as caught:
        in_child(lambda: namespace.enter({name: value}))
    assert str(caught.value) == f"lab.sysctls: cannot set sysctl {name} to {value!r}: {reason}"


def test_a_name_that_leads_elsewhere_is_no_setting() -> None:
    with pytest.raises(UsageError):
        in_child(lambda: namespace.enter({"net/../../../etc/passwd": "x"}))


def test_nothing_is_left_of_a_lab_after_sigkill() -> None:
    """No process, no name, no mount: nothing that could keep the namespace."""
    before = named()
    reading, writing = os.pipe()

    def body() -> None:
        namespace.enter({"net.ipv4.ip_local_port_range": "40000 40003"})
        os.write(writing, name_of().encode())
        signal.pause()

    with os.fdopen(reading, "rb") as pipe, child(body) as pid:
        os.close(writing)
        name = pipe.read1(100).decode()
        assert members(name) == {pid}
        assert named() == before
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        until(lambda: not members(name))
        assert named() == before


@pytest.mark.usefixtures("_user_namespaces")
def test_an_ordinary_user_makes_a_lab_too() -> None:
    """Inside, the settings of the network are theirs, addresses and low ports as well."""

    def body() -> tuple[str | None, int, str]:
        become_ordinary()
        namespace.enter({"net.ipv4.ip_local_port_range": "40000 40003", "net.ipv4.tcp_tw_reuse": "0"})
        with socket.create_server(("127.0.0.1", 80)), socket.socket() as client:
            client.connect(("127.0.0.1", 80))
            return sysctl.read("net.ipv4.ip_local_port_range"), client.getsockname()[1], name_of()

    ports, source_port, name = in_child(body)
    assert ports == "40000 40003"
    assert source_port in range(40000, 40004)
    assert name != name_of()


@pytest.mark.usefixtures("_user_namespaces")
def test_an_ordinary_user_is_told_of_a_refused_setting() -> None:
    """What belongs to the whole host stays out of reach (here: it does not exist inside)."""

    def body() -> None:
        become_ordinary()
        namespace.enter({"net.ipv4.tcp_mem": "1 2 3"})

    with pytest.raises(HostError, match=r"cannot set sysctl net\.ipv4\.tcp_mem"):
        in_child(body)


@pytest.mark.parametrize("limit", ["user.max_net_namespaces", "user.max_user_namespaces"])
@pytest.mark.usefixtures("_user_namespaces")
def test_where_namespaces_are_forbidden_the_error_says_so(limit: str) -> None:
    """A HostError of its own kind, with the call, its errno and what an administrator may change."""

    def body() -> None:
        uid, gid = os.geteuid(), os.getegid()
        assert _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        Path("/proc/sys", *limit.split(".")).write_text("0")
        if limit == "user.max_user_namespaces":
            header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
            assert _LIBC.capset(header, nothing) == 0  # so that a network namespace needs a user namespace
        namespace.enter({})

    with pytest.raises(LabForbiddenError) as caught:
        in_child(body)
    assert "unshare(CLONE_NEWUSER|CLONE_NEWNET): ENOSPC" in str(caught.value)
    assert limit in str(caught.value)
    assert "run as root" in str(caught.value)


def test_a_user_namespace_without_rights_is_no_lab_either() -> None:
    """Some hosts let anybody make one and then grant nothing in it: writing the user map fails with EPERM.

    So it is with AppArmor's restriction (kernel.apparmor_restrict_unprivileged_userns), and so it is
    here, where root has lost CAP_SETFCAP and may not map itself (user_namespaces(7)).
    """

    def body() -> None:
        header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
        assert _LIBC.capset(header, nothing) == 0
        namespace.enter({})

    with pytest.raises(LabForbiddenError):
        in_child(body)


@pytest.mark.usefixtures("_user_namespaces")
def test_an_ordinary_user_may_make_labs_one_after_the_other() -> None:
    """A matrix has a lab per cell; each comes from a process of its own."""

    def cell(number: int) -> Callable[[], str | None]:
        def body() -> str | None:
            become_ordinary()
            namespace.enter({"net.ipv4.ip_local_port_range": f"40000 {40003 + number}"})
            return sysctl.read("net.ipv4.ip_local_port_range")

        return body

    assert [in_child(cell(number)) for number in range(5)] == [f"40000 {40003 + number}" for number in range(5)]
