"""`ledger …`: an exported ledger is checked on a machine that never ran a node; any damage is found and named."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.archive import fingerprint
from protocol.identity import peer_id
from tests.api.host import Host
from tests.builders import History, keypair, whole_history
from tests.cli.conftest import Heliotrope, Running, running


@pytest.fixture(scope="module")
def history() -> History:
    return whole_history()


@pytest.fixture
def file(tmp_path: Path, history: History) -> Path:
    path = tmp_path / "exported.bin"
    path.write_bytes(history.archive())
    return path


@pytest.fixture
def node(tmp_path: Path, history: History) -> Iterator[Running]:
    host = Host(tmp_path, raws=tuple(e.raw for e in history.entries), network=history.ledger.genesis)
    with running(host, tmp_path / "home") as up:
        yield up


def test_a_file_verifies_without_any_node(heliotrope: Heliotrope, file: Path, history: History) -> None:
    said = heliotrope("ledger", "verify", file)
    assert said.code == 0
    assert said.out.splitlines()[0] == f"ledger verify: OK ({len(history.entries)} entries)"
    assert fingerprint(history.ledger.head_list()) in said.out
    assert history.ledger.network.hex() in said.out
    assert peer_id(keypair(0).public) in said.out


def test_what_two_owners_claim_of_one_device_is_told(heliotrope: Heliotrope, tmp_path: Path) -> None:
    history = History()
    for owner in (keypair(1), keypair(2)):
        history.attestation(owner, device_id="mastr:SEE900000000001")
    (tmp_path / "doubles.bin").write_bytes(history.archive())
    said = heliotrope("ledger", "verify", tmp_path / "doubles.bin")
    assert said.code == 0
    assert "claimed twice: device 'mastr:see900000000001'" in said.out


def test_a_verified_file_as_json(heliotrope: Heliotrope, file: Path, history: History) -> None:
    facts = heliotrope("ledger", "verify", file, "--json").json
    assert (facts["ok"], facts["entries"], facts["network_name"]) == (True, len(history.entries), "test")


def test_any_flipped_bit_is_found_and_named(heliotrope: Heliotrope, file: Path, chance: random.Random) -> None:
    sound = file.read_bytes()
    for bit in sorted(chance.sample(range(8 * len(sound)), 60)):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        said = heliotrope("ledger", "verify", file)
        assert (said.code, said.out) == (5, ""), f"bit {bit} of byte {bit // 8}"
        assert said.err.startswith("heliotrope: ledger verify: FAILED at byte "), f"bit {bit} of byte {bit // 8}"
        assert "remedy: " in said.err


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_found(heliotrope: Heliotrope, file: Path, share: float) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * share)])
    assert heliotrope("ledger", "verify", file).code == 5


def test_a_foreign_file_is_named(heliotrope: Heliotrope, file: Path) -> None:
    file.write_text("no ledger at all")
    said = heliotrope("ledger", "verify", file)
    assert said.code == 5
    assert "this is no Heliotrope ledger" in said.err


def test_a_file_that_is_not_there_is_named(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = heliotrope("ledger", "verify", tmp_path / "missing.bin")
    assert said.code == 2
    assert "missing.bin cannot be read: No such file or directory" in said.err


def test_without_a_file_the_running_node_verifies_its_own(
    heliotrope: Heliotrope, node: Running, history: History
) -> None:
    said = heliotrope("ledger", "verify")
    assert said.code == 0
    assert said.out.startswith(f"ledger verify: OK ({len(history.entries)} entries)\n")
    assert heliotrope("ledger", "verify", "--json").json["ok"] is True


def test_an_export_verifies_elsewhere(heliotrope: Heliotrope, node: Running, tmp_path: Path) -> None:
    said = heliotrope("ledger", "export", tmp_path / "out.bin")
    assert said.code == 0
    assert heliotrope("ledger", "verify", tmp_path / "out.bin").code == 0
    assert heliotrope("ledger", "verify", tmp_path / "out.bin", "--json").json["fingerprint"] in said.out


def test_a_running_nodes_export_has_json_lines_too(heliotrope: Heliotrope, node: Running, tmp_path: Path) -> None:
    for form in ("bin", "jsonl"):
        assert heliotrope("ledger", "export", tmp_path / f"out.{form}", "--format", form).code == 0
    facts = [heliotrope("ledger", "verify", tmp_path / f"out.{form}", "--json").json for form in ("bin", "jsonl")]
    assert facts[0] == facts[1]
    assert (tmp_path / "out.jsonl").read_text().startswith('{"part": "genesis"')


def test_the_newest_entries_are_listed(heliotrope: Heliotrope, node: Running, history: History) -> None:
    newest = heliotrope("ledger", "show", "-n", "3", "--json").json["entries"]
    assert [entry["id"] for entry in newest] == [entry.id.hex() for entry in history.entries[-3:]]
    assert history.entries[-1].id.hex()[:12] in heliotrope("ledger", "show").out


def test_entries_are_filtered_by_author_and_kind(heliotrope: Heliotrope, node: Running, history: History) -> None:
    author = peer_id(keypair(1).public)
    found = heliotrope("ledger", "show", "--author", author, "--kind", "receipt", "--json").json["entries"]
    assert [entry["id"] for entry in found] == [
        entry.id.hex() for entry in history.entries if entry.author == keypair(1).public and entry.kind == "receipt"
    ]
    assert heliotrope("ledger", "show", "--author", "nobody").code == 2


def test_one_entry_is_shown_whole(heliotrope: Heliotrope, node: Running, history: History) -> None:
    closure = next(entry for entry in history.entries if entry.kind == "closure")
    shown = heliotrope("ledger", "show", closure.id.hex()[:10]).json
    assert (shown["kind"], shown["raw"], shown["body"]["outcome"]) == ("closure", closure.raw.hex(), "done")
    assert heliotrope("ledger", "show", "00000000000").code == 2
