"""The readers of what strangers say when peers look for each other."""

from __future__ import annotations

import ipaddress

from libp2p.peer.envelope import make_unsigned
from libp2p.peer.pb import envelope_pb2

from node.link.finding.addresses import group_of, ip_of
from node.link.finding.dht import allowed
from node.link.finding.kad_messages import Kind, Request, read_answer, read_request, write_answer
from node.link.finding.kademlia import Course
from node.link.finding.mdns import read_packet, write_query
from node.link.finding.mdns import write_answer as write_mdns_answer
from node.link.finding.records import DOMAIN, PAYLOAD_TYPE, open_record
from node.reachability import Scope
from protocol.discovery import BUCKET_PEERS_MAX, KAD_ANSWER_MAX_BYTES, kad_position, mdns_service
from protocol.errors import Reject
from protocol.identity import peer_id
from tests.kad import GOOD, KEY, ME, NETWORK, STRANGER, record

SERVICE = mdns_service(NETWORK)
WIRE = ipaddress.IPv4Network("192.168.7.0/24")
NAME = "a" * 32
ASKED = Request(Kind.GET_PROVIDERS, KEY, None)
SEEDS = {
    "kad": [*GOOD, write_answer(ASKED, ME, [record(1)], [record(2), record(3)])],
    "peer_record": [ME.record, envelope_pb2.Envelope.FromString(ME.record).payload],
    "mdns": [
        write_query(SERVICE),
        write_mdns_answer(SERVICE, NAME, [f"/ip4/192.168.7.9/tcp/1/p2p/{peer_id(STRANGER.public)}"]),
    ],
}


def kad(raw: bytes) -> None:
    """What is refused names its check; what is read is within bounds, and can be answered."""
    try:
        request = read_request(raw, STRANGER.public)
    except Reject as refusal:
        if not str(refusal).startswith("check "):
            raise AssertionError from refusal
    else:
        assert len(write_answer(request, ME, [ME], [ME])) <= KAD_ANSWER_MAX_BYTES
    for kind in Kind:
        try:
            answer = read_answer(raw, kind, STRANGER.public)
        except Reject:
            continue
        assert max(len(answer.closer), len(answer.providers)) <= BUCKET_PEERS_MAX
        course = Course(kad_position(KEY), 24)
        course.hear(answer.closer)
        assert len(course.next(3, 8)) <= 3


def peer_record(raw: bytes) -> None:
    """The same under a valid signature: whatever a stranger with a key of its own can say."""
    for data in (raw, signed(raw)):
        try:
            contact = open_record(data, STRANGER.public)
        except Reject:
            continue
        group_of(contact.addresses[0])
        for teller in Scope:
            may = allowed(contact, teller)
            assert may is None or all(ip_of(address) is not None for address in may.addresses)


def signed(payload: bytes) -> bytes:
    envelope = envelope_pb2.Envelope.FromString(ME.record)
    envelope.payload = payload
    envelope.signature = STRANGER.sign(make_unsigned(DOMAIN, PAYLOAD_TYPE, payload))
    return envelope.SerializeToString()


def mdns(raw: bytes) -> None:
    """Every address that is heard lies on the wire."""
    for address in read_packet(raw, SERVICE, WIRE).addresses:
        ip = ip_of(address.partition("/p2p/")[0])
        assert ip is not None
        assert ip in WIRE


READERS = (kad, peer_record, mdns)
