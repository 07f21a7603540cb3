"""Facts about blobs: a name is given to whole and verified content only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from node.training.blobs import CHUNK_BYTES, BlobStore
from protocol.errors import LocalError, Reject, VerificationFailed
from protocol.messages import Blob

CONTENT = b"to be, or not to be"
BLOB = Blob(sha256=hashlib.sha256(CONTENT).digest(), size_bytes=len(CONTENT))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(directory: Path) -> BlobStore:
    return BlobStore(directory, size_bytes_max=4 * CHUNK_BYTES)


def receive(store: BlobStore, announced: Blob, chunks: Iterable[bytes]) -> None:
    with store.receive(announced) as incoming:
        for chunk in chunks:
            incoming.write(chunk)


def test_put_names_bytes_by_their_hash(store: BlobStore) -> None:
    assert store.put(CONTENT) == BLOB
    assert store.path(BLOB.sha256).read_bytes() == CONTENT
    assert BLOB.sha256 in store


def test_put_copies_a_file_of_several_chunks(store: BlobStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * (CHUNK_BYTES // 100)
    (tmp_path / "source").write_bytes(content)
    blob = store.put(tmp_path / "source")
    assert (blob.sha256, blob.size_bytes) == (hashlib.sha256(content).digest(), len(content))
    assert store.path(blob.sha256).read_bytes() == content
    assert (tmp_path / "source").read_bytes() == content


def test_put_twice_is_one_blob(store: BlobStore, directory: Path) -> None:
    store.put(CONTENT)
    store.put(CONTENT)
    assert [path.name for path in directory.iterdir()] == [BLOB.sha256.hex()]


def test_empty_content_is_a_blob(store: BlobStore) -> None:
    assert store.path(store.put(b"").sha256).read_bytes() == b""


def test_refuse_own_file_above_the_limit(store: BlobStore, directory: Path, tmp_path: Path) -> None:
    store.put(bytes(4 * CHUNK_BYTES))
    (tmp_path / "source").write_bytes(bytes(4 * CHUNK_BYTES + 1))
    with pytest.raises(LocalError, match="source has more than the 4194304 bytes"):
        store.put(tmp_path / "source")
    assert len(list(directory.iterdir())) == 1


def test_only_the_owner_enters_and_nobody_writes(store: BlobStore, directory: Path) -> None:
    store.put(CONTENT)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert store.path(BLOB.sha256).stat().st_mode & 0o777 == 0o400


def test_open_directory_is_closed_to_others(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    BlobStore(directory, size_bytes_max=1)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_receive_announced_content(store: BlobStore) -> None:
    receive(store, BLOB, [CONTENT[:5], CONTENT[5:]])
    assert store.path(BLOB.sha256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content",
    [CONTENT[:-1], CONTENT[:-1] + b"?", b""],
    ids=["cut off", "altered", "nothing"],
)
def test_reject_other_content_than_announced(store: BlobStore, directory: Path, content: bytes) -> None:
    with pytest.raises(Reject, match="came for the blob"):
        receive(store, BLOB, [content])
    assert list(directory.iterdir()) == []


def test_reject_first_byte_too_many(store: BlobStore, directory: Path) -> None:
    with pytest.raises(Reject, match="more than the 19 bytes"):
        receive(store, BLOB, [CONTENT, b"!"])
    assert list(directory.iterdir()) == []


def test_reject_announcement_above_the_limit_before_any_byte(store: BlobStore) -> None:
    huge = Blob(sha256=BLOB.sha256, size_bytes=4 * CHUNK_BYTES + 1)
    with pytest.raises(Reject, match="this node takes at most 4194304"), store.receive(huge):
        pytest.fail("it must not begin")


def test_broken_connection_leaves_nothing(store: BlobStore, directory: Path) -> None:
    def break_off() -> Iterator[bytes]:
        yield CONTENT[:5]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        receive(store, BLOB, break_off())
    assert list(directory.iterdir()) == []


def test_content_has_no_name_until_it_is_whole(store: BlobStore) -> None:
    with store.receive(BLOB) as incoming:
        incoming.write(CONTENT)
        assert BLOB.sha256 not in store
    assert BLOB.sha256 in store


def test_restart_keeps_blobs_and_removes_what_was_unfinished(store: BlobStore, directory: Path) -> None:
    store.put(CONTENT)
    (directory / "half.tmp").write_bytes(CONTENT[:5])
    reopened = BlobStore(directory, size_bytes_max=CHUNK_BYTES)
    assert reopened.verify(BLOB.sha256).read_bytes() == CONTENT
    assert len(list(directory.iterdir())) == 1


def test_absent_blob_is_named(store: BlobStore) -> None:
    with pytest.raises(LocalError, match=f"blob {BLOB.sha256.hex()} is not on this node"):
        store.path(BLOB.sha256)


def test_rotten_blob_is_found_and_removed(store: BlobStore) -> None:
    store.put(CONTENT)
    path = store.path(BLOB.sha256)
    path.chmod(0o600)
    path.write_bytes(CONTENT.replace(b"not", b"now"))
    with pytest.raises(VerificationFailed, match="had changed on the disk"):
        store.verify(BLOB.sha256)
    assert BLOB.sha256 not in store


def test_removed_blob_is_gone_and_may_be_removed_again(store: BlobStore) -> None:
    store.put(CONTENT)
    store.remove(BLOB.sha256)
    store.remove(BLOB.sha256)
    assert BLOB.sha256 not in store


def test_a_small_blob_is_read_whole_or_not_at_all(store: BlobStore, directory: Path) -> None:
    store.put(CONTENT)
    assert store.read(BLOB.sha256, len(CONTENT)) == CONTENT
    assert store.read(BLOB.sha256, len(CONTENT) - 1) is None
    assert store.read(hashlib.sha256(b"absent").digest(), 10) is None
    path = directory / BLOB.sha256.hex()
    path.chmod(0o600)
    path.write_bytes(CONTENT[::-1])
    assert store.read(BLOB.sha256, len(CONTENT)) is None


def test_content_from_elsewhere_is_kept_under_its_hash_only(store: BlobStore) -> None:
    store.keep(BLOB, CONTENT)
    assert store.names() == [BLOB.sha256]
    with pytest.raises(Reject):
        store.keep(Blob(sha256=hashlib.sha256(b"other").digest(), size_bytes=5), b"bytes")
    assert store.names() == [BLOB.sha256]


def test_what_is_no_blob_has_no_name(store: BlobStore, directory: Path) -> None:
    (directory / "notes.txt").write_text("mine")
    assert store.names() == []
