"""`ledger prove|verify-proof|audit`: with a node, with a stopped home, and with a file that somebody handed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.archive import frames
from ledger.archive.write import parts
from ledger.checkpoint import cosign, sign
from ledger.merkle import root_of
from node.home.home import Home
from protocol.identity import peer_id
from tests.api.host import Host
from tests.builders import keypair
from tests.cli.conftest import Heliotrope, Running, Said, running
from tests.cli.homes import stopped_home
from tests.matched import OWNER, PROVIDERS, Matched, matched

WITNESSES = [keypair(n) for n in range(10, 14)]
TIME_S = 1_800_000_000


@pytest.fixture(scope="module")
def scene() -> Matched:
    return matched(witnesses=tuple(witness.public for witness in WITNESSES))


@pytest.fixture
def genesis(tmp_path: Path, scene: Matched) -> Path:
    path = tmp_path / "genesis.json"
    path.write_text(scene.history.ledger.genesis.model_dump_json())
    return path


@pytest.fixture
def home(tmp_path: Path, scene: Matched) -> Home:
    """Of the job's owner, stopped."""
    history = scene.history
    return stopped_home(tmp_path / "home", history.ledger.genesis, history.entries, records=scene.records.values())


@pytest.fixture
def node(tmp_path: Path, scene: Matched) -> Iterator[Running]:
    """The job's owner, running, in the default home."""
    host = Host(tmp_path, raws=tuple(e.raw for e in scene.history.entries), network=scene.history.ledger.genesis)
    for record in scene.records.values():
        host.blobs.put(record)
    with running(host, tmp_path / "home") as up:
        yield up


def checkpoint(scene: Matched, author: Any, size: int, witnesses: int = 0) -> bytes:
    ids = [entry.id for entry in scene.history.entries if entry.author == author.public]
    network = scene.history.ledger.network
    note = sign(author, network, size, root_of(ids[:size]))
    lines = (cosign(witness, network, note.checkpoint, TIME_S) for witness in WITNESSES[:witnesses])
    return note.with_lines(*lines).encoded()


def archive(tmp_path: Path, scene: Matched, *checkpoints: bytes, records: bool = True) -> Path:
    history = scene.history
    matching = scene.records.get if records else lambda sha256: None
    made = parts(
        history.ledger.genesis,
        [entry.raw for entry in history.entries],
        OWNER,
        history.now_ms,
        checkpoints=checkpoints,
        matching=matching,
    )
    path = tmp_path / "handed-over.bin"
    path.write_bytes(b"".join(frames.write(made)))
    return path


# --- proofs -----------------------------------------------------------------------------------------------------------


