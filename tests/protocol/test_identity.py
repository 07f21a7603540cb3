"""Facts about keys, peer ids and the strict signature rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import identity
from protocol.identity import KeyPair, is_canonical_point, peer_id, public_key, short, verify
from tests.builders import keypair
from tests.vectors.signatures import MESSAGE, SECRET, SPECCHECK

from .edwards import BASE, NEUTRAL, TORSION, L, P, Point, encoded, multiply


def test_small_order_y_are_those_of_the_eight_torsion_points() -> None:
    assert len(set(TORSION)) == 8
    assert all(multiply(8, point) == NEUTRAL for point in TORSION)
    assert {y for _, y in TORSION} == identity.SMALL_ORDER_Y


def test_constants_are_those_of_the_curve() -> None:
    assert (identity.P, identity.GROUP_ORDER) == (P, L)
    assert multiply(L, BASE) == NEUTRAL
    assert encoded(multiply(SECRET, BASE)) != encoded(BASE)


def test_a_signature_verifies() -> None:
    pair = keypair(1)
    assert verify(pair.public, MESSAGE, pair.sign(MESSAGE))


@given(bit=st.integers(0, 511))
def test_a_signature_with_any_bit_flipped_is_refused(bit: int) -> None:
    pair = keypair(1)
    flipped = bytearray(pair.sign(MESSAGE))
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verify(pair.public, MESSAGE, bytes(flipped))


def test_another_key_or_message_is_refused() -> None:
    signature = keypair(1).sign(MESSAGE)
    assert not verify(keypair(2).public, MESSAGE, signature)
    assert not verify(keypair(1).public, MESSAGE + b"!", signature)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    assert not verify(bytes(length), MESSAGE, keypair(1).sign(MESSAGE))


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    assert not verify(keypair(1).public, MESSAGE, (keypair(1).sign(MESSAGE) + b"\0")[:length])


@pytest.mark.parametrize("point", TORSION)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_no_small_order_point_is_a_key_whatever_its_sign_bit(point: Point, sign: int) -> None:
    spelled = bytearray(encoded(point))
    spelled[31] = spelled[31] & 0x7F | sign
    assert not is_canonical_point(bytes(spelled))


@pytest.mark.parametrize("y", [P, P + 1, 2**255 - 1])
def test_a_y_beyond_the_field_is_not_canonical(y: int) -> None:
    assert not is_canonical_point(y.to_bytes(32, "little"))


EQUATIONS = ["plain"] * 4 + ["cofactor"] * 2 + ["plain"] * 6


@pytest.mark.parametrize(("name", "equation"), list(zip(SPECCHECK, EQUATIONS, strict=True)))
def test_speccheck_is_decided_by_the_rule_where_libraries_disagree(name: str, equation: str) -> None:
    """But for 3, the equation holds for whoever leaves out the rule, or multiplies by the cofactor."""
    case = SPECCHECK[name]
    assert case.equation == equation
    assert verify(case.public, case.message, case.signature) is case.accepted is name.startswith("3:")


# Test 1 of RFC 8032, section 7.1; the peer id is what libp2p 0.8.1 makes of that key.
RFC_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_a_known_seed_gives_the_known_key_and_peer_id() -> None:
    assert KeyPair(RFC_SEED).public == RFC_PUBLIC
    assert peer_id(RFC_PUBLIC) == "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV"


def test_the_example_of_the_libp2p_specification_is_read() -> None:
    example = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
    assert peer_id(public_key(example)) == example


@given(public=st.binary(min_size=32, max_size=32))
def test_a_peer_id_leads_back_to_its_key(public: bytes) -> None:
    assert len(peer_id(public)) == 52
    assert public_key(peer_id(public)) == public
    assert peer_id(public).endswith(short(public))


GOOD_ID = peer_id(keypair(1).public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        GOOD_ID[:-1],
        GOOD_ID + "1",
        "1" + GOOD_ID,
        GOOD_ID[:-1] + "0",
        GOOD_ID[:-1] + "é",
        "1" * 52,
        "z" * 52,
        "1" + "z" * 51,
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        GOOD_ID * 100_000,
    ],
    ids=lambda text: f"{text[:12]}x{len(text)}",
)
def test_what_is_no_ed25519_peer_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no Ed25519 peer id") as refusal:
        public_key(text)
    assert len(str(refusal.value)) < 200


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        KeyPair(bytes(31))


def test_a_key_pair_shows_its_peer_id_and_never_its_seed() -> None:
    shown = f"{KeyPair(RFC_SEED)!r} {KeyPair(RFC_SEED)}"
    assert peer_id(RFC_PUBLIC) in shown
    assert RFC_SEED.hex() not in shown
    assert repr(RFC_SEED) not in shown
