"""`ledger export|import|compact` and all reads, where no node runs: on stopped homes and on exported files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.feed import prove_fork
from ledger.store import open_store
from node.home.home import Home
from node.home.secret import write_private
from node.training.blobs import BlobStore
from protocol.envelope import seal
from tests import postgres
from tests.builders import History, digest, entry, feed, keypair
from tests.cli.conftest import Heliotrope, Running
from tests.cli.homes import stopped_home, stored
from tests.ledger.archives import forked
from tests.matched import Matched, bidding, matched


@pytest.fixture(scope="module")
def scene() -> Matched:
    return matched()


@pytest.fixture
def home(tmp_path: Path, scene: Matched) -> Home:
    """Of the job's owner, stopped, in the default place."""
    history = scene.history
    return stopped_home(tmp_path / "home", history.ledger.genesis, history.entries, records=scene.records.values())


@pytest.fixture(params=["bin", "jsonl"])
def file(request: pytest.FixtureRequest, heliotrope: Heliotrope, home: Home, tmp_path: Path) -> Path:
    path = tmp_path / f"ledger.{request.param}"
    said = heliotrope("ledger", "export", path, "--format", request.param, "--home", home.path)
    assert said.code == 0, said.err
    return path


def other_home(tmp_path: Path, scene: Matched, entries: int, key: int = 5, **more: object) -> Home:
    """Of another node of the network, that knows the first so many entries."""
    history = scene.history
    return stopped_home(tmp_path / "other", history.ledger.genesis, history.entries[:entries], key=key, **more)  # type: ignore[arg-type]


# --- export -----------------------------------------------------------------------------------------------------------


def test_a_stopped_home_is_exported_and_the_file_verifies(heliotrope: Heliotrope, file: Path, scene: Matched) -> None:
    facts = heliotrope("ledger", "verify", file, "--json").json
    assert facts["entries"] == len(scene.history.entries)
    assert facts["matchings"] == 2


def test_the_carbon_of_a_job_is_told_by_a_stopped_home_and_by_a_file_alike(
    heliotrope: Heliotrope, home: Home, file: Path, scene: Matched
) -> None:
    """Other choices too: the record of the first matching is in both."""
    told = heliotrope("job", "carbon", scene.job.id.hex(), "--home", home.path, "--json").json
    assert told == heliotrope("job", "carbon", scene.job.id.hex(), "--file", file, "--json").json
    assert told["location"]["carbon_ug"] == told["account"]["carbon_ug"] > 0
    assert told["counterfactuals"].keys() == {"cheapest", "grid_average", "start_now"}
    said = heliotrope("job", "carbon", scene.job.id.hex(), "--file", file).out
    assert "average grid would have emitted" in said


