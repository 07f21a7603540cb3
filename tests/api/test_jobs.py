"""Jobs through the API: planned, submitted, shown, cancelled; and what an impossible one is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from node.api.problems import Conflict, NotFound
from node.client import Client
from node.documents import Invalid
from node.home.config import MarketConfig
from protocol.errors import LocalError, Refused, VerificationFailed
from protocol.identity import peer_id
from protocol.units import ceil_div
from tests.api.host import TOKEN, Host, seller, served
from tests.api.requests import job_request, with_training
from tests.api.test_node import hear_advert
from tests.builders import History, digest, genesis, keypair, whole_history


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return written(tmp_path / "text.txt")


def written(path: Path) -> Path:
    path.write_text("text")  # what `digest("text")` names: the simulated workers hold it
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


async def submitted(client: Client, text: Path, **changes: Any) -> dict[str, Any]:
    blob = await asyncio.to_thread(client.upload, text)
    data = [{"sha256": blob.sha256.hex(), "size_bytes": blob.size_bytes}]
    return await asyncio.to_thread(client.submit, json.dumps(with_training(data=data) | changes))


async def planned(client: Client, **changes: Any) -> dict[str, Any]:
    return await asyncio.to_thread(client.plan, json.dumps(job_request(**changes)))


# --- planning -----------------------------------------------------------------------------------------------------


async def test_a_plan_weighs_our_own_machine_and_those_advertised(host: Host, client: Client) -> None:
    hear_advert(host, number=1)
    plan = await planned(client)
    assert plan["feasible"] is True
    assert [(row["peer"], row["verdict"]) for row in plan["table"]] == [("lead", "chosen"), ("peer-1", "outbid")]
    assert all(row["reason"] for row in plan["table"])
    assert plan["summary"]["baselines"].keys() == {"cheapest", "grid_average", "start_now"}
    assert plan["tokens"] == 80_000


async def test_a_plan_records_nothing(host: Host, client: Client) -> None:
    before = host.node.ledger.count
    await planned(client)
    assert (host.node.ledger.count, host.node.ledger.state.jobs) == (before, {})


async def test_a_plan_that_nobody_fits_names_every_reason_and_a_way_out(host: Host, client: Client) -> None:
    hear_advert(host, number=1)
    plan = await planned(client, memory_mb=32_768)
    assert plan["feasible"] is False
    assert {row["peer"]: row["reason"] for row in plan["table"]} == {
        "lead": "memory: 2048 of 32768 MB per unit needed",
        "peer-1": "memory: 16384 of 32768 MB per unit needed",
    }
    assert plan["summary"]["relaxation"] == "memory 32768 -> 16384 MB per unit"


async def test_the_assurance_of_a_plan_is_the_networks(host: Host, client: Client) -> None:
    """Peer 1 shows no attestation, so its advertised surplus counts as grid."""
    hear_advert(host, number=1)
    rows = {row["peer"]: row for row in (await planned(client))["table"]}
    assert (rows["lead"]["surplus_permille"], rows["peer-1"]["surplus_permille"]) == (1000, 0)


# --- submitting ---------------------------------------------------------------------------------------------------


async def test_a_submitted_job_is_recorded_and_waits_for_bids(host: Host, client: Client, text: Path) -> None:
    job = await submitted(client, text)
    record = host.node.ledger.state.jobs[bytes.fromhex(job["id"])]
    assert record.owner == host.keypair.public
    assert host.store.entry(record.id) is not None
    assert (job["status"], job["phase"], job["own"], job["bids"]) == ("open", "bidding", True, 1)
    assert job["request"]["training"]["data"][0]["sha256"] == record.job.training.data[0].sha256.hex()


async def test_a_node_that_buys_nothing_takes_no_job(host: Host, client: Client, text: Path) -> None:
    host.config.market = MarketConfig(buys=False)
    with pytest.raises(Refused, match="this node buys nothing"):
        await submitted(client, text)
    assert host.node.ledger.state.jobs == {}


async def test_a_placement_is_unconfirmed_until_award_and_lease_are_final(tmp_path: Path) -> None:
    network = genesis(surplus_assurance_min=0, witnesses=(keypair(11).public,))
    host = Host(tmp_path, sells=seller(), network=network)
    host.start()
    text = written(tmp_path / "text.txt")
    async with served(host) as url:
        client = Client(url, TOKEN)
        job_id = (await submitted(client, text))["id"]
        host.close_bids()
        before = await asyncio.to_thread(client.job, job_id)
        head = host.node.ledger.heads[host.keypair.public]
        host.node.ledger.finalize(head.author, head.seq + 1, head.id)
        after = await asyncio.to_thread(client.job, job_id)
    assert [p["confirmed"] for job in (before, after) for p in job["placements"]] == [False, True]


async def test_a_matched_job_shows_its_table_and_its_placements(host: Host, client: Client, text: Path) -> None:
    job_id = (await submitted(client, text))["id"]
    host.close_bids()
    job = await asyncio.to_thread(client.job, job_id)
    assert (job["status"], job["phase"]) == ("running", "placing")
    (placement,) = job["placements"]
    assert (placement["provider"]["label"], placement["status"]) == ("lead", "leased")
    assert [row["verdict"] for row in job["matchings"][0]["table"]] == ["chosen"]
    assert job["unplaceable"] is False


async def test_a_job_runs_to_its_settlement(tmp_path: Path) -> None:
    """One node is buyer and seller at once; only the workers are simulated."""
    host = Host(tmp_path, sells=seller(), trains=True)
    host.start()
    text = written(tmp_path / "text.txt")
    async with served(host) as url:
        client = Client(url, TOKEN)
        job_id = (await submitted(client, text))["id"]
        host.close_bids()
        job = await asyncio.to_thread(client.job, job_id)
    assert (job["status"], job["phase"], job["rounds_done"]) == ("done", "over", 4)
    assert [done["round"] for done in job["history"]] == [0, 1, 2, 3]
    assert job["loss_last_millinats"] < job["loss_first_millinats"]
    assert job["sample"] == "To be, or not to be"
    assert [p["status"] for p in job["placements"]] == ["settled"]
    assert job["account"]["energy_j"] >= job["account"]["reported_energy_j"] > 0
    assert sum(receipt["rounds"] for receipt in job["receipts"]) == 4


async def test_a_job_that_nobody_can_run_closes_and_says_so(host: Host, client: Client, text: Path) -> None:
    job_id = (await submitted(client, text, memory_mb=32_768))["id"]
    host.close_bids()
    job = await asyncio.to_thread(client.job, job_id)
    assert (job["status"], job["unplaceable"]) == ("failed", True)
    assert job["matchings"][-1]["summary"]["relaxation"] == "memory 32768 -> 2048 MB per unit"
    assert job["matchings"][-1]["table"][0]["reason"] == "memory: 2048 of 32768 MB per unit needed"


async def test_texts_that_are_not_there_are_named(client: Client) -> None:
    with pytest.raises(Invalid) as caught:
        await asyncio.to_thread(client.submit, json.dumps(job_request()))
    assert [fault.field for fault in caught.value.faults] == ["training.data.0"]


async def test_a_text_of_another_length_is_named(client: Client, text: Path) -> None:
    blob = await asyncio.to_thread(client.upload, text)
    request = with_training(data=[{"sha256": blob.sha256.hex(), "size_bytes": blob.size_bytes + 1}])
    with pytest.raises(Invalid, match="the blob has 4 bytes, not 5"):
        await asyncio.to_thread(client.submit, json.dumps(request))


# --- cancelling ---------------------------------------------------------------------------------------------------


async def test_an_own_job_is_cancelled_once(client: Client, text: Path) -> None:
    job_id = (await submitted(client, text))["id"]
    assert (await asyncio.to_thread(client.cancel, job_id))["status"] == "cancelled"
    with pytest.raises(Conflict, match="is cancelled already"):
        await asyncio.to_thread(client.cancel, job_id)


async def test_another_nodes_job_cannot_be_cancelled(tmp_path: Path) -> None:
    history = History(surplus_assurance_min=0)
    job = history.job(keypair(1))
    host = Host(tmp_path, raws=tuple(entry.raw for entry in history.entries))
    async with served(host) as url:
        with pytest.raises(Refused, match="belongs to"):
            await asyncio.to_thread(Client(url, TOKEN).cancel, job.id.hex())


async def test_an_unknown_job_is_not_found(client: Client) -> None:
    for call in (client.job, client.cancel, client.carbon):
        with pytest.raises(NotFound):
            await asyncio.to_thread(call, "ab" * 32)


# --- accounts -----------------------------------------------------------------------------------------------------


async def test_a_finished_job_is_told_from_the_ledger_alone(tmp_path: Path) -> None:
    """After a restart nothing but the entries is left, and nothing but the sample and the rounds is missing."""
    history = whole_history()
    raws = tuple(entry.raw for entry in history.entries)
    host = Host(tmp_path, raws=raws, network=history.ledger.genesis)
    async with served(host) as url:
        client = Client(url, TOKEN)
        (listed,) = (await asyncio.to_thread(client.jobs))["jobs"]
        job = await asyncio.to_thread(client.job, listed["id"])
    assert (job["status"], job["outcome"], job["own"], job["rounds_done"]) == ("done", "done", True, 4)
    assert (job["loss_first_millinats"], job["loss_last_millinats"]) == (5500, 2500)
    assert [p["status"] for p in job["placements"]] == ["settled", "revoked", "settled"]
    assert job["replaced_shards"] == 1
    assert job["placements"][1]["reason"] == "unreachable"
    assert job["checkpoint"] == {"sha256": digest("checkpoint").hex(), "size_bytes": 5000}
    assert len(job["receipts"]) == 4
    assert all(receipt["accepted"] for receipt in job["receipts"])


async def test_grams_stand_beside_their_method_and_assurance(tmp_path: Path) -> None:
    history = whole_history()
    host = Host(tmp_path, raws=tuple(e.raw for e in history.entries), network=history.ledger.genesis)
    async with served(host) as url:
        client = Client(url, TOKEN)
        (listed,) = (await asyncio.to_thread(client.jobs))["jobs"]
        account = (await asyncio.to_thread(client.job, listed["id"]))["account"]
    grid_ug = ceil_div(6000 * 360 * 10**6, 3_600_000) + 20_000
    own_ug = ceil_div(6000 * 36 * 10**6, 3_600_000) + 20_000
    assert account["energy_j"] == 4 * 6000 + 500
    moved_ug = 100  # each receipt's two small deltas: 1 J of networks, at the grid's 100 µg/J
    assert account["transfer_ug"] == 4 * moved_ug
    assert account["carbon_ug"] == 2 * (grid_ug + own_ug) + 4 * moved_ug + 50_000
    assert (account["lost_energy_j"], account["lost_carbon_ug"]) == (500, 50_000)
    assert (account["methods"], account["assurance"]) == (["modelled"], 1)


async def test_the_carbon_of_a_finished_job_is_told_in_every_way(tmp_path: Path) -> None:
    """From the ledger alone: only what other choices would have emitted needs the record of a matching."""
    history = whole_history()
    host = Host(tmp_path, raws=tuple(e.raw for e in history.entries), network=history.ledger.genesis)
    async with served(host) as url:
        client = Client(url, TOKEN)
        (listed,) = (await asyncio.to_thread(client.jobs))["jobs"]
        job = await asyncio.to_thread(client.job, listed["id"])
        told = await asyncio.to_thread(client.carbon, listed["id"])
    assert told["account"] == job["account"]
    assert told["location"]["carbon_ug"] == job["account"]["carbon_ug"]
    assert told["location"]["least_ug"] < told["location"]["carbon_ug"] < told["location"]["most_ug"]
    assert told["market"]["carbon_ug"] == told["location"]["carbon_ug"] - 1000 * (100 - 10)
    assert (told["certified_j"], told["marginal"], told["marginal_known_j"]) == (1000, None, 0)
    assert told["carbon_free"]["carbon_free_permille"] == 13_000 * 1000 // 24_500
    assert told["carbon_free"]["unknown_permille"] == ceil_div(11_500 * 1000, 24_500)
    assert told["sci_per_token"]["carbon_pg"] == ceil_div(job["account"]["carbon_ug"] * 10**6, 4 * 160)
    assert [share["method"] for share in told["shares"]] == ["grid_mix", "metered"]
    assert told["counterfactuals"] is None


async def test_the_carbon_of_an_own_job_stands_beside_other_choices(tmp_path: Path) -> None:
    host = Host(tmp_path, sells=seller(), trains=True)
    host.start()
    text = written(tmp_path / "text.txt")
    async with served(host) as url:
        client = Client(url, TOKEN)
        job_id = (await submitted(client, text))["id"]
        host.close_bids()
        told = await asyncio.to_thread(client.carbon, job_id)
    assert told["counterfactuals"].keys() == {"cheapest", "grid_average", "start_now"}
    for other in told["counterfactuals"].values():
        saved_ug = other["carbon_ug"] - told["account"]["carbon_ug"]
        assert other["saving_permille"] == saved_ug * 1000 // other["carbon_ug"]


async def test_another_nodes_job_names_its_owner(tmp_path: Path) -> None:
    history = History(surplus_assurance_min=0)
    history.job(keypair(1))
    host = Host(tmp_path, raws=tuple(entry.raw for entry in history.entries))
    async with served(host) as url:
        (job,) = (await asyncio.to_thread(Client(url, TOKEN).jobs))["jobs"]
    assert (job["own"], job["phase"]) == (False, None)
    assert job["owner"]["peer_id"] == peer_id(keypair(1).public)


# --- blobs --------------------------------------------------------------------------------------------------------


async def test_a_text_comes_back_as_it_went(client: Client, text: Path, tmp_path: Path) -> None:
    blob = await asyncio.to_thread(client.upload, text)
    await asyncio.to_thread(client.upload, text)
    await asyncio.to_thread(client.download, blob.sha256.hex(), tmp_path / "copy")
    assert contents(tmp_path)["copy"] == contents(tmp_path)[text.name]
    assert "copy.part" not in contents(tmp_path)


async def test_a_blob_that_is_not_here_is_not_found(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not on this node"):
        await asyncio.to_thread(client.download, "ab" * 32, tmp_path / "copy")
    assert not {"copy", "copy.part"} & contents(tmp_path).keys()


async def test_an_upload_with_a_wrong_hash_is_named_and_leaves_nothing(host: Host, http: Any, tmp_path: Path) -> None:
    async with http.put(f"/v1/blobs/{'ab' * 32}", data=b"something else") as answer:
        problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "HEL-BLOB-006")
    assert "ab" * 32 in problem["detail"]
    assert contents(tmp_path / "blobs") == {}


async def test_an_upload_without_a_length_is_refused(http: Any) -> None:
    async def pieces() -> Any:
        yield b"some"

    async with http.put(f"/v1/blobs/{'ab' * 32}", data=pieces()) as answer:
        assert (answer.status, (await answer.json())["errors"][0]["field"]) == (422, "Content-Length")


async def test_an_upload_beyond_the_bound_is_refused_before_it_is_read(http: Any) -> None:
    headers = {"Content-Length": str(64 * 1024 * 1024 + 1), "Expect": "100-continue"}
    async with http.put(f"/v1/blobs/{'ab' * 32}", headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (413, "HEL-BLOB-005")


async def test_a_damaged_download_is_not_kept(host: Host, client: Client, text: Path, tmp_path: Path) -> None:
    blob = await asyncio.to_thread(client.upload, text)
    stored = host.blobs.path(blob.sha256)
    stored.chmod(0o600)
    stored.write_bytes(b"Text")
    with pytest.raises(VerificationFailed, match="came with hash"):
        await asyncio.to_thread(client.download, blob.sha256.hex(), tmp_path / "copy")
    assert not {"copy", "copy.part"} & contents(tmp_path).keys()


async def test_a_client_without_a_node_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"no node answers at http://127\.0\.0\.1:1"):
        await asyncio.to_thread(Client("http://127.0.0.1:1", TOKEN).node)
