"""Whom a network lets in, and how a node stands with its own."""

from __future__ import annotations

import pytest

from node.admission import DAY_MS, ENDS_SOON_MS, Membership, membership, refusal
from protocol.identity import KeyPair, peer_id
from tests.builders import NOW_MS, genesis, keypair
from tests.protocol.test_invitation import CLOSED, FIELDS, FOUNDER, GUEST, REAL

STRANGER = keypair(5).public
KEEPERS = genesis(
    admission="closed",
    admitters=(FOUNDER.public,),
    witnesses=(keypair(11).public,),
    auditors=(keypair(12).public,),
)
UNTIL_MS = FIELDS["expires_at_ms"]


@pytest.mark.parametrize("admission", ["open", "devnet"])
def test_a_network_that_is_not_closed_lets_everybody_in(admission: str) -> None:
    assert refusal(genesis(admission=admission), (), STRANGER, b"nonsense", NOW_MS) == ""
    assert membership(genesis(admission=admission), STRANGER, b"", NOW_MS) == Membership()


@pytest.mark.parametrize("key", [FOUNDER, keypair(11), keypair(12)], ids=["admitter", "witness", "auditor"])
def test_whom_the_genesis_names_needs_no_invitation(key: KeyPair) -> None:
    assert refusal(KEEPERS, (), key.public, b"", NOW_MS) == ""


def test_a_guest_is_let_in_as_long_as_its_invitation_holds() -> None:
    assert refusal(CLOSED, (), GUEST.public, REAL, NOW_MS) == ""
    assert "check 10: the invitation expired" in refusal(CLOSED, (), GUEST.public, REAL, UNTIL_MS)


def test_a_stranger_is_told_why_not() -> None:
    assert refusal(CLOSED, (), STRANGER, b"", NOW_MS) == "the network is closed, and no invitation was shown"
    assert "check 8: the invitation is for" in refusal(CLOSED, (), STRANGER, REAL, NOW_MS)


def test_whom_the_operator_allows_is_let_in_whatever_it_shows() -> None:
    assert refusal(CLOSED, {STRANGER}, STRANGER, b"nonsense", NOW_MS) == ""
    assert refusal(CLOSED, {STRANGER}, keypair(6).public, b"", NOW_MS) != ""


def test_a_guest_is_warned_two_weeks_before_its_invitation_ends_and_told_the_remedy() -> None:
    assert membership(CLOSED, GUEST.public, REAL, UNTIL_MS - ENDS_SOON_MS - 1) == Membership(UNTIL_MS)
    warned = membership(CLOSED, GUEST.public, REAL, UNTIL_MS - 3 * DAY_MS)
    assert warned.until_ms == UNTIL_MS
    assert warned.warning == (
        f"the invitation ends in 3 days: ask an admitter for: heliotrope invite {peer_id(GUEST.public)}; then:"
        " heliotrope join FILE, heliotrope up"
    )


def test_a_guest_whose_invitation_has_ended_is_told_the_remedy() -> None:
    ended = membership(CLOSED, GUEST.public, REAL, UNTIL_MS)
    assert (ended.until_ms, ended.warning) == (None, "")
    assert ended.fault.startswith("check 10: the invitation expired 0 ms ago; ask an admitter for: heliotrope invite")
