"""A ledger that no node runs on: a stopped node's home, or an archive, read into a store of its own for the while.

Reads have the names and the answers of `client.Client`, so that a command need not know whom it asks.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ledger.archive import MATCHING_MAX_BYTES, Kind, Part, failed
from ledger.archive.check import Check, Verified, verify
from ledger.archive.seal import Tally
from ledger.archive.write import parts_of_store
from ledger.ledger import Ledger
from ledger.snapshot import load, save
from ledger.store import Store, open_store
from node.accounts.auditing import audit, recorded_matchings
from node.api import ledger_views
from node.api.audit_views import audit_of
from node.api.carbon_views import carbon_of
from node.api.ledger_views import PAGE_ENTRIES, find_job
from node.api.resources import Peer
from node.home.archives import Keeper, OnBytes, open_file, reread, unseen, write_file
from node.home.config import load_config
from node.home.home import Home
from node.home.identity import load_dsn, load_genesis, load_keypair
from node.home.importing import Import
from node.market.question import summary_of_record
from node.matching.bids.record import INSTANCE_MAX_BYTES
from node.matching.bids.record import read as read_instance
from node.training.blobs import BlobStore
from protocol.errors import LocalError, Reject, VerificationFailed
from protocol.genesis import Genesis
from protocol.identity import KeyPair, peer_id, short
from protocol.messages import Blob

BLOB_MAX_BYTES = 64 * 2**30  # the bound of a Blob on the wire
COUNTED = ("added", "own", "known", "left_out", "aside", "checkpoints", "matchings")  # by an import


@dataclass(frozen=True, slots=True)
class Offline:
    """`keypair`: whose home it is; None for an archive, which can sign nothing."""

    genesis: Genesis
    store: Store
    blobs: BlobStore
    ledger: Ledger
    keypair: KeyPair | None

    # --- reads, as of a running node --------------------------------------------------------------------------------

    def heads(self) -> dict[str, Any]:
        return ledger_views.heads(self.ledger, names).model_dump(mode="json")

    def entries(
        self, after: int = 0, *, author: str | None = None, kind: str | None = None, job: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Raises LocalError as the API does."""
        wanted = ledger_views.filtered(self.ledger.state, author, kind, job)
        more = True
        while more:
            found = ledger_views.search(self.store, after, PAGE_ENTRIES, wanted)
            for position, entry in found.entries:
                yield ledger_views.entry_of(self.ledger, names, entry, position).model_dump(mode="json")
            after, more = found.next_after, found.more

    def jobs(self) -> dict[str, Any]:
        """Ids and names of all jobs."""
        return {"jobs": [{"id": job.id.hex(), "name": job.job.name} for job in self.ledger.state.jobs.values()]}

    def forks(self) -> dict[str, Any]:
        return ledger_views.forks(self.ledger, names).model_dump(mode="json")

    def proof(self, entry_id: str) -> bytes:
        return ledger_views.prove(self.store, self.ledger.network, bytes.fromhex(entry_id), self.keypair)

    def audit(self, job_id: str) -> dict[str, Any]:
        job = find_job(self.ledger.state, job_id)
        return audit_of(audit(job, self.ledger.state, self.matching), names).model_dump(mode="json")

    def carbon(self, job_id: str) -> dict[str, Any]:
        job = find_job(self.ledger.state, job_id)
        raw = next((self.matching(sha256) for sha256 in recorded_matchings(job)), None)
        summary = None if raw is None else summary_of_record(raw)
        return carbon_of(self.ledger.state, job, None, summary).model_dump(mode="json")

    def verify(self, on_entry: OnBytes = unseen) -> dict[str, Any]:
        """Check all that is stored, as a stranger would check its export; `on_entry` hears how many have been."""
        ledger_views.check_store(self.store)
        check, done = Check(), 0
        with ledger_views.faults_of_the_store():
            for part, _ in check.run(self._parts(0)):
                done += part.kind is Kind.ENTRY
                on_entry(done)
        return ledger_views.verification(check.verified()).model_dump(mode="json")

    def matching(self, sha256: bytes) -> bytes | None:
        """The record of a matching, where it is here."""
        return self.blobs.read(sha256, MATCHING_MAX_BYTES)

    # --- a home's own -----------------------------------------------------------------------------------------------

    def export(self, path: Path, form: str, now_ms: int, on_bytes: OnBytes = unseen) -> None:
        """Write an archive, sealed by the home's key. The file is there whole, or not at all."""
        write_file(path, self._parts(now_ms), form, on_bytes)

    def take(self, path: Path, now_ms: int, dry: bool, on_bytes: OnBytes = unseen) -> dict[str, Any]:
        """Take an archive in: verified whole, then what continues what is here. Returns how many entries were added,
        of them own ones, known before, left out or kept aside, and the forks that it proved.

        Raises VerificationFailed, and LocalError for an archive of another network.
        """
        with open_file(path) as file:
            first = _verify_for(self.genesis, file, on_bytes)
            content = first.seal.content
            del first  # its fold: one is enough in memory
            own = b"" if self.keypair is None else self.keypair.public
            work = Import(self.ledger, self.store, own, now_ms, dry)
            try:
                again = Tally()
                for part in reread(file):
                    on_bytes(part.offset)
                    if part.kind is not Kind.SEAL:
                        again.add(part)
                    work.take(part)
                    if part.kind is Kind.MATCHING:
                        self._take_matching(part, work)
                kept = -1
                while work.counts["aside"] > kept:
                    kept = work.counts["aside"]
                    work.take_aside(reread(file))
            except Reject as refusal:
                raise failed(0, f"the file was changed while it was read: {refusal}") from None
            if again.content() != content:
                raise failed(0, "the file was changed while it was read")
            work.finish()
        numbers = {name: work.counts[name] for name in COUNTED}
        forks = ledger_views.fork_list(work.found.values(), names).model_dump(mode="json")
        return {"dry_run": dry, **numbers, **forks, "own_fork": own in self.ledger.forks}

    def _take_matching(self, part: Part, work: Import) -> None:
        sha256 = hashlib.sha256(part.data).digest()
        if sha256 not in self.blobs:
            work.counts["matchings"] += 1
            if not work.dry:
                self.blobs.keep(Blob(sha256=sha256, size_bytes=len(part.data)), part.data)

    def compact(self) -> dict[str, Any]:
        """Write the snapshot of the fold, let go of recorded matchings that no award names, give free pages back."""
        bytes_before = self.store.size_bytes()
        save(self.ledger, self.store)
        named = {body.instance_sha256 for job in self.ledger.state.jobs.values() for body in job.awards.values()}
        pruned = 0
        for sha256 in self.blobs.names():
            if sha256 not in named and self._is_matching(sha256):
                self.blobs.remove(sha256)
                pruned += 1
        self.store.compact()
        sizes = {"bytes_before": bytes_before, "bytes": self.store.size_bytes()}
        return {"entries": self.ledger.count, "matchings_pruned": pruned, **sizes}

    def _is_matching(self, sha256: bytes) -> bool:
        content = self.blobs.read(sha256, INSTANCE_MAX_BYTES)
        if content is None:
            return False
        try:
            read_instance(content)
        except VerificationFailed:
            return False
        return True

    def _parts(self, now_ms: int) -> Iterator[Part]:
        if self.keypair is None:
            raise ValueError("an archive cannot be sealed anew: its key is elsewhere")
        return parts_of_store(self.store, self.genesis, self.keypair, now_ms, self.matching)


