"""An archive's parts, made from a ledger in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile

from ledger.archive import Kind, Part, forks, heads_hash, seal
from ledger.archive.notes import notes_of_store
from ledger.feed import ForkProof
from ledger.store import Store
from protocol.envelope import Entry, Head, parse
from protocol.genesis import Genesis
from protocol.identity import KeyPair

Matching = Callable[[bytes], bytes | None]  # the recorded input of a matching by its hash, where it is at hand


def no_matching(sha256: bytes) -> bytes | None:
    return None


def parts(
    genesis: Genesis,
    entries: Iterable[bytes],
    keypair: KeyPair,
    now_ms: int,
    *,
    proofs: Iterable[ForkProof] = (),
    asides: Iterable[bytes] = (),
    checkpoints: Iterable[bytes] = (),
    matching: Matching = no_matching,
) -> Iterator[Part]:
    """The parts in order. `asides` come by id, `proofs` by author, `checkpoints` by author and size."""
    tally = seal.Tally()
    network = genesis.network_id()
    heads: dict[bytes, Head] = {}
    recorded: set[bytes] = set()

    def body() -> Iterator[Part]:
        yield Part(Kind.GENESIS, network + genesis.encoded())
        yield from map(forks.part_of, proofs)
        yield from (Part(Kind.ASIDE, raw) for raw in asides)
        yield from (Part(Kind.CHECKPOINT, note) for note in checkpoints)
        for raw in entries:
            entry = parse(raw)
            heads[entry.author] = Head(entry.author, entry.seq, entry.id)
            recorded.update(named_matching(entry))
            yield Part(Kind.ENTRY, raw)
        for sha256 in sorted(recorded):
            found = matching(sha256)
            if found is not None:
                yield Part(Kind.MATCHING, found)

    for part in body():
        tally.add(part)
        yield part
    listed = heads_hash(head for _, head in sorted(heads.items()))
    yield Part(Kind.SEAL, seal.make(tally, network, listed, keypair, now_ms))


def parts_of_store(
    store: Store, genesis: Genesis, keypair: KeyPair, now_ms: int, matching: Matching = no_matching
) -> Iterator[Part]:
    """What is stored now; what comes later is not in it. Reads as it goes: others may append meanwhile."""
    checkpoints, proofs, asides = notes_of_store(store, genesis), store.forks(), store.asides()
    last = store.position  # read after what speaks of entries
    return parts(
        genesis,
        (raw for _, raw in takewhile(lambda row: row[0] <= last, store.replay())),
        keypair,
        now_ms,
        proofs=proofs,
        asides=asides,
        checkpoints=checkpoints,
        matching=matching,
    )


def named_matching(entry: Entry) -> tuple[bytes, ...]:
    """The hash of the recorded matching that an award names, whether or not the award counts."""
    named = entry.body.get("instance_sha256") if entry.kind == "award" else None
    return (named,) if isinstance(named, bytes) else ()
