"""What peers say to each other of the Kademlia table: libp2p's Kad-DHT messages, bounded and read with suspicion.

    request, answer = length (varint), libp2p's `Message`, whose `senderRecord` names the sender's own addresses

Values (PUT_VALUE, GET_VALUE) are refused: nobody here needs them, and whoever stores them stores what strangers like.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from libp2p.kad_dht.pb.kademlia_pb2 import Message
from multiaddr import Multiaddr

from node.link.finding.kademlia import Contact
from node.link.finding.records import open_record
from node.link.names import is_ed25519
from protocol.discovery import BUCKET_PEERS_MAX, KAD_ANSWER_MAX_BYTES, KAD_REQUEST_MAX_BYTES, RECORD_MAX_BYTES
from protocol.errors import Reject, fault
from protocol.identity import PEER_ID_PREFIX

KEY_MAX_BYTES = 80  # libp2p's bound; ours have 32, a peer id 38


class Kind(enum.Enum):
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


@dataclass(frozen=True, slots=True)
class Request:
    kind: Kind
    key: bytes
    sender: Contact | None


@dataclass(frozen=True, slots=True)
class Answer:
    """At most BUCKET_PEERS_MAX of each, with valid records; who came with another is left out."""

    sender: Contact | None
    closer: tuple[Contact, ...]
    providers: tuple[Contact, ...]


def known_record(data: bytes, peer: bytes) -> Contact | None:
    """As `open_record`, where a bad record is merely left out."""
    return _known_record(data, peer) if len(data) <= RECORD_MAX_BYTES else None


@lru_cache(maxsize=1024)  # one record comes in many answers, and a signature takes 0.1 ms to verify
def _known_record(data: bytes, peer: bytes) -> Contact | None:
    try:
        return open_record(data, peer)
    except Reject:
        return None


def read_request(data: bytes, peer: bytes) -> Request:
    """What this peer asks. Raises Reject.

    1. At most `KAD_REQUEST_MAX_BYTES`.
    2. A `Message` of one of the kinds above.
    3. The key has 1 to 80 bytes, but for a PING.
    4. `senderRecord`, where there is one, is the peer's own valid record.
    5. ADD_PROVIDER: the one provider is the sender itself, with its record; the key has 32 bytes.
    """
    message = _parse(data, KAD_REQUEST_MAX_BYTES)
    try:
        kind = Kind(message.type)
    except ValueError:
        raise fault(2, f"a request of kind {message.type}, which is not answered") from None
    if kind is not Kind.PING and not 1 <= len(message.key) <= KEY_MAX_BYTES:
        raise fault(3, f"a key of {len(message.key)} bytes, 1 to {KEY_MAX_BYTES} are allowed")
    sender = known_record(message.senderRecord, peer) if message.senderRecord else None
    if message.senderRecord and sender is None:
        raise fault(4, "the sender's record is not its own, or not valid")
    if kind is Kind.ADD_PROVIDER:
        providers = [provider.id for provider in message.providerPeers]
        if providers != [PEER_ID_PREFIX + peer] or sender is None or len(message.key) != 32:
            raise fault(5, "a provider announces itself alone, with its record, under a key of 32 bytes")
    return Request(kind, message.key, sender)


def read_answer(data: bytes, kind: Kind, peer: bytes) -> Answer:
    """What this peer answered. Raises Reject.

    1. At most `KAD_ANSWER_MAX_BYTES`.
    2. A `Message` of the kind that was asked.
    """
    message = _parse(data, KAD_ANSWER_MAX_BYTES)
    if message.type != kind.value:
        raise fault(2, f"an answer of kind {message.type}, {kind.value} was asked")
    sender = known_record(message.senderRecord, peer) if message.senderRecord else None
    return Answer(sender, _read_peers(message.closerPeers), _read_peers(message.providerPeers))


def write_request(kind: Kind, key: bytes, me: Contact) -> bytes:
    message = Message(type=kind.name, key=key, senderRecord=me.record)
    if kind is Kind.ADD_PROVIDER:
        _write_peers(message.providerPeers, (me,), KAD_REQUEST_MAX_BYTES)
    return message.SerializeToString()


def write_answer(request: Request, me: Contact, closer: Iterable[Contact], providers: Iterable[Contact]) -> bytes:
    """As many peers of each kind as there is room for."""
    message = Message(type=request.kind.name, key=request.key, senderRecord=me.record)
    _write_peers(message.providerPeers, providers, KAD_ANSWER_MAX_BYTES // 2)
    _write_peers(message.closerPeers, closer, KAD_ANSWER_MAX_BYTES // 2)
    return message.SerializeToString()


def _parse(data: bytes, max_bytes: int) -> Message:
    if len(data) > max_bytes:
        raise fault(1, f"{len(data)} bytes, {max_bytes} are allowed")
    message = Message()
    try:
        message.ParseFromString(data)
    except Exception:  # noqa: BLE001  the parser's own errors differ from one of its engines to the next
        raise fault(2, "not a Kad-DHT message") from None
    return message


def _read_peers(peers: Iterable[Message.Peer]) -> tuple[Contact, ...]:
    found: dict[bytes, Contact] = {}
    for _, named in zip(range(BUCKET_PEERS_MAX), peers, strict=False):
        if is_ed25519(named.id) and named.signedRecord:
            contact = known_record(named.signedRecord, named.id[len(PEER_ID_PREFIX) :])
            if contact is not None:
                found[contact.peer] = contact
    return tuple(found.values())


def _write_peers(peers: object, contacts: Iterable[Contact], room_bytes: int) -> None:
    """`addrs` says once more what the record holds, for those who read no records."""
    for contact in contacts:
        addresses = [Multiaddr(address).to_bytes() for address in contact.addresses]
        room_bytes -= len(contact.record) + sum(map(len, addresses)) + 128  # ids, tags and lengths
        if room_bytes < 512:  # the message's own key and record, at their largest half
            return
        peers.add(id=PEER_ID_PREFIX + contact.peer, addrs=addresses, signedRecord=contact.record)  # type: ignore[attr-defined]
