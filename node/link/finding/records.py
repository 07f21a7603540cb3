"""Signed peer records: the addresses of a peer in its own hand, as libp2p writes them (RFC 0003).

What a peer says of another's addresses is worth nothing; what the other has signed may be handed on by anybody.
"""

from __future__ import annotations

from collections.abc import Iterable

from libp2p.peer.envelope import make_unsigned
from libp2p.peer.pb import crypto_pb2, envelope_pb2, peer_record_pb2
from multiaddr import Multiaddr

from node.link.finding.kademlia import Contact
from protocol.discovery import RECORD_MAX_BYTES
from protocol.errors import fault
from protocol.identity import PEER_ID_PREFIX, KeyPair, peer_id, verify

DOMAIN = "libp2p-peer-record"
PAYLOAD_TYPE = bytes((0x03, 0x01))
ADDRESSES_MAX = 8  # as in an advert
ADDRESS_MAX_BYTES = 128


def seal_record(keypair: KeyPair, addresses: Iterable[str], seq: int) -> Contact:
    """Our own, over at most ADDRESSES_MAX addresses; with or without `/p2p/` and our id at their end."""
    plain = [address.removesuffix(f"/p2p/{peer_id(keypair.public)}") for address in addresses][:ADDRESSES_MAX]
    record = peer_record_pb2.PeerRecord(peer_id=PEER_ID_PREFIX + keypair.public, seq=seq)
    for address in plain:
        record.addresses.add(multiaddr=Multiaddr(address).to_bytes())
    payload = record.SerializeToString(deterministic=True)
    envelope = envelope_pb2.Envelope(
        public_key=crypto_pb2.PublicKey(Type=crypto_pb2.KeyType.Ed25519, Data=keypair.public),
        payload_type=PAYLOAD_TYPE,
        payload=payload,
        signature=keypair.sign(make_unsigned(DOMAIN, PAYLOAD_TYPE, payload)),
    )
    return Contact(keypair.public, tuple(plain), seq, envelope.SerializeToString(deterministic=True))


def open_record(data: bytes, peer: bytes) -> Contact:
    """The record of this peer. Raises Reject.

    1. At most `RECORD_MAX_BYTES`.
    2. An envelope of a peer record, of this Ed25519 key.
    3. Signed by it.
    4. The record names the same peer.
    5. One to eight addresses of at most 128 bytes, each a multiaddr.
    """
    if len(data) > RECORD_MAX_BYTES:
        raise fault(1, f"a peer record of {len(data)} bytes, at most {RECORD_MAX_BYTES} are allowed")
    envelope, record = envelope_pb2.Envelope(), peer_record_pb2.PeerRecord()
    try:
        envelope.ParseFromString(data)
        record.ParseFromString(envelope.payload)
    except Exception:  # noqa: BLE001  the parser's own errors differ from one of its engines to the next
        raise fault(2, "a peer record is no envelope of a peer record") from None
    key = envelope.public_key
    if key.Type != crypto_pb2.KeyType.Ed25519 or key.Data != peer or envelope.payload_type != PAYLOAD_TYPE:
        raise fault(2, "a peer record of another key or kind")
    if not verify(peer, make_unsigned(DOMAIN, PAYLOAD_TYPE, envelope.payload), envelope.signature):
        raise fault(3, "invalid signature on a peer record")
    if record.peer_id != PEER_ID_PREFIX + peer:
        raise fault(4, "a peer record that names another peer")
    return Contact(peer, read_addresses(record, peer), record.seq, data)


def read_addresses(record: peer_record_pb2.PeerRecord, peer: bytes) -> tuple[str, ...]:
    """Raises Reject: check 5."""
    raws = [info.multiaddr for info in record.addresses]
    if not 1 <= len(raws) <= ADDRESSES_MAX or max(map(len, raws)) > ADDRESS_MAX_BYTES:
        raise fault(5, f"a peer record has 1 to {ADDRESSES_MAX} addresses of at most {ADDRESS_MAX_BYTES} bytes")
    try:
        return tuple(str(Multiaddr(raw)).removesuffix(f"/p2p/{peer_id(peer)}") for raw in raws)
    except Exception:  # noqa: BLE001  the library raises whatever its codecs do
        raise fault(5, "a peer record with an address that is no multiaddr") from None
