"""Exported ledgers as files: opened, checked, turned from one form into the other, and stored for questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ledger.archive import Kind, Part, forks, frames, lines
from ledger.archive.check import Verified, split, verify
from ledger.checkpoint import is_final, open_note
from ledger.feed import ForkProof
from ledger.store import Store, open_store
from node.home.importing import BATCH
from node.training.blobs import BlobStore
from protocol.codec import decode
from protocol.envelope import Entry, parse
from protocol.errors import LocalError
from protocol.genesis import Genesis

FORMS = {"bin": frames.write, "jsonl": lines.write}

OnBytes = Callable[[int], None]  # how far a file has been read or written, in bytes


def unseen(_: int) -> None:
    """For whoever need not see how far it is."""


def rewrite(path: Path, form: str) -> None:
    """Turn an archive into this form; the seal holds for all. Raises VerificationFailed for what is no archive."""
    with open_file(path) as file:
        write_file(path, split(file), form)


def write_file(path: Path, parts: Iterable[Part], form: str, on_bytes: OnBytes = unseen) -> None:
    """The file is there whole, or not at all."""
    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("wb") as file:
            for piece in FORMS[form](parts):
                file.write(piece)
                on_bytes(file.tell())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def verify_file(path: Path, on_bytes: OnBytes = unseen) -> Verified:
    """Check an archive and keep nothing of it. Raises VerificationFailed, and LocalError if it cannot be read."""
    with open_file(path) as file:
        return verify(file, lambda part, _: on_bytes(part.offset))


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Raises LocalError if it cannot be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror}"
        remedy = "Name an exported ledger: heliotrope ledger export FILE"
        raise LocalError("HEL-LEDGER-011", cause, remedy) from None
    with file:
        yield file


def reread(file: BinaryIO) -> Iterator[Part]:
    file.seek(0)
    return split(file)


class Keeper:
    """Stores what of an archive has been checked."""

    def __init__(self, path: Path, blobs: BlobStore, on_bytes: OnBytes) -> None:
        self.store: Store | None = None
        self._path = path
        self._blobs = blobs
        self._on_bytes = on_bytes
        self._genesis: Genesis | None = None
        self._batch: list[Entry] = []

    def take(self, part: Part, entry: Entry | None) -> None:
        self._on_bytes(part.offset)
        if part.kind is Kind.GENESIS:
            self._genesis = Genesis.model_validate(decode(part.data[32:]))
            self.store = open_store(self._path, self._genesis.network_id())
            return
        store, genesis = self.store, self._genesis
        if store is None or genesis is None:
            raise ValueError("the genesis comes first")
        match part.kind:
            case Kind.FORK:
                store.add_fork(ForkProof(*forks.open_pair(part.data)))
            case Kind.ASIDE:
                store.add_aside([parse(part.data)])
            case Kind.CHECKPOINT:
                note, author = open_note(part.data, genesis.network_id())
                final = is_final(note, genesis.network_id(), genesis.witnesses)
                store.set_checkpoint(author, note.checkpoint.size, part.data.decode(), final)
            case Kind.MATCHING:
                self._blobs.put(part.data)
            case _ if entry is not None:
                self._batch.append(entry)
                if len(self._batch) == BATCH:
                    self.flush()

    def flush(self) -> None:
        if self.store is not None and self._batch:
            self.store.append(self._batch, durable=False)
        self._batch.clear()

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
