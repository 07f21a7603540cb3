"""Peers of the same network on the same wire: mDNS as in libp2p's specification, on one interface and no other.

    query      PTR _p2p-<network>._udp.local
    answer     PTR <name by chance>._p2p-<network>._udp.local, TXT of that name: dnsaddr=/ip4/…/tcp/…/p2p/<peer id>

The library's mDNS is not used but for its DNS messages (zeroconf). Its faults, in libp2p 0.8.1: it listens on every
interface and cannot be pinned to one; for each name that anybody announces it blocks a thread for up to 18 s; all names
are kept, and all their addresses put into the peer store, whatever they are; what it finds goes to every host of the
process; and zeroconf, even when pinned, hears unicast from everywhere, since it binds the wildcard.

Whoever is on the wire may say anything: an address is taken if it lies in the interface's own network and names a peer,
few a minute, each once in a while; it is a hint to dial. Runs on the asyncio loop. IPv4 only: every wire has it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from zeroconf import DNSIncoming, DNSOutgoing, DNSPointer, DNSQuestion, DNSText
from zeroconf import const as dns

from node.link.events import LinkError
from node.link.finding.addresses import ip_of
from node.link.finding.interfaces import Interface
from node.link.guard.rates import TokenBucket
from protocol.identity import public_key

GROUP, PORT = "224.0.0.251", 5353
IP_MULTICAST_ALL = 49  # linux/in.h; Python has no name for it
TTL_S = 120
PACKET_MAX_BYTES = 1472  # one Ethernet frame; ours have 300
NAME_CHARACTERS = 32  # the specification's least
ADDRESSES_MAX = 8  # in one packet
PACKETS_PER_S, PACKETS_BURST = 20.0, 50.0  # read, of all who are on the wire; guess, not measured
FOUND_PER_S, FOUND_BURST = 0.5, 32.0  # addresses handed over; guess, not measured
REPEAT_S = 60.0  # until an address is handed over again
KNOWN_MAX = 256
ANSWER_EVERY_S = 1.0  # at most: RFC 6762, 6
QUERIES_AFTER_S = (0.0, 1.0, 4.0, 16.0, 64.0)  # then every QUERY_EVERY_S
QUERY_EVERY_S = 300.0
PEER_ADDRESS = re.compile(r"(/ip4/[0-9.]{7,15}/tcp/[0-9]{1,5})/p2p/([1-9A-Za-z]{52})")
TEXT = re.compile(rb"dnsaddr[0-9]{0,3}=")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a packet says to us: whether it asks for our service, and the addresses that it names."""

    is_query: bool
    addresses: tuple[str, ...]


def write_query(service: str) -> bytes:
    packet = DNSOutgoing(dns._FLAGS_QR_QUERY)
    packet.add_question(DNSQuestion(service, dns._TYPE_PTR, dns._CLASS_IN))
    return packet.packets()[0]


def write_answer(service: str, name: str, addresses: Iterable[str]) -> bytes:
    """`addresses` are multiaddrs that end in `/p2p/` and our peer id."""
    texts = [f"dnsaddr={address}".encode() for address in addresses][:ADDRESSES_MAX]
    text = b"".join(bytes([len(text)]) + text for text in texts)
    packet = DNSOutgoing(dns._FLAGS_QR_RESPONSE | dns._FLAGS_AA)
    full = f"{name}.{service}"
    packet.add_answer_at_time(DNSPointer(service, dns._TYPE_PTR, dns._CLASS_IN, TTL_S, full), 0)
    packet.add_additional_answer(DNSText(full, dns._TYPE_TXT, dns._CLASS_IN, TTL_S, text))
    return packet.packets()[0]


def read_packet(data: bytes, service: str, network: ipaddress.IPv4Network) -> Heard:
    """Total: what cannot be read says nothing. Addresses are in `network` and name a peer."""
    try:
        packet = DNSIncoming(data)
        records = packet.answers()
        questions = packet.questions
    except Exception:  # noqa: BLE001  nothing is lost: the packet is not for us, whatever it is
        return Heard(False, ())
    if packet.is_query():
        return Heard(any(q.name.lower() == service and q.type in (dns._TYPE_PTR, dns._TYPE_ANY) for q in questions), ())
    texts = (r.text for r in records if isinstance(r, DNSText) and r.name.lower().endswith(f".{service}"))
    named = (_address(text, network) for record in texts for text in _strings(record))
    return Heard(False, tuple(dict.fromkeys(address for address in named if address))[:ADDRESSES_MAX])


def _strings(text: bytes) -> Iterator[bytes]:
    """The strings of a TXT record, each after its length."""
    while text:
        size = text[0]
        yield text[1 : 1 + size]
        text = text[1 + size :]


def _address(text: bytes, network: ipaddress.IPv4Network) -> str:
    """The address in one string of a TXT record; "" if there is none that may be dialled."""
    opening = TEXT.match(text)
    match = PEER_ADDRESS.fullmatch(text[opening.end() :].decode("ascii", "replace")) if opening else None
    ip = ip_of(match[1]) if match else None
    if match is None or ip is None or ip not in network:
        return ""
    try:
        public_key(match[2])
    except ValueError:
        return ""
    return match[0]