@contextmanager
def open_home(home: Home) -> Iterator[Offline]:
    """A stopped node's ledger, locked meanwhile. Raises LocalError, also where a node runs on it."""
    genesis = load_genesis(home.genesis_path)
    keypair = load_keypair(home, genesis)
    store = open_store(home.ledger_path, genesis.network_id(), load_dsn(home, load_config(home).ledger))
    try:
        yield Offline(genesis, store, BlobStore(home.blobs_path, BLOB_MAX_BYTES), load(genesis, store), keypair)
    finally:
        store.close()


@contextmanager
def open_archive(path: Path, on_bytes: OnBytes = unseen) -> Iterator[Offline]:
    """An archive's ledger, checked. Raises VerificationFailed, and LocalError if it cannot be read."""
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="heliotrope-")))
        file = undo.enter_context(open_file(path))
        blobs = BlobStore(folder / "blobs", BLOB_MAX_BYTES)
        keeper = Keeper(folder / "ledger.db", blobs, on_bytes)
        undo.callback(keeper.close)
        verified = verify(file, keeper.take)
        keeper.flush()
        if keeper.store is not None:  # a verified archive has begun with its genesis
            yield Offline(verified.ledger.genesis, keeper.store, blobs, verified.ledger, None)


def names(key: bytes) -> Peer:
    """Without adverts a peer has no other name than its key's."""
    return Peer(key=key.hex(), peer_id=peer_id(key), label=short(key))


def _verify_for(genesis: Genesis, file: BinaryIO, on_bytes: OnBytes) -> Verified:
    verified = verify(file, lambda part, _: on_bytes(part.offset))
    theirs = verified.ledger.genesis
    if theirs != genesis:
        raise LocalError(
            "HEL-LEDGER-014",
            f"the archive is of network {theirs.network_id().hex()[:16]} {theirs.name!r}, this home of"
            f" {genesis.network_id().hex()[:16]} {genesis.name!r}",
            "Name a home of the archive's network with --home.",
        )
    return verified
