"""Facts about tensor files: equal tensors, equal bytes; nothing but the expected layout is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from node.training.tensors import layout_of, read, write
from protocol.errors import Reject

from .builders import equal

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, -2], dtype=torch.int8)}


def test_reads_what_was_written(tmp_path: Path) -> None:
    file = write(tmp_path / "t.safetensors", TENSORS)
    content = file.path.read_bytes()
    assert (file.sha256, file.size_bytes) == (hashlib.sha256(content).digest(), len(content))
    assert equal(read(file.path, layout_of(TENSORS)), TENSORS)
    assert list(tmp_path.iterdir()) == [file.path]


def test_equal_tensors_make_equal_files(tmp_path: Path) -> None:
    backwards = dict(reversed(TENSORS.items()))
    assert write(tmp_path / "1", TENSORS).sha256 == write(tmp_path / "2", backwards).sha256


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"a": TENSORS["a"]}, "'b' is missing or unknown"),
        ({**TENSORS, "c": torch.zeros(1)}, "'c' is missing or unknown"),
        ({**TENSORS, "a": torch.zeros(3, 2)}, "expected torch.float32 \\(2, 3\\)"),
        ({**TENSORS, "a": torch.zeros(2, 3, dtype=torch.int32)}, "expected torch.float32 \\(2, 3\\)"),
        ({**TENSORS, "a": torch.full((2, 3), torch.nan)}, "not finite"),
        ({**TENSORS, "a": torch.full((2, 3), torch.inf)}, "not finite"),
    ],
    ids=["missing", "unknown", "shape", "type", "nan", "infinity"],
)
def test_reject_other_tensors(tmp_path: Path, tensors: dict[str, Tensor], reason: str) -> None:
    save_file(tensors, tmp_path / "t")
    with pytest.raises(Reject, match=reason):
        read(tmp_path / "t", layout_of(TENSORS))


def test_stranger_cannot_fill_our_messages(tmp_path: Path) -> None:
    save_file({"\x1b[2J" * 500: torch.zeros(1)}, tmp_path / "t")
    with pytest.raises(Reject) as caught:
        read(tmp_path / "t", layout_of(TENSORS))
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-1], "not a safetensors file"),
        (lambda content: b"", "not a safetensors file"),
        (lambda content: b"\xff" * 8 + content[8:], "not a safetensors file"),
        (lambda content: content + b"x", "not a safetensors file"),
        (lambda content: content + bytes(1 << 20), "bytes; its tensors take at most"),
    ],
    ids=["cut off", "empty", "header length", "appended", "swollen"],
)
def test_reject_damaged_file(tmp_path: Path, damage: Callable[[bytes], bytes], reason: str) -> None:
    path = write(tmp_path / "t", TENSORS).path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Reject, match=reason):
        read(path, layout_of(TENSORS))
