"""The committed vectors are those that the code makes, and the code says of each what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from ledger import merkle, proof
from ledger.checkpoint import cosigners, is_final, open_note
from ledger.feed import prove_fork
from protocol.adverts import SignedAdvert, SignedUpdate, open_advert, updated
from protocol.codec import decode, encode
from protocol.envelope import open_entry, parse
from protocol.errors import Ignore, Reject, VerificationFailed
from protocol.genesis import Genesis
from protocol.gossip import judge_adverts
from protocol.identity import peer_id, verify
from protocol.regions import region_of
from tests.vectors.files import MAKERS, cases, path, rendered
from tests.vectors.forks import Case, follow, follow_late, judged_pair
from tests.vectors.summary import summary
from tests.vectors.transitions import judged


@pytest.mark.parametrize("name", MAKERS)
def test_the_committed_file_is_what_one_command_writes(name: str) -> None:
    assert path(name).read_text() == rendered(name), "the vectors are old: python -m tests.vectors"


def every(name: str, key: str) -> Callable[[Callable[[dict[str, Any]], None]], Any]:
    """Run the test for each case of a list."""
    return pytest.mark.parametrize("case", cases(name, key), ids=lambda case: case["name"].replace("\n", " ")[:60])


def networks(name: str) -> dict[bytes, Genesis]:
    documents = [Genesis.model_validate(decode(bytes.fromhex(case["genesis"]))) for case in cases(name, "networks")]
    return {document.network_id(): document for document in documents}


def hashes(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def read(written: Any) -> Any:
    """A value as `encodings` writes it."""
    if isinstance(written, list):
        return tuple(read(item) for item in written)
    if isinstance(written, dict):
        return bytes.fromhex(written["bytes"]) if "bytes" in written else {k: read(v) for k, v in written["map"]}
    return written


@every("encodings", "accepted")
def test_encoding(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["raw"])
    assert decode(raw) == read(case["value"])
    assert encode(read(case["value"])) == raw


@every("encodings", "refused")
def test_no_encoding(case: dict[str, Any]) -> None:
    with pytest.raises(Reject, match=f"offset {case['offset']}: {re.escape(case['fault'])}"):
        decode(bytes.fromhex(case["raw"]))


@pytest.mark.parametrize("key", ["speccheck", "ordinary"])
def test_signatures(key: str) -> None:
    for case in cases("signatures", key):
        parts = (bytes.fromhex(case[part]) for part in ("public", "message", "signature"))
        assert verify(*parts) is case["accepted"], case["name"]


@every("entries", "accepted")
def test_entry(case: dict[str, Any]) -> None:
    (network,) = networks("entries")
    entry = open_entry(bytes.fromhex(case["raw"]), network)
    assert (entry.id.hex(), entry.author.hex(), peer_id(entry.author)) == (case["id"], case["author"], case["peer_id"])
    assert (entry.kind, entry.seq, entry.time_ms) == (case["kind"], case["seq"], case["time_ms"])
    assert (entry.prev, list(entry.refs)) == (bytes.fromhex(case["prev"]), hashes(case["refs"]))


def test_no_entries() -> None:
    (network,) = networks("entries")
    for case in cases("entries", "refused"):
        with pytest.raises(Reject, match=rf"^check {case['check']}: "):
            open_entry(bytes.fromhex(case["raw"]), network)


def test_roots() -> None:
    for case in cases("merkle", "roots"):
        assert merkle.root_of(hashes(case["leaves"])).hex() == case["root"], case["name"]


def verify_inclusion(case: dict[str, Any]) -> None:
    root, leaf = hashes([case["root"], case["leaf"]])
    merkle.verify_inclusion(root, case["size"], case["index"], leaf, hashes(case["proof"]))


def verify_consistency(case: dict[str, Any]) -> None:
    old_root, root = hashes([case["old_root"], case["root"]])
    merkle.verify_consistency(case["old_size"], old_root, case["size"], root, hashes(case["proof"]))


@pytest.mark.parametrize(("key", "check"), [("inclusion", verify_inclusion), ("consistency", verify_consistency)])
def test_proofs(key: str, check: Callable[[dict[str, Any]], None]) -> None:
    for case in cases("merkle", key):
        check(case)
    for case in cases("merkle", f"refused_{key}"):
        with pytest.raises(Reject):
            check(case)


@every("checkpoints", "accepted")
def test_checkpoint(case: dict[str, Any]) -> None:
    ((network, genesis),) = networks("checkpoints").items()
    note, author = open_note(case["note"].encode(), network)
    assert note.encoded().decode() == case["note"]
    assert (author.hex(), note.checkpoint.size, note.checkpoint.root.hex()) == (
        case["author"],
        case["size"],
        case["root"],
    )
    found = {witness.hex(): time_s for witness, time_s in cosigners(note, network, genesis.witnesses).items()}
    assert (found, is_final(note, network, genesis.witnesses)) == (case["cosigned_at_s"], case["final"])


@every("checkpoints", "refused")
def test_no_checkpoint(case: dict[str, Any]) -> None:
    ((network, genesis),) = networks("checkpoints").items()
    with pytest.raises(Reject):
        cosigners(open_note(case["note"].encode(), network)[0], network, genesis.witnesses)


def test_proof_files() -> None:
    (genesis,) = networks("checkpoints").values()
    for case in cases("checkpoints", "proofs"):
        proven = proof.verify(case["proof"].encode(), genesis)
        assert (proven.entry.id.hex(), proven.size, proven.is_final) == (case["entry"], case["size"], case["final"])
    for case in cases("checkpoints", "refused_proofs"):
        with pytest.raises(VerificationFailed):
            proof.verify(case["proof"].encode(), genesis)


def network_of_adverts() -> bytes:
    (network,) = networks("adverts")
    return network


def batch(case: dict[str, Any]) -> tuple[SignedAdvert | SignedUpdate, ...]:
    return judge_adverts(bytes.fromhex(case["data"]), network_of_adverts(), case["region"], case["now_ms"])


@every("adverts", "regions")
def test_region(case: dict[str, Any]) -> None:
    assert {region_of(f"{country}-X") for country in case["countries"]} == {case["name"]}


@every("adverts", "accepted")
def test_adverts(case: dict[str, Any]) -> None:
    assert [item.author.hex() for item in batch(case)] == [item["author"] for item in case["items"]]
    kinds = ["advert" if isinstance(item, SignedAdvert) else "update" for item in batch(case)]
    assert kinds == [item["kind"].replace("goodbye", "update") for item in case["items"]]


@every("adverts", "refused")
def test_no_adverts(case: dict[str, Any]) -> None:
    with pytest.raises({"Reject": Reject, "Ignore": Ignore}[case["verdict"]], match=f"^check {case['check']}: "):
        batch(case)


@every("adverts", "updates")
def test_update(case: dict[str, Any]) -> None:
    base, change = (open_advert(bytes.fromhex(case[part]), network_of_adverts()) for part in ("base", "update"))
    assert isinstance(base, SignedAdvert)
    assert isinstance(change, SignedUpdate)
    if case["advert"] is None:
        with pytest.raises(Reject):
            updated(base.advert, change.update)
    else:
        found = updated(base.advert, change.update).model_dump(mode="json", exclude={"offer"})
        assert found == case["advert"]


ENTRIES = {case["name"]: parse(bytes.fromhex(case["raw"])) for case in cases("transitions", "entries")}


@every("transitions", "cases")
def test_transition(case: dict[str, Any]) -> None:
    entry = ENTRIES[case["entry"]]
    genesis = networks("transitions")[entry.network]
    reason, post = judged(genesis, [ENTRIES[name] for name in case["pre"]], entry)
    if "post" in case:
        assert (reason, post) == (None, case["post"])
    else:
        assert reason is not None
        assert reason.startswith(f"check {case['check']}: ")


@pytest.mark.parametrize("verdict", ["post", "check"])
def test_every_kind_has_a_transition_that_counts_and_one_that_is_void(verdict: str) -> None:
    kinds = {case["kind"] for case in cases("transitions", "cases") if verdict in case}
    assert kinds == {case["kind"] for case in cases("transitions", "cases")}


BRANCHES = {case["name"]: parse(bytes.fromhex(case["raw"])) for case in cases("forks", "entries")}


@every("forks", "pairs")
def test_pair(case: dict[str, Any]) -> None:
    found = judged_pair(BRANCHES[case["a"]], BRANCHES[case["b"]])
    assert found == {key: case[key] for key in ("fork", "seq", "exact") if key in case}


@every("forks", "cases")
def test_fork(case: dict[str, Any]) -> None:
    (document,) = networks("forks").values()
    entries = [BRANCHES[name] for name in case["feeds"]]
    proofs = [prove_fork(BRANCHES[a], BRANCHES[b]) for a, b in case["proofs"]]
    aside = tuple(BRANCHES[name] for name in case["aside"])
    final = tuple(e for e in entries if e.seq + 1 == case["final"].get(e.author.hex()))
    held = Case(entries, proofs, aside, final)
    assert follow(document, held) == {key: case[key] for key in ("frozen_from", "waiting", "post")}
    late = follow_late(document, held)
    assert late.stale or summary(late.state) == case["post"]
    assert {author.hex(): seq for author, seq in late.state.frozen_from.items()} == case["frozen_from"]
