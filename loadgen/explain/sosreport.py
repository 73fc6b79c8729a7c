"""Which files of a sosreport are evidence, and what each of them holds.

A sosreport holds copies of files below their own paths (proc/, etc/, var/log/) and the output of commands in
sos_commands/PLUGIN/, named by the command with its spaces replaced: ss_-peaonmi. The same paths mean the same in any
other directory or tarball.

Sources: sos/report/plugins of sos 3.9 and 4.7: networking, kernel, firewall_tables, conntrack, process, logs, host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Content(Enum):
    """How a file is read."""

    TEXT = auto()
    """Its lines, by the formats."""
    LOG = auto()
    """The same; lines that no format takes are no news."""
    SYSCTL = auto()
    """One value, the name of which is in its path."""
    COUNT = auto()
    """One number, a gauge."""
    CONFIGURED = auto()
    """Settings that are made at boot; others may be in force."""
    APART = auto()
    """Evidence of another network namespace."""
    NOTHING = auto()
    """No evidence."""


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """A file. name: of the setting, gauge or namespace; "" of any other."""

    content: Content
    name: str = ""


#: Of limits.h: no file has a longer path, though an archive may claim one.
_PATH_MAX: Final = 4096
#: Folders that only a sosreport has at its top.
FOLDERS: Final = ("sos_commands", "sos_reports")
_PART: Final = re.compile(r"(?:^|/)(?:sosreport-[^/]+|sos_commands|sos_reports)/")
_SYSCTL: Final = re.compile(r"(?:^|/)proc/sys/(?P<name>[\w./:@-]+)$")
#: Settings of fs that are not of inotify, quotas and the like.
_OF_FS: Final = re.compile(r"fs\.(?:file-\w+|nr_open|epoll\..*)")
_CONFIGURED: Final = re.compile(r"(?:^|/)(?:etc|run|usr/lib|usr/local/lib|lib)/sysctl\.(?:conf|d/[^/]+\.conf)$")
_NETNS: Final = re.compile(
    r"(?:^|/)sos_commands/networking/(?:namespaces/[^/]+/)?ip_netns_exec_(?P<name>.+?)_(?:ss_|netstat_|nstat|ip_|sysctl_)"
)
_COUNT: Final = re.compile(r"(?:^|/)sos_commands/\w+/conntrack_-C$")
_LOG: Final = re.compile(
    r"(?:^|/)(?:var/log/(?:messages|syslog|kern\.log|nginx/[^/]*\.log|haproxy\.log|squid/[^/]*\.log|"
    r"pgbouncer/[^/]*\.log|httpd/[^/]*log|apache2/[^/]*\.log)|sos_commands/(?:logs|kernel|systemd)/(?:journalctl|dmesg)[^/]*)$"
)
_TEXT: Final = re.compile(
    r"(?:^|/)(?:sos_commands/networking/(?:ss_-[^/]*|netstat_[^/]*|nstat[^/]*|ip_-?[^/]*(?:addr|link|route)[^/]*|"
    r"ip_(?:-s_-s_)?neigh[^/]*|route_-n|ifconfig_-a|arp_-[^/]*|nft_[^/]*|ip6?tables_[^/]*)"
    r"|sos_commands/(?:firewall_tables|nftables|firewalld)/(?:nft_[^/]*|ip6?tables[^/]*)"
    r"|sos_commands/(?:conntrack|networking)/conntrack_-S[^/]*"
    r"|sos_commands/kernel/(?:sysctl_-a|uname_-a)|sos_commands/host/uname_-a|uname"
    r"|proc/net/(?:tcp6?|udp6?|sockstat6?|netstat|snmp6?|route|if_inet6|arp|stat/(?:nf_conntrack|arp_cache|ndisc_cache))"
    r"|proc/(?:self|\d+)/limits)$"
)


def is_part(path: str) -> bool:
    """Return True if a path is one that only a sosreport has."""
    return bool(_PART.search(path))


def member(path: str, *, is_sos: bool) -> EvidenceFile:
    """Return how to read a file. is_sos: it belongs to a sosreport, in which all other files are no evidence."""
    if len(path) > _PATH_MAX:
        return EvidenceFile(Content.NOTHING)
    if found := _SYSCTL.search(path):
        # The file conf/eth0.100/forwarding has a dot in a part of its name; sysctl(8) writes it as a slash.
        name = ".".join(part.replace(".", "/") for part in found["name"].split("/"))
        wanted = name.startswith(("net.", "kernel.threads-max", "kernel.pid_max")) or _OF_FS.fullmatch(name)
        return EvidenceFile(Content.SYSCTL, name) if wanted else EvidenceFile(Content.NOTHING)
    if _CONFIGURED.search(path):
        return EvidenceFile(Content.CONFIGURED)
    if found := _NETNS.search(path):
        return EvidenceFile(Content.APART, found["name"])
    if _COUNT.search(path):
        return EvidenceFile(Content.COUNT, "conntrack.count")
    if _LOG.search(path):
        return EvidenceFile(Content.LOG)
    return EvidenceFile(Content.TEXT) if not is_sos or _TEXT.search(path) else EvidenceFile(Content.NOTHING)
