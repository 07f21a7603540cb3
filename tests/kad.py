"""Kad-DHT messages, good ones and such as only a stranger sends."""

from __future__ import annotations

from libp2p.kad_dht.pb.kademlia_pb2 import Message, Record
from libp2p.peer.pb import crypto_pb2, envelope_pb2

from node.link.finding.kad_messages import Kind, write_request
from node.link.finding.kademlia import Contact
from node.link.finding.records import seal_record
from protocol.discovery import KAD_REQUEST_MAX_BYTES, providers_key
from protocol.identity import PEER_ID_PREFIX, KeyPair

NETWORK = bytes(32)
KEY = providers_key(NETWORK, "europe", "cpu")
STRANGER = KeyPair(b"r" * 32)
HERE = "/ip4/127.0.0.1/tcp/9"


def record(number: int = 0, *, keypair: KeyPair | None = None, address: str = HERE, seq: int = 1) -> Contact:
    return seal_record(keypair or KeyPair(number.to_bytes(32)), [address], seq)


def message(**fields: object) -> bytes:
    """A request of STRANGER's, if no field says otherwise."""
    whole = {"type": Kind.FIND_NODE.value, "key": KEY, "senderRecord": record(keypair=STRANGER).record}
    return Message(**(whole | fields)).SerializeToString()  # type: ignore[arg-type]


def named(contact: Contact, **fields: object) -> Message.Peer:
    whole = {"id": PEER_ID_PREFIX + contact.peer, "signedRecord": contact.record}
    return Message.Peer(**(whole | fields))  # type: ignore[arg-type]


ME = record(keypair=STRANGER)
GOOD = [write_request(kind, KEY, ME) for kind in Kind]
RSA_KEY = crypto_pb2.PublicKey(Type=crypto_pb2.KeyType.RSA, Data=b"\xff" * 64)

REFUSED = {
    "no protobuf": b"\xff" * 40,
    "nothing": b"",
    "too large": bytes(KAD_REQUEST_MAX_BYTES + 1),
    "a value to keep": message(type=0, record=Record(key=b"k", value=bytes(2048))),
    "a value wanted": message(type=1),
    "a kind of no one": message(type=77),
    "no key": message(key=b""),
    "a key too long": message(key=bytes(81)),
    "another's record": message(senderRecord=record(7).record),
    "a record too large": message(senderRecord=bytes(1025)),
    "a record that is none": message(senderRecord=b"\xff" * 60),
    "a record of another kind of key": message(
        senderRecord=envelope_pb2.Envelope(public_key=RSA_KEY, payload_type=b"\x03\x01").SerializeToString()
    ),
    "a record with a spoilt signature": message(senderRecord=ME.record[:-1] + bytes([ME.record[-1] ^ 1])),
    "a provider that is another": message(type=2, providerPeers=[named(record(7))]),
    "two providers": message(type=2, providerPeers=[named(ME), named(record(7))]),
    "no provider": message(type=2),
    "a provider without a record": message(type=2, providerPeers=[named(ME)], senderRecord=None),
    "a provider under a short key": message(type=2, key=b"k", providerPeers=[named(ME)]),
}
