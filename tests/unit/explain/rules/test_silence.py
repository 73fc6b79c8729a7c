"""Time-outs: which counter or listing tells a full queue from loss, a table, a translation; which proves nothing."""

from __future__ import annotations

import pytest

from tests.unit.explain.samples import TIMEOUT, explained, found, listing, refuted, space, verdict


def conntrack(drop: int, insert_failed: int) -> str:
    return (
        "$ conntrack -S\n"
        f"cpu=0 found=1 invalid=0 insert=0 insert_failed={insert_failed} drop={drop} early_drop=0 error=0 "
        "search_restart=0 clash_resolve=0 chaintoolong=0\n"
    )


def entries(count: int) -> str:
    return f"net.netfilter.nf_conntrack_count = {count}\nnet.netfilter.nf_conntrack_max = 262144\n"


TABLE_FULL = "Nov 29 03:14:07 web1 kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n"
SNAT = (
    "$ nft list ruleset\ntable ip nat {\n\tchain post {\n"
    "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
    "\t\tip daddr 10.0.0.7 snat to 10.0.0.1:50000-50099\n\t}\n}\n"
)


def nstat(**counters: int) -> str:
    return "$ nstat -az\n#kernel\n" + "".join(f"{name} {value} 0.0\n" for name, value in counters.items())


def test_a_time_out_alone_is_open_and_says_only_what_was_seen() -> None:
    finding = found(TIMEOUT)
    assert (finding.limit, finding.confidence) == ("blackhole", "open")
    assert set(finding.candidates) == {"blackhole", "backlog", "syn-loss", "path-limit"}
    assert finding.text.startswith(
        "Go: time-out of connect() to 10.0.0.7:80: 10.0.0.7:80 did not answer; it may be that"
    )


def test_a_full_queue_is_shown_by_its_listener_alone() -> None:
    full = explained(listing().rstrip("\n") + "\nLISTEN 129 128 10.0.0.7:80 0.0.0.0:*\n")
    finding = full.findings[0]
    assert (finding.limit, finding.confidence, finding.target) == ("backlog", "certain", "10.0.0.7:80")
    assert "129 connections wait for accept(), the backlog is 128" in finding.text
    assert verdict(listing().rstrip("\n") + "\nLISTEN 128 128 10.0.0.7:80 0.0.0.0:*\n")[0] == "none"


def test_overflows_since_boot_prove_nothing_and_their_growth_does() -> None:
    since_boot = found(TIMEOUT, nstat(TcpExtListenOverflows=1200))
    assert (since_boot.limit, since_boot.confidence) == ("blackhole", "open")
    growing = found(TIMEOUT, nstat(TcpExtListenOverflows=1200), nstat(TcpExtListenOverflows=1900))
    assert (growing.limit, growing.confidence) == ("backlog", "likely")
    assert any(proof.text == "TcpExt.ListenOverflows +700" for proof in growing.evidence)
    assert verdict(nstat(TcpExtListenOverflows=1200))[0] == "none"


def test_a_zero_rules_the_queue_out_only_where_it_is_that_of_the_target() -> None:
    counters = nstat(TcpExtListenOverflows=0, TcpExtTCPSynRetrans=3)
    assert "backlog" not in refuted(found(TIMEOUT, counters))
    assert "backlog" in refuted(found(TIMEOUT.replace("10.0.0.7", "127.0.0.1"), counters))
    assert "backlog" in refuted(found(TIMEOUT, counters, listing("LISTEN 10.0.0.7:80 0.0.0.0:*")))


def test_syns_that_were_not_sent_again_were_not_lost() -> None:
    assert "syn-loss" in refuted(found(TIMEOUT, nstat(TcpExtTCPSynRetrans=0)))
    moved = found(TIMEOUT, nstat(TcpExtTCPSynRetrans=10), nstat(TcpExtTCPSynRetrans=90))
    assert (moved.limit, moved.confidence) == ("syn-loss", "open")
    twice = found(nstat(TcpActiveOpens=100, TcpExtTCPSynRetrans=10), nstat(TcpActiveOpens=900, TcpExtTCPSynRetrans=90))
    assert "syn-loss" in twice.candidates