def test_json_lines_have_one_part_a_line(heliotrope: Heliotrope, home: Home, tmp_path: Path, scene: Matched) -> None:
    heliotrope("ledger", "export", tmp_path / "out.jsonl", "--format", "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["part"] for line in lines[:1] + lines[-1:]] == ["genesis", "seal"]
    entries = [line for line in lines if line["part"] == "entry"]
    assert [line["raw"] for line in entries] == [each.raw.hex() for each in scene.history.entries]
    assert entries[0]["kind"] == "offer"
    assert entries[0]["body"]["units"] == 4


def test_an_export_says_what_it_wrote(heliotrope: Heliotrope, home: Home, tmp_path: Path) -> None:
    facts = heliotrope("ledger", "export", tmp_path / "out.bin", "--json").json
    assert facts["bytes"] == (tmp_path / "out.bin").stat().st_size
    assert facts["file"] == str(tmp_path / "out.bin")


def test_an_export_that_cannot_be_written_leaves_nothing(heliotrope: Heliotrope, home: Home, tmp_path: Path) -> None:
    said = heliotrope("ledger", "export", tmp_path / "missing" / "out.bin")
    assert said.code == 2
    assert not (tmp_path / "missing").exists()


# --- the same questions everywhere ------------------------------------------------------------------------------------


def test_a_stopped_home_verifies(heliotrope: Heliotrope, home: Home, scene: Matched) -> None:
    said = heliotrope("ledger", "verify")
    assert said.out.startswith(f"ledger verify: OK ({len(scene.history.entries)} entries)\n")
    assert heliotrope("ledger", "verify", "--json").json["matchings"] == 2


def test_damage_in_a_stopped_home_is_named(heliotrope: Heliotrope, home: Home, scene: Matched) -> None:
    raw = scene.history.entries[7].raw
    content = home.ledger_path.read_bytes()
    at = content.index(raw) + 200
    home.ledger_path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    said = heliotrope("ledger", "verify")
    assert (said.code, said.out) == (5, "")
    assert "entry 8" in said.err


def test_where_there_is_neither_node_nor_ledger_nothing_answers(heliotrope: Heliotrope, tmp_path: Path) -> None:
    for command in ("verify", "show", "forks", "compact"):
        said = heliotrope("ledger", command)
        assert said.code == 3, command
        assert "no node runs in" in said.err


def test_entries_of_a_file_and_of_a_stopped_home_are_the_same(
    heliotrope: Heliotrope, file: Path, scene: Matched
) -> None:
    of_home = heliotrope("ledger", "show", "-n", "100", "--json").json
    assert of_home == heliotrope("ledger", "show", "-n", "100", "--json", "--file", file).json
    assert [each["id"] for each in of_home["entries"]] == [each.id.hex() for each in scene.history.entries]


def test_entries_of_a_job(heliotrope: Heliotrope, home: Home, scene: Matched) -> None:
    digits = scene.job.id.hex()[:8]
    found = heliotrope("ledger", "show", "--job", digits, "-n", "100", "--json").json["entries"]
    expected = [each.id.hex() for each in scene.history.entries if each.kind not in ("offer", "attestation")]
    assert [each["id"] for each in found] == expected
    kinds = heliotrope("ledger", "show", "--job", digits, "--kind", "receipt", "--json").json["entries"]
    assert {each["kind"] for each in kinds} == {"receipt"}
    assert heliotrope("ledger", "show", "--job", "ffff").code == 2


def test_a_file_that_does_not_verify_is_not_shown(heliotrope: Heliotrope, file: Path, scene: Matched) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    for command in (("show",), ("forks",), ("audit", scene.job.id.hex()), ("prove", "00")):
        said = heliotrope("ledger", *command, "--file", file)
        assert (said.code, said.out) == (5, "")
        assert "FAILED at byte" in said.err


def test_an_unknown_author_is_named(heliotrope: Heliotrope, home: Home) -> None:
    said = heliotrope("ledger", "show", "--author", "nobody")
    assert said.code == 2
    assert "peer id, not 'nobody'" in said.err


# --- forks ------------------------------------------------------------------------------------------------------------


def test_no_forks(heliotrope: Heliotrope, home: Home) -> None:
    assert heliotrope("ledger", "forks").out.startswith("no forks")
    assert heliotrope("ledger", "forks", "--json").json == {"forks": []}


def test_forks_are_listed_with_their_proofs(heliotrope: Heliotrope, tmp_path: Path, scene: Matched) -> None:
    told, lie = forked(scene.history)
    history = scene.history
    stopped_home(tmp_path / "home", history.ledger.genesis, [*history.entries, told], forks=[prove_fork(told, lie)])
    (fork,) = heliotrope("ledger", "forks", "--json").json["forks"]
    assert fork["raws"] == [told.raw.hex(), lie.raw.hex()]
    assert (fork["frozen_from"], fork["since_ms"]) == (told.seq, history.now_ms)
    said = heliotrope("ledger", "forks").out
    assert fork["author"]["peer_id"] in said
    assert told.id.hex()[:16] in said


# --- import -----------------------------------------------------------------------------------------------------------


def test_an_import_adds_what_continues_the_home(
    heliotrope: Heliotrope, file: Path, tmp_path: Path, scene: Matched
) -> None:
    history = scene.history
    other = other_home(tmp_path, scene, 9)
    found = heliotrope("ledger", "import", file, "--home", other.path, "--json").json
    added = len(history.entries) - 9
    assert (found["added"], found["known"], found["left_out"], found["forks"]) == (added, 9, 0, [])
    assert found["matchings"] == 2
    assert stored(other, history.ledger.genesis) == [each.raw for each in history.entries]
    again = heliotrope("ledger", "import", file, "--home", other.path, "--json").json
    assert (again["added"], again["known"], again["matchings"]) == (0, len(history.entries), 0)
    assert heliotrope("ledger", "audit", scene.job.id.hex(), "--home", other.path).code == 0


def test_a_dry_run_changes_nothing(heliotrope: Heliotrope, file: Path, tmp_path: Path, scene: Matched) -> None:
    other = other_home(tmp_path, scene, 9)
    before = stored(other, scene.history.ledger.genesis)
    found = heliotrope("ledger", "import", file, "--home", other.path, "--dry-run", "--json").json
    assert (found["dry_run"], found["added"]) == (True, len(scene.history.entries) - 9)
    assert stored(other, scene.history.ledger.genesis) == before
    assert BlobStore(other.blobs_path, 1).names() == []
    said = heliotrope("ledger", "import", file, "--home", other.path, "--dry-run").out
    assert said.startswith("would be added: ")


def test_a_lost_tail_of_the_own_feed_is_taken_back(
    heliotrope: Heliotrope, file: Path, tmp_path: Path, scene: Matched
) -> None:
    """The owner's home was restored from a backup: its own newer entries come from elsewhere, none is signed twice."""
    history = scene.history
    restored = other_home(tmp_path, scene, 9, key=0)
    found = heliotrope("ledger", "import", file, "--home", restored.path, "--json").json
    assert found["own"] == sum(each.author == keypair(0).public for each in history.entries[9:]) > 0
    assert not found["own_fork"]


def test_a_fresh_home_is_filled(heliotrope: Heliotrope, file: Path, tmp_path: Path, scene: Matched) -> None:
    history = scene.history
    fresh = other_home(tmp_path, scene, 0)
    fresh.ledger_path.unlink()
    said = heliotrope("ledger", "import", file, "--home", fresh.path)
    assert said.out.startswith(f"added: {len(history.entries)} entries, of them 0 of this node's own\n")
    assert stored(fresh, history.ledger.genesis) == [each.raw for each in history.entries]


def test_a_damaged_file_is_not_imported(heliotrope: Heliotrope, file: Path, tmp_path: Path, scene: Matched) -> None:
    other = other_home(tmp_path, scene, 9)
    file.write_bytes(file.read_bytes()[:-1])
    said = heliotrope("ledger", "import", file, "--home", other.path)
    assert (said.code, said.out) == (5, "")
    assert len(stored(other, scene.history.ledger.genesis)) == 9


def test_an_archive_of_another_network_is_not_imported(heliotrope: Heliotrope, tmp_path: Path, scene: Matched) -> None:
    foreign = History(name="elsewhere")
    (tmp_path / "foreign.bin").write_bytes(foreign.archive())
    other = other_home(tmp_path, scene, 3)
    said = heliotrope("ledger", "import", tmp_path / "foreign.bin", "--home", other.path)
    assert said.code == 2
    assert "the archive is of network" in said.err
    assert "'elsewhere'" in said.err


def test_a_fork_between_home_and_archive_is_found_and_reported(
    heliotrope: Heliotrope, file: Path, tmp_path: Path, scene: Matched
) -> None:
    """The home has heard of another history of provider 3 than the archive tells, below both heads."""
    history, cheat = scene.history, keypair(3)
    theirs = [each for each in history.entries if each.author == cheat.public]
    fields: dict[str, Any] = {"network": history.ledger.network, "time_ms": history.now_ms, "refs": (), "body": {}}
    lies = [seal(cheat, kind="lie", seq=1, prev=theirs[0].id, **fields)]
    lies.append(seal(cheat, kind="lie", seq=2, prev=lies[0].id, **fields))
    others = [each for each in history.entries if each.author != cheat.public and each.kind in ("offer", "job", "bid")]
    genesis = history.ledger.genesis
    other = stopped_home(tmp_path / "other", genesis, [*others, theirs[0], *lies], key=5)
    found = heliotrope("ledger", "import", file, "--home", other.path, "--json").json
    (fork,) = found["forks"]
    assert (fork["author"]["key"], fork["frozen_from"]) == (cheat.public.hex(), 1)
    assert found["left_out"] == len(theirs) - 1
    assert found["aside"] > 0  # the award refers to the bid that the cheat has denied
    assert heliotrope("ledger", "forks", "--home", other.path, "--json").json["forks"][0]["frozen_from"] == 1
    assert heliotrope("ledger", "verify", "--home", other.path).code == 0
    honest = [each.raw for each in history.entries if each.author != cheat.public]
    assert set(honest) <= set(stored(other, genesis))


def test_a_fork_of_the_own_key_is_said_aloud(
    heliotrope: Heliotrope, file: Path, tmp_path: Path, scene: Matched
) -> None:
    history, own = scene.history, keypair(0)
    mine = [each for each in history.entries if each.author == own.public]
    fields: dict[str, Any] = {"network": history.ledger.network, "time_ms": history.now_ms, "refs": (), "body": {}}
    other = seal(own, kind="other", seq=1, prev=mine[0].id, **fields)
    home = stopped_home(tmp_path / "other", history.ledger.genesis, [mine[0], other], key=0)
    said = heliotrope("ledger", "import", file, "--home", home.path)
    assert said.code == 0
    assert "THIS NODE'S KEY HAS SIGNED TWO HISTORIES" in said.out
    own_feed = [each for each in stored(home, history.ledger.genesis) if each in (mine[0].raw, other.raw)]
    assert own_feed == [mine[0].raw, other.raw]


def test_entries_ahead_of_the_clock_are_left_out(heliotrope: Heliotrope, tmp_path: Path) -> None:
    history = History()
    history.now_ms = 2**52
    history.offer(keypair(1))
    (tmp_path / "early.bin").write_bytes(history.archive())
    home = stopped_home(tmp_path / "other", history.ledger.genesis, key=5)
    found = heliotrope("ledger", "import", tmp_path / "early.bin", "--home", home.path, "--json").json
    assert (found["added"], found["left_out"], found["forks"]) == (0, 1, [])


@pytest.mark.parametrize("command", [("import", "x.bin"), ("compact",)])
def test_a_running_node_is_left_alone(heliotrope: Heliotrope, node: Running, command: tuple[str, ...]) -> None:
    said = heliotrope("ledger", *command)
    assert said.code == 2
    assert "Stop the node first" in said.err


# --- compact ----------------------------------------------------------------------------------------------------------


def test_compacting_drops_records_that_no_award_names_and_keeps_everything_else(
    heliotrope: Heliotrope, home: Home, scene: Matched
) -> None:
    blobs = BlobStore(home.blobs_path, 2**30)
    unnamed = blobs.put(_other_record(scene))
    text = blobs.put(b"a text of the user's")
    facts = heliotrope("ledger", "compact", "--json").json
    assert (facts["matchings_pruned"], facts["entries"]) == (1, len(scene.history.entries))
    assert unnamed.sha256 not in blobs
    assert set(blobs.names()) == {*scene.records, text.sha256}
    store = open_store(home.ledger_path, scene.history.ledger.network)
    snapshot = store.snapshot()
    assert snapshot is not None
    assert snapshot[0] == len(scene.history.entries)
    store.close()
    assert heliotrope("ledger", "verify").code == 0


def _other_record(scene: Matched) -> bytes:
    """Of a matching that was made and never awarded."""
    other = bidding()
    other.match(0)
    (record,) = other.records.values()
    assert record not in scene.records.values()
    return record


def test_compacting_gives_space_back(heliotrope: Heliotrope, tmp_path: Path) -> None:
    history = History()
    history.entries = feed(keypair(0), 3)
    home = stopped_home(tmp_path / "home", history.ledger.genesis, history.entries)
    store = open_store(home.ledger_path, history.ledger.network)
    store.save_snapshot(3, [bytes(2**20)] * 4)
    store.close()
    facts = heliotrope("ledger", "compact", "--json").json
    assert facts["bytes"] < facts["bytes_before"] // 4
    assert heliotrope("ledger", "compact").out.startswith(str(home.ledger_path))


def test_what_is_no_entry_is_not_found(heliotrope: Heliotrope, home: Home) -> None:
    assert heliotrope("ledger", "prove", "z" * 64).code == 2
    assert heliotrope("ledger", "prove", digest("nothing").hex()).code == 2
    assert entry().id.hex() not in heliotrope("ledger", "show").out


def test_a_ledger_in_postgresql_is_compacted(
    heliotrope: Heliotrope, home: Home, postgres_server: postgres.Server
) -> None:
    home.ledger_path.unlink()
    home.config_path.write_text(home.config_path.read_text().replace('store = "sqlite"', 'store = "postgres"'))
    write_private(home.dsn_path, postgres_server.database())
    facts = heliotrope("ledger", "compact", "--json").json
    assert facts["entries"] == 0
    assert facts["bytes"] > 0
    assert heliotrope("ledger", "compact").out.startswith("the database: ")