class Neighbourhood:
    """What is made of the packets on the wire: whom to hand over, and when to answer. Time comes in, in seconds."""

    def __init__(self, service: str, network: ipaddress.IPv4Network, own: tuple[str, ...], now_s: float) -> None:
        self._service, self._network, self._own = service, network, own
        self._packets = TokenBucket(PACKETS_PER_S, PACKETS_BURST, now_s)
        self._finds = TokenBucket(FOUND_PER_S, FOUND_BURST, now_s)
        self._handed_over_at_s: dict[str, float] = {}  # the oldest first
        self._answered_at_s = -ANSWER_EVERY_S

    def take(self, data: bytes, source: str, now_s: float) -> Heard:
        """Whether to answer a packet now, and the addresses to hand over."""
        if (
            len(data) > PACKET_MAX_BYTES
            or ipaddress.ip_address(source) not in self._network
            or not self._packets.take(now_s)
        ):
            return Heard(False, ())
        heard = read_packet(data, self._service, self._network)
        is_answered = heard.is_query and now_s - self._answered_at_s >= ANSWER_EVERY_S
        if is_answered:
            self._answered_at_s = now_s
        return Heard(is_answered, tuple(address for address in heard.addresses if self._is_due(address, now_s)))

    def _is_due(self, address: str, now_s: float) -> bool:
        known = self._handed_over_at_s
        if address in self._own or now_s - known.get(address, -REPEAT_S) < REPEAT_S or not self._finds.take(now_s):
            return False
        known.pop(address, None)
        known[address] = now_s
        while len(known) > KNOWN_MAX:
            del known[next(iter(known))]
        return True


class Mdns(asyncio.DatagramProtocol):
    """Announces `addresses`, and hands over to `found` those of others, from `start` to `stop`."""

    def __init__(
        self,
        service: str,
        interface: Interface,
        addresses: Iterable[str],
        found: Callable[[tuple[str, ...]], None],
        chance: random.Random,
    ) -> None:
        """Raises LinkError: none of the node's addresses is in the interface's network."""
        self._service, self._interface, self._found, self._chance = service, interface, found, chance
        self._own = tuple(a for a in addresses if _address(b"dnsaddr=" + a.encode(), interface.network))
        if not self._own:
            raise LinkError(
                "HEL-MDNS-002",
                f"mDNS on {interface.name}: the node does not listen in {interface.network}",
                "let `listen` under [link] name the interface's address, or 0.0.0.0 for all",
            )
        self._name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=NAME_CHARACTERS))

    async def start(self) -> None:
        """Raises LinkError."""
        loop = asyncio.get_running_loop()
        self._wire = Neighbourhood(self._service, self._interface.network, self._own, loop.time())
        try:
            sock = open_socket(self._interface)
            self._transport: Any = (await loop.create_datagram_endpoint(lambda: self, sock=sock))[0]
        except OSError as error:
            raise LinkError(
                "HEL-MDNS-003",
                f"mDNS on {self._interface.name}: {error}",
                "another program may hold UDP port 5353 for itself (`ss -lunp` names it), or the interface has no"
                ' multicast; mdns = "" under [link] does without',
            ) from error
        self._asking = asyncio.create_task(self._ask(), name="mdns")

    def stop(self) -> None:
        self._asking.cancel()
        self._transport.close()

    async def _ask(self) -> None:
        """Announce ourselves once, and ask who is there, ever more rarely."""
        self._announce()
        for after_s in QUERIES_AFTER_S:
            await asyncio.sleep(after_s)
            self._transport.sendto(write_query(self._service), (GROUP, PORT))
        while True:
            await asyncio.sleep(QUERY_EVERY_S * self._chance.uniform(0.8, 1.2))
            self._transport.sendto(write_query(self._service), (GROUP, PORT))

    def _announce(self) -> None:
        self._transport.sendto(write_answer(self._service, self._name, self._own), (GROUP, PORT))

    def datagram_received(self, data: bytes, source: tuple[Any, ...]) -> None:
        heard = self._wire.take(data, source[0], asyncio.get_running_loop().time())
        if heard.is_query:
            self._announce()
        if heard.addresses:
            self._found(heard.addresses)

    def error_received(self, error: Exception) -> None:
        log.debug("mDNS: %s", error)


def open_socket(interface: Interface) -> socket.socket:
    """Hears the group on one interface, and sends to it there. Bound to the group's address, it hears no unicast."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for option in (socket.SO_REUSEADDR, getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR)):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        own = interface.own.ip.packed
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + own)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)  # several nodes on one machine
        if sys.platform == "linux":  # or it hears the interfaces on which other programs have joined the group
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        sock.bind((GROUP, PORT))
    except OSError:
        sock.close()
        raise
    return sock
