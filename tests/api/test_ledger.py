"""The ledger through the API: pages, heads, the export, and a verification that trusts nothing that is stored."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ledger.archive import Kind, fingerprint
from ledger.archive.check import split, verify
from ledger.store.rows import entry_sum
from node.api.problems import NotFound
from node.client import Client
from protocol.errors import VerificationFailed
from protocol.identity import peer_id
from tests.api.host import TOKEN, Host, served
from tests.builders import History, keypair, whole_history


@pytest.fixture
def history() -> History:
    return whole_history()


@pytest.fixture
async def host(tmp_path: Path, history: History) -> Host:
    return Host(tmp_path, raws=tuple(entry.raw for entry in history.entries), network=history.ledger.genesis)


@pytest.fixture
async def url(host: Host) -> AsyncIterator[str]:
    async with served(host) as url:
        yield url


async def all_entries(client: Client, **filters: Any) -> list[dict[str, Any]]:
    return await asyncio.to_thread(lambda: list(client.entries(**filters)))


async def test_entries_come_in_the_order_of_acceptance(client: Client, history: History) -> None:
    found = await all_entries(client)
    assert [entry["raw"] for entry in found] == [entry.raw.hex() for entry in history.entries]
    assert [entry["position"] for entry in found] == list(range(1, len(history.entries) + 1))


async def test_a_cursor_walks_through_all_pages(http: aiohttp.ClientSession, history: History) -> None:
    after, found, more = 0, [], True
    while more:
        async with http.get("/v1/ledger/entries", params={"after": after, "limit": 7}) as answer:
            page = await answer.json()
        assert len(page["entries"]) <= 7
        found += [entry["id"] for entry in page["entries"]]
        after, more = page["next_after"], page["more"]
    assert found == [entry.id.hex() for entry in history.entries]


async def test_entries_by_author_and_kind(client: Client, history: History) -> None:
    owner = keypair(0).public
    assert {entry["kind"] for entry in await all_entries(client, kind="receipt")} == {"receipt"}
    by_key = await all_entries(client, author=owner.hex())
    assert by_key == await all_entries(client, author=peer_id(owner))
    assert len(by_key) == sum(entry.author == owner for entry in history.entries)
    assert len(await all_entries(client, author=owner.hex(), kind="job")) == 1
    assert await all_entries(client, kind="nothing") == []


async def test_one_entry_with_bytes_as_hexadecimal(client: Client, history: History) -> None:
    award = next(entry for entry in history.entries if entry.kind == "award")
    found = await asyncio.to_thread(client.entry, award.id.hex())
    assert found["refs"] == [ref.hex() for ref in award.refs]
    assert found["body"]["job"] == award.body["job"].hex()
    assert found["body"]["placements"][0]["provider"] == award.body["placements"][0]["provider"].hex()
    assert found["void"] is None
    with pytest.raises(NotFound):
        await asyncio.to_thread(client.entry, "ab" * 32)


async def test_a_void_entry_says_which_check_it_failed(tmp_path: Path) -> None:
    history = History()
    void = history.offer(keypair(1), peak_w=1, idle_w=2)
    host = Host(tmp_path, raws=(void.raw,), network=history.ledger.genesis)
    async with served(host) as url:
        found = await asyncio.to_thread(Client(url, TOKEN).entry, void.id.hex())
    assert found["void"] == "check 1: peak_w 1 is below idle_w 2"


async def test_an_entry_is_confirmed_once_it_is_final_where_there_are_witnesses(tmp_path: Path) -> None:
    history = History(witnesses=(keypair(11).public,))
    first, second = (history.offer(keypair(1), units=units) for units in (1, 2))
    host = Host(tmp_path, raws=(first.raw, second.raw), network=history.ledger.genesis)
    host.node.ledger.finalize(first.author, 1, first.id)
    async with served(host) as url:
        found = [await asyncio.to_thread(Client(url, TOKEN).entry, each.id.hex()) for each in (first, second)]
    assert [entry["confirmed"] for entry in found] == [True, False]


async def test_without_witnesses_there_is_no_word_of_confirmation(client: Client, history: History) -> None:
    found = await asyncio.to_thread(client.entry, history.entries[0].id.hex())
    assert found["confirmed"] is None


async def test_equal_heads_have_one_fingerprint(client: Client, history: History) -> None:
    found = await asyncio.to_thread(client.heads)
    assert found["entries"] == len(history.entries)
    assert found["fingerprint"] == fingerprint(history.ledger.head_list())
    assert [head["id"] for head in found["heads"]] == [head.id.hex() for head in history.ledger.head_list()]


async def test_the_export_verifies_and_holds_everything(
    host: Host, client: Client, history: History, tmp_path: Path
) -> None:
    await asyncio.to_thread(client.export, tmp_path / "ledger.bin")
    raw = (tmp_path / "ledger.bin").read_bytes()
    entries = [part.data for part in split(io.BytesIO(raw)) if part.kind is Kind.ENTRY]
    assert entries == [entry.raw for entry in history.entries]
    seal = verify(io.BytesIO(raw)).seal
    assert (seal.exporter, seal.time_ms) == (host.keypair.public, host.now_ms())


async def test_the_export_of_an_empty_ledger_verifies(tmp_path: Path) -> None:
    async with served(Host(tmp_path)) as url:
        await asyncio.to_thread(Client(url, TOKEN).export, tmp_path / "ledger.bin")
    assert verify(io.BytesIO((tmp_path / "ledger.bin").read_bytes())).ledger.count == 0


async def test_a_sound_store_verifies(client: Client, history: History) -> None:
    found = await asyncio.to_thread(client.verify)
    assert found["ok"] is True
    assert found["entries"] == len(history.entries)
    assert found["fingerprint"] == fingerprint(history.ledger.head_list())


@pytest.mark.parametrize("by_hand", [False, True], ids=["by the disk", "by hand"])
@pytest.mark.parametrize("position", [1, 9, 20])
async def test_a_flipped_bit_in_the_store_is_found_and_its_entry_named(
    host: Host, client: Client, tmp_path: Path, position: int, by_hand: bool
) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        query = "SELECT position, author, seq, id, raw FROM entry WHERE position = ?"
        position, number, seq, key, raw = connection.execute(query, (position,)).fetchone()
        damaged = raw[:100] + bytes([raw[100] ^ 1]) + raw[101:]
        connection.execute("UPDATE entry SET raw = ? WHERE position = ?", (damaged, position))
        if by_hand:
            new_sum = entry_sum(position, number, seq, key, damaged)
            connection.execute("UPDATE entry SET sum = ? WHERE position = ?", (new_sum, position))
    with pytest.raises(VerificationFailed, match=f"FAILED (at )?entry (number )?{position}\\b"):
        await asyncio.to_thread(client.verify)


async def test_a_removed_entry_is_found(client: Client, tmp_path: Path, history: History) -> None:
    position = next(at for at, entry in enumerate(history.entries, start=1) if entry.seq == 0)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM entry WHERE position = ?", (position,))
    with pytest.raises(VerificationFailed, match="are missing"):
        await asyncio.to_thread(client.verify)
