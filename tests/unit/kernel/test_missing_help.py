"""Words and help for each reason; the sentences are pinned in tests/unit/capacity/test_addresses.py."""

from __future__ import annotations

import pytest

from loadgen.kernel import missing_help
from loadgen.kernel.missing import Missing, MissingReason


@pytest.mark.parametrize("reason", MissingReason)
@pytest.mark.parametrize("address", ["::1", "fd00::1"])
def test_every_reason_has_words_and_help(reason: MissingReason, address: str) -> None:
    found = Missing(address, reason, "eth0", 64)
    assert missing_help.because(found).startswith(f"address {address}")
    assert missing_help.because(found, 1_022).startswith(f"address {address} and 1,022 more")
    helps = missing_help.helps(found)
    assert helps
    assert all(change.command in change.sentence for change in helps)


def test_a_zone_is_no_part_of_a_command() -> None:
    (change,) = missing_help.helps(Missing("fe80::1%eth0", MissingReason.ABSENT, "eth0", 128))
    assert change.command == "ip address add fe80::1/128 dev eth0"


def test_what_the_scenario_or_the_namespace_can_change_is_a_value() -> None:
    (freebind,) = missing_help.helps(Missing("fd00::1", MissingReason.NEEDS_FREEBIND, "lo", 128))
    assert freebind.set == {"sources.freebind": True}
    _, switch_on = missing_help.helps(Missing("::1", MissingReason.IPV6_OFF, "lo", 128))
    assert switch_on.sysctls == {"net.ipv6.conf.lo.disable_ipv6": "0"}
    (elsewhere,) = missing_help.helps(Missing("fd00::1", MissingReason.IPV6_OFF, "all", 128))
    assert elsewhere.sysctls == {}