def test_a_running_node_proves_its_own_entries(
    heliotrope: Heliotrope, node: Running, scene: Matched, genesis: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "proof.txt"
    said = heliotrope("ledger", "prove", scene.job.id.hex()[:12], "--out", proof)
    assert said.code == 0, said.err
    facts = heliotrope("ledger", "verify-proof", proof, "--genesis", genesis, "--json").json
    assert (facts["entry"]["id"], facts["size"], facts["final"]) == (scene.job.id.hex(), scene.job.seq + 1, False)
    assert (facts["author_peer_id"], facts["witnesses"], facts["cosigned_by"]) == (peer_id(OWNER.public), 4, [])


def test_a_stopped_home_proves_its_own_entries(heliotrope: Heliotrope, home: Home, scene: Matched) -> None:
    said = heliotrope("ledger", "prove", scene.job.id.hex())
    assert said.out.startswith("c2sp.org/tlog-proof@v1\nextra ")
    path = home.path / "proof.txt"
    path.write_text(said.out)
    shown = heliotrope("ledger", "verify-proof", path)
    assert shown.out.startswith("verify-proof: OK (not final: 0 of 4 witnesses cosigned; a fork could take it back)\n")
    assert f"{scene.job.id.hex()}, job, seq {scene.job.seq}" in shown.out
    as_json = heliotrope("ledger", "prove", scene.job.id.hex(), "--json").json
    assert as_json == {"entry": scene.job.id.hex(), "file": None, "proof": said.out}


def test_a_file_proves_what_its_checkpoints_cover_the_final_one_first(
    heliotrope: Heliotrope, scene: Matched, genesis: Path, tmp_path: Path
) -> None:
    provider = PROVIDERS[0]
    file = archive(tmp_path, scene, checkpoint(scene, provider, 2, witnesses=3), checkpoint(scene, provider, 3))
    entries = [entry for entry in scene.history.entries if entry.author == provider.public]
    proven, proof = [], tmp_path / "proof.txt"
    for entry in entries[:3]:
        assert heliotrope("ledger", "prove", entry.id.hex(), "--file", file, "--out", proof).code == 0
        facts = heliotrope("ledger", "verify-proof", proof, "--genesis", genesis, "--json").json
        proven.append((facts["entry"]["seq"], facts["size"], facts["final"], len(facts["cosigned_by"])))
    assert proven == [(0, 2, True, 3), (1, 2, True, 3), (2, 3, False, 0)]
    shown = heliotrope("ledger", "verify-proof", proof, "--genesis", genesis).out
    assert "a fork could take it back" in shown
    said = heliotrope("ledger", "prove", entries[3].id.hex(), "--file", file)
    assert said.code == 2
    assert "no checkpoint of" in said.err
    assert "covers its entry 3" in said.err


def test_witnesses_are_named_under_a_final_proof(
    heliotrope: Heliotrope, scene: Matched, genesis: Path, tmp_path: Path
) -> None:
    file = archive(tmp_path, scene, checkpoint(scene, OWNER, 1, witnesses=3))
    proof = tmp_path / "proof.txt"
    heliotrope("ledger", "prove", scene.job.id.hex(), "--file", file, "--out", proof)
    shown = heliotrope("ledger", "verify-proof", proof, "--genesis", genesis).out
    assert shown.startswith("verify-proof: OK (final: no fork can take it back)\n")
    assert all(peer_id(witness.public) in shown for witness in WITNESSES[:3])
    assert peer_id(WITNESSES[3].public) not in shown


def test_every_changed_byte_of_a_proof_is_found(
    heliotrope: Heliotrope, home: Home, scene: Matched, tmp_path: Path
) -> None:
    proof = tmp_path / "proof.txt"
    heliotrope("ledger", "prove", scene.job.id.hex(), "--out", proof)
    sound = proof.read_bytes()
    for at in range(0, len(sound), 37):
        proof.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        said = heliotrope("ledger", "verify-proof", proof)
        assert (said.code, said.out) == (5, ""), f"byte {at}"
        assert "verify-proof: FAILED at check " in said.err


def test_a_proof_of_another_network_proves_nothing(heliotrope: Heliotrope, home: Home, tmp_path: Path) -> None:
    from tests.builders import genesis as other

    (tmp_path / "other.json").write_text(other().model_dump_json())
    proof = tmp_path / "proof.txt"
    entry = heliotrope("ledger", "show", "--kind", "job", "--json").json["entries"][0]["id"]
    heliotrope("ledger", "prove", entry, "--out", proof)
    assert heliotrope("ledger", "verify-proof", proof, "--genesis", tmp_path / "other.json").code == 5


def test_a_proof_that_is_not_there_is_named(heliotrope: Heliotrope, genesis: Path, tmp_path: Path) -> None:
    said = heliotrope("ledger", "verify-proof", tmp_path / "missing", "--genesis", genesis)
    assert said.code == 2
    assert "missing cannot be read" in said.err


# --- audit ------------------------------------------------------------------------------------------------------------


def check_audit(said: Said, scene: Matched) -> None:
    found = said.json
    assert (said.code, found["ok"], found["violations"]) == (0, True, [])
    assert [award["follows"] for award in found["awards"]] == [True, True]
    state = scene.history.state
    receipts = [row for record in state.receipts.values() for row in record.receipt.energy]
    assert found["totals"]["energy_j"] == sum(row.energy_j for row in receipts) + found["totals"]["lost_energy_j"]
    assert found["totals"]["owed_microcredits"] == sum(state.owed_microcredits.values())
    assert [chain["status"] for chain in found["shards"]] == ["settled", "revoked", "settled"]
    assert sum(len(chain["deliveries"]) for chain in found["shards"]) == len(state.receipts)


def test_a_running_node_audits_a_job(heliotrope: Heliotrope, node: Running, scene: Matched) -> None:
    check_audit(heliotrope("ledger", "audit", scene.job.id.hex()[:10], "--json"), scene)


def test_a_stopped_home_audits_a_job(heliotrope: Heliotrope, home: Home, scene: Matched) -> None:
    check_audit(heliotrope("ledger", "audit", scene.job.id.hex()[:10], "--json"), scene)


def test_a_stranger_audits_a_job_with_one_file(heliotrope: Heliotrope, scene: Matched, tmp_path: Path) -> None:
    file = archive(tmp_path, scene)
    check_audit(heliotrope("ledger", "audit", scene.job.id.hex(), "--file", file, "--json"), scene)
    shown = heliotrope("ledger", "audit", scene.job.id.hex(), "--file", file).out
    assert "OK, every award follows from what was recorded" in shown
    assert "was excluded: unreachable" in shown
    assert "in all: " in shown


def test_without_the_records_an_audit_fails_and_says_so(heliotrope: Heliotrope, scene: Matched, tmp_path: Path) -> None:
    said = heliotrope("ledger", "audit", scene.job.id.hex(), "--file", archive(tmp_path, scene, records=False))
    assert said.code == 5
    assert "not repeated" in said.out
    assert "is not at hand" in said.out
    assert "2 of 2 awards do not follow or could not be repeated" in said.err


def test_an_award_that_does_not_follow_ends_with_code_5(heliotrope: Heliotrope, tmp_path: Path) -> None:
    from tests.matched import bidding

    bent = bidding()
    instance, placements = bent.match(0, 1)
    bent.award(instance, placements[1:])
    said = heliotrope("ledger", "audit", bent.job.id.hex(), "--file", archive(tmp_path, bent), "--json")
    assert said.code == 5
    assert said.json["awards"][0]["follows"] is False
    assert said.json["awards"][0]["findings"][0].startswith("check 5: ")


def test_a_job_that_is_not_known_is_named(heliotrope: Heliotrope, home: Home) -> None:
    said = heliotrope("ledger", "audit", "ffff")
    assert said.code == 2
    assert "no jobs known here have ids that begin with 'ffff'" in said.err