def test_the_same_paste_twice_is_one_reading() -> None:
    assert "syn-loss" not in refuted(found(TIMEOUT, nstat(TcpExtTCPSynRetrans=10), nstat(TcpExtTCPSynRetrans=10)))


def test_tw_recycle_of_an_old_target_rejects_for_time_stamps() -> None:
    text = "$ netstat -s\nTcpExt:\n    51234 passive connections rejected because of time stamp\n"
    finding = found(TIMEOUT, text, "net.ipv4.tcp_tw_recycle = 1\n")
    assert (finding.limit, finding.confidence) == ("syn-loss", "likely")
    assert found(TIMEOUT, text, "net.ipv4.tcp_tw_recycle = 0\n").confidence == "open"


def test_the_tracking_table_is_judged_by_its_entries_and_the_log() -> None:
    assert verdict(TABLE_FULL) == ("conntrack", "certain", ())
    assert verdict(entries(262_000)) == ("conntrack", "likely", ())
    assert verdict(entries(262_000), conntrack(5, 0), conntrack(900, 0)) == ("conntrack", "certain", ())
    stale = found(TABLE_FULL, entries(1_200))
    assert (stale.limit, stale.confidence) == ("conntrack", "open")
    assert "1,200 of 262,144 entries" in stale.text
    assert "conntrack" in refuted(found(TIMEOUT, entries(1_200)))
    assert verdict(entries(1_200))[0] == "none"


def test_translation_without_a_port_is_told_by_insert_failed() -> None:
    moved = conntrack(5, 5) + conntrack(65, 65)
    finding = found(TIMEOUT, moved, entries(100), SNAT)
    assert (finding.limit, finding.confidence) == ("nat-ports", "likely")
    assert "conntrack" in refuted(finding)
    assert any("50000-50099" in proof.text for proof in finding.evidence)
    assert "nat-ports" in refuted(found(TIMEOUT, conntrack(0, 0)))
    assert "nat-ports" not in refuted(found(TIMEOUT, conntrack(60, 60), conntrack(61, 60)))  # before the readings


def test_neighbours_by_the_log_and_by_the_table() -> None:
    log = "Nov 29 03:14:07 web1 kernel: neighbour: ndisc_cache: neighbor table overflow!\n"
    finding = found(log)
    assert (finding.limit, finding.confidence) == ("neighbours", "certain")
    assert "net.ipv6.neigh.default.gc_thresh3" in finding.remedies[0].text
    assert "neighbours" in refuted(found(TIMEOUT.replace("10.0.0.7", "127.0.0.1")))


def test_open_connections_beside_silent_ones_may_be_a_limit_on_the_way() -> None:
    rows = [*space("ESTAB", 100), *space("SYN-SENT", 60, low=41_000)]
    finding = found(listing(*rows))
    assert (finding.confidence, "path-limit" in finding.candidates) == ("open", True)
    alone = found(listing(*space("SYN-SENT", 60)))
    assert "path-limit" in refuted(alone)
    assert verdict(listing(*space("ESTAB", 100), *space("SYN-SENT", 3, low=41_000)))[0] == "none"


SIX_RETRIES = "net.ipv4.tcp_syn_retries = 6\n"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (SIX_RETRIES + "net.ipv4.tcp_syn_linear_timeouts = 4\n", "given up after 131 s"),
        (SIX_RETRIES + "net.ipv4.tcp_syn_linear_timeouts = 4\nnet.ipv4.tcp_rto_max_ms = 1000\n", "after 7 s"),
        (SIX_RETRIES + "Linux version 5.15.0-91-generic (buildd@x) #101-Ubuntu SMP\n", "given up after 127 s"),
        (SIX_RETRIES + "Linux version 6.8.0-31-generic (buildd@x) #31-Ubuntu SMP\n", ""),
        (SIX_RETRIES, ""),
    ],
)
def test_the_times_of_repeated_syns_are_told_only_where_all_settings_are_known(settings: str, says: str) -> None:
    """Without tcp_syn_linear_timeouts they are known of a kernel that is too old for it."""
    proofs = [proof.text for proof in found(TIMEOUT, settings).evidence if "a SYN is sent" in proof.text]
    assert len(proofs) == bool(says)
    assert all(says in proof for proof in proofs)
