"""The readers under test: each takes bytes, and fails by raising anything at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ledger.archive import check, frames, lines
from ledger.checkpoint import cosigners, open_note, parse_note
from ledger.proof import build, verify
from ledger.witness import Status, answer, parse_request
from node.json_lines import Malformed
from node.matching.files.instance import read
from node.matching.files.plan import plan_lines, read_plan
from node.matching.greedy import greedy
from node.matching.problem import CARBON_MAX
from node.study.answer import Replay
from node.study.lines import JobHour
from node.study.lines import read as read_lines
from protocol import invitation
from protocol.adverts import (
    ADVERT_MAX_BYTES,
    DOMAIN,
    UPDATE_DOMAIN,
    SignedAdvert,
    SignedUpdate,
    goodbye,
    open_advert,
    seal,
    updated,
)
from protocol.codec import BYTES_PER_VALUE, VALUE_MAX_BYTES, decode, encode
from protocol.direct import decode_direct, encode_direct
from protocol.envelope import is_signed, parse, signed_bytes
from protocol.errors import Ignore, Reject, VerificationFailed
from protocol.gossip import Topics, encode_announcement, encode_batch, judge, judge_announcement
from protocol.hello import INVITATION_MAX_BYTES, Hello, decode_hello, encode_hello
from protocol.messages import ARRAY_MAX
from protocol.scan import scan
from protocol.signed import sign_array
from protocol.tickets import redeem
from tests.builders import NOW_MS, History, genesis, keypair, whole_history
from tests.fuzz import discovery
from tests.ledger.notes import NETWORK, TIME_S, WITNESSED, WITNESSES, Memory, cosigned, request
from tests.ledger.test_proof import FEED, IDS
from tests.ledger.test_proof import checkpoint as note_over_feed
from tests.matching.instances import generated, job, peer, zone
from tests.matching.instances import instance as small_instance
from tests.matching.instances import lines as lines_of
from tests.protocol.test_adverts import FULL as ADVERT
from tests.protocol.test_adverts import UPDATE
from tests.protocol.test_adverts import advert as said
from tests.protocol.test_direct import MESSAGES
from tests.protocol.test_gossip import HEAD
from tests.protocol.test_gossip import REAL as BATCH
from tests.protocol.test_invitation import CLOSED, FOUNDER, GUEST
from tests.protocol.test_invitation import REAL as INVITATION
from tests.protocol.test_tickets import HEADER, SERVER, UNIX_MS
from tests.study.jobs import job as job_of_study
from tests.study.jobs import job_hour as job_hour_of
from tests.study.jobs import lines as rows_of
from tests.vectors.encodings import ACCEPTED, REFUSED

NETWORK_OF_GOSSIP = genesis().network_id()
CORPUS = Path(__file__).parent / "corpus"  # hexadecimal, one input a line
TOPICS = Topics.of(NETWORK_OF_GOSSIP)
EUROPE = TOPICS.adverts("europe")
PLANNED = greedy(
    read(lines_of(small_instance([peer(0), peer(1), peer(2, zone=1)], [job(0), job(1)], [zone(0), zone(1)]))), [1, 0]
)

HELLO = Hello(version=1, network=bytes(32), session=bytes(16), agent="fuzz", observed="", invitation=b"")
ONE = {
    "checkpoint": cosigned().encoded(),
    "hello": encode_hello(HELLO),
    "ticket": HEADER.encode(),
    "invited": INVITATION,
}
ROAMING = job_of_study(zones=["A", "B"], move_cost=0.5)
LEVELS = {"A": [100.0] * 200, "B": [90.0 + hour % 24 for hour in range(200)]}
ANSWERED = {
    "plan": [line.encode() for line in plan_lines(PLANNED)],
    "job_hour": rows_of(job_hour_of(ROAMING, LEVELS, hour, 6.0, "A", dayahead=hour > 170) for hour in (170, 171)),
}
GOSSIPED = {
    "gossip": [BATCH, encode_batch([ADVERT, UPDATE]), encode_announcement([HEAD])],
    "advert": [ADVERT, UPDATE, seal(keypair(1), NETWORK_OF_GOSSIP, goodbye(said(), NOW_MS))],
}


def decoder(raw: bytes) -> None:
    """What is read has one spelling, which the scan finds as well; what is refused has an offset within it."""
    try:
        value = decode(raw)
    except Reject as refusal:
        offset = int(str(refusal).partition("offset ")[2].partition(":")[0])
        assert 0 <= offset <= len(raw)
        return
    assert encode(value) == raw
    scan(raw, VALUE_MAX_BYTES // BYTES_PER_VALUE, ARRAY_MAX)


def envelope(raw: bytes) -> None:
    """What is refused names its check."""
    try:
        entry = parse(raw)
    except Reject as refusal:
        if not str(refusal).startswith("check "):
            raise AssertionError from refusal
        return
    assert encode(decode(raw)) == raw == entry.raw
    assert signed_bytes(raw).endswith(encode(decode(raw)[:9]))
    is_signed(entry)


def checkpoint(raw: bytes) -> None:
    try:
        note = parse_note(raw)
    except Reject:
        return
    assert note.encoded() == raw
    try:
        open_note(raw, NETWORK)
        cosigners(note, NETWORK, WITNESSED.witnesses)
    except Reject:
        return


def witness(raw: bytes) -> None:
    """A witness answers whatever it is asked, and cosigns only what it can read."""
    said = answer(raw, WITNESSES[0], NETWORK, Memory(), TIME_S)
    try:
        assert parse_request(raw).encoded() == raw
    except Reject:
        assert said.status is Status.MALFORMED


def proof(raw: bytes) -> None:
    try:
        verify(raw, WITNESSED)
    except VerificationFailed:
        return


def direct(raw: bytes) -> None:
    try:
        message = decode_direct(raw)
    except Reject:
        return
    assert encode_direct(message) == raw


def hello(raw: bytes) -> None:
    try:
        greeting = decode_hello(raw)
    except Reject:
        return
    assert encode_hello(greeting) == raw


def gossip(raw: bytes) -> None:
    for topic in (EUROPE, TOPICS.entries, ""):
        judged(topic, raw)
    if judged(TOPICS.entries, raw):
        assert encode_announcement(judge_announcement(raw)) == raw


def archive(raw: bytes) -> None:
    """A ledger from a file: whatever is a sound one has one spelling, in bytes or in lines."""
    try:
        check.verify(io.BytesIO(raw))
    except VerificationFailed:
        return
    write = lines.write if raw.startswith(lines.OPENING) else frames.write
    assert b"".join(write(check.split(io.BytesIO(raw)))) == raw


def ticket(raw: bytes) -> None:
    try:
        redeem(raw.decode(errors="replace"), SERVER.public, NOW_MS, UNIX_MS)
    except Reject:
        return


def advert(raw: bytes) -> None:
    """What a stranger with a key of its own can say: the same under a valid signature. What is read has one spelling,
    and an update leads to an advert that can be said again, or to none."""
    try:
        *unsigned, _ = decode(raw, ADVERT_MAX_BYTES)
    except (Reject, TypeError, ValueError):
        return
    for domain in (DOMAIN, UPDATE_DOMAIN):
        try:
            signed = sign_array(keypair(0), domain, tuple(unsigned[:14]))
            item = open_advert(signed, NETWORK_OF_GOSSIP)
        except (Reject, ValueError):
            continue
        judged(EUROPE, encode_batch([signed]))
        if isinstance(item, SignedUpdate):
            assert seal(keypair(0), NETWORK_OF_GOSSIP, item.update) == signed
            with suppress(Reject):
                again = seal(keypair(0), NETWORK_OF_GOSSIP, updated(said(number=item.update.base_number), item.update))
                assert isinstance(open_advert(again, NETWORK_OF_GOSSIP), SignedAdvert)
        else:
            assert seal(keypair(0), NETWORK_OF_GOSSIP, item.advert) == signed


def invited(raw: bytes) -> None:
    """What a stranger shows, as it stands, and the same under a valid signature of an admitter."""
    try:
        *unsigned, _ = decode(raw, INVITATION_MAX_BYTES)
        signed = sign_array(FOUNDER, invitation.DOMAIN, tuple(unsigned[:14]))
    except (Reject, TypeError, ValueError):
        signed = raw
    for shown in (raw, signed):
        try:
            found = invitation.judge_invitation(shown, CLOSED, GUEST.public, NOW_MS)
        except Ignore:
            continue
        except Reject as refusal:
            if not str(refusal).startswith("check ") or not str(refusal).isprintable():
                raise AssertionError from refusal
            continue
        assert invitation.seal(FOUNDER, CLOSED.network_id(), found.invitation) == shown


def judged(topic: str, raw: bytes) -> bool:
    try:
        judge(TOPICS, NETWORK_OF_GOSSIP, topic, raw, NOW_MS)
    except (Reject, Ignore):
        return False
    return True


def instance(raw: bytes) -> None:
    """What is refused names a line within the file; what is read can be planned, written and recounted, and no sum
    wraps around."""
    rows = raw.splitlines(keepends=True)
    try:
        problem = read(rows)
    except Malformed as refusal:
        line = int(refusal.cause.removeprefix("line ").split(",")[0].split(":")[0])
        if not (1 <= line <= max(1, len(rows)) and refusal.cause.isprintable()):
            raise AssertionError from refusal
        return
    if sum(job.work * (job.at_most + problem.slots) for job in problem.jobs) < 10_000:
        load = greedy(problem, range(len(problem.jobs)))
        again = read_plan(problem, plan_lines(load))
        assert (again.carbon, again.placements) == (load.carbon, load.placements)
        assert 0 <= load.carbon < CARBON_MAX
        assert load.free.min(initial=0) >= 0


def plan(raw: bytes) -> None:
    """What is taken as a plan of a small instance has one spelling."""
    try:
        load = read_plan(PLANNED.problem, raw.splitlines(keepends=True))
    except (Malformed, VerificationFailed) as refusal:
        if not refusal.cause.isprintable():
            raise AssertionError from refusal
        return
    written = [*plan_lines(load)]
    assert [*plan_lines(read_plan(load.problem, written))] == written


def job_hour(raw: bytes) -> None:
    """What is taken as an hour of a job gets a width that the job allows, in one of its zones."""
    replay = Replay()
    try:
        for number, asked in read_lines(raw.splitlines(keepends=True), JobHour):
            name, width = replay.decide(asked, number)
            assert (name is None) == (width == 0)
            assert name is None or name in asked.zones
            assert 0 <= width <= len(asked.throughput) - 1
    except Malformed as refusal:
        if not refusal.cause.isprintable():
            raise AssertionError from refusal


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        decoder,
        envelope,
        checkpoint,
        witness,
        proof,
        direct,
        hello,
        gossip,
        archive,
        ticket,
        invited,
        advert,
        instance,
        plan,
        job_hour,
        *discovery.READERS,
    )
}


def _of_the_wire(name: str) -> Callable[[bytes], None]:
    """Imported when it runs: libp2p takes long."""

    def target(raw: bytes) -> None:
        from tests.fuzz import wire

        wire.TARGETS[name](raw)

    return target


WIRE = ("frames", "meshsub", "negotiation", "yamux")
TARGETS |= {name: _of_the_wire(name) for name in WIRE}


def seeds(name: str) -> list[bytes]:
    """What a run sets out from: good inputs, and the committed ones, that earlier runs found to reach far."""
    found = (CORPUS / f"{name}.hex").read_text().splitlines()
    if name in discovery.SEEDS:
        good: Iterable[bytes] = discovery.SEEDS[name]
    else:
        good = _good_on_the_wire(name) if name in WIRE else _good(name)
    return [*good, *map(bytes.fromhex, found)]


def _good_on_the_wire(name: str) -> Iterator[bytes]:
    from tests.fuzz import wire

    return wire.good(name)


def _good(name: str) -> Iterator[bytes]:
    if name == "decoder":
        yield from map(encode, ACCEPTED.values())
        yield from (bytes.fromhex(raw) for raw, _, _ in REFUSED.values() if len(raw) < 1000)
    elif name == "envelope":
        yield from {entry.kind: entry.raw for entry in whole_history().entries}.values()
    elif name == "witness":
        yield from (request(0, 7), request(3, 7))
    elif name == "proof":
        yield from (build(FEED[seq], IDS, note_over_feed()) for seq in (0, 5, 8))
    elif name == "direct":
        yield from map(encode_direct, MESSAGES)
    elif name == "archive":
        history = History()
        history.offer(keypair(1))
        history.offer(keypair(2))
        for whole in (history.archive(), History().archive()):
            yield whole
            yield b"".join(lines.write(check.split(io.BytesIO(whole))))
    elif name in ONE:
        yield ONE[name]
    elif name == "instance":
        yield b"\n".join(lines_of(generated(1, 3, 2, 4)))
        yield b"\n".join(lines_of(small_instance([peer(0), peer(1)], [job(0), job(1, carbon_max_mg=10**6)])))
        yield b"\n".join(lines_of(small_instance(zones=[zone(0, latency_ms=[0])], move_wh_per_gb=5)))
    elif name in ANSWERED:
        yield b"\n".join(ANSWERED[name])
    else:
        yield from GOSSIPED[name]
