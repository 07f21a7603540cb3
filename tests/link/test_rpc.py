"""Gossip on the wire: frames cut anywhere, RPCs put together, signatures as the library sees them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator
from libp2p.utils.varint import encode_varint_prefixed

from node.link.gossip.rpc import FrameReader, framed, is_signed
from protocol.errors import Reject
from protocol.identity import PEER_ID_PREFIX, KeyPair


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(0, 2**32))
def test_frames_cut_anywhere_come_out_whole(bodies: list[bytes], seed: int) -> None:
    data = b"".join(map(encode_varint_prefixed, bodies))
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randrange(10)))
    reader = FrameReader(300)
    got = [frame for start, end in pairwise([0, *cuts, len(data)]) for frame in reader.feed(data[start:end])]
    assert got == bodies


@given(st.binary(max_size=70_000))
def test_frames_are_the_librarys(body: bytes) -> None:
    assert framed(body) == encode_varint_prefixed(body)


@pytest.mark.parametrize("data", [b"\xff" * 11, b"\x80\x80\x80\x80\x80\x01", b"\x80\x80\x40", b"\xff\xff\xff\xff\x0f"])
def test_reject_length_beyond_bound_before_the_body(data: bytes) -> None:
    with pytest.raises(Reject, match="bytes"):
        list(FrameReader(2**20 - 1).feed(data))


def test_rpcs_put_together_are_one_with_all_messages() -> None:
    bodies = [rpc_pb2.RPC(publish=[rpc_pb2.Message(data=b"%d" % n)]).SerializeToString() for n in range(3)]
    (frame,) = FrameReader(1000).feed(framed(*bodies))
    assert [message.data for message in rpc_pb2.RPC.FromString(frame).publish] == [b"0", b"1", b"2"]


KEY = create_new_key_pair(b"a" * 32)
AUTHOR = PEER_ID_PREFIX + KeyPair(b"a" * 32).public


def signed(**fields: object) -> rpc_pb2.Message:
    whole = {"data": b"hello", "topicIDs": ["t"], "from_id": AUTHOR, "seqno": bytes(8)}
    message = rpc_pb2.Message(**whole)  # type: ignore[arg-type]
    message.signature = KEY.private_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


FORGERIES = {
    "no signature": signed(signature=b""),
    "a short signature": signed(signature=bytes(63)),
    "another signature": signed(signature=bytes(64)),
    "other data": signed(data=b"hullo"),
    "another author": signed(from_id=PEER_ID_PREFIX + KeyPair(b"b" * 32).public),
    "another number": signed(seqno=bytes(7) + b"\1"),
    "an author off the curve": signed(from_id=PEER_ID_PREFIX + b"\x02" + bytes(31)),
}


def test_accept_what_its_author_has_signed() -> None:
    assert is_signed(signed())
    assert is_signed(signed(key=KEY.public_key.serialize()))


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_reject_what_nobody_signed(forgery: rpc_pb2.Message) -> None:
    assert not is_signed(forgery)
    assert not signature_validator(forgery)
