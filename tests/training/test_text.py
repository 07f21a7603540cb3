"""Facts about the data: pinned by hash, held out at the end, drawn by (seed, shard, round)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

import node
from node.training.text import batches, load, validation_windows
from protocol.errors import LocalError, VerificationFailed

from .builders import TEXT, loaded_text, text_file, training_spec


def drawn(directory: Path, *, seed: int = 7, shard: int = 0, round_number: int = 0) -> list[Tensor]:
    spec = training_spec(seed=seed)
    return list(batches(loaded_text(directory, spec), spec, shard, round_number))


def test_last_twentieth_is_held_out(tmp_path: Path) -> None:
    text = loaded_text(tmp_path, training_spec())
    assert bytes(text.training.tolist()) + bytes(text.validation.tolist()) == TEXT
    assert len(text.validation) == len(TEXT) // 20


def test_example_text_is_the_one_whose_source_is_told() -> None:
    examples = Path(node.__file__).parent / "examples"
    text = (examples / "shakespeare.txt").read_bytes()
    assert text.isascii()
    assert hashlib.sha256(text).hexdigest() in (examples / "SOURCES.md").read_text()


def test_several_files_are_one_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    (tmp_path / "b").write_bytes(TEXT[::-1])
    spec = training_spec(data=(*training_spec().data, *training_spec(TEXT[::-1]).data))
    text = load([tmp_path / "a", tmp_path / "b"], spec)
    assert bytes(text.training[: len(TEXT) + 9].tolist()) == TEXT + TEXT[:-10:-1]


@pytest.mark.parametrize("content", [TEXT[:-1] + b"?", TEXT[:-1], TEXT + b"?", b""])
def test_refuse_file_that_the_job_does_not_name(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(VerificationFailed, match="is not the data file"):
        load([text_file(tmp_path, content)], training_spec())


def test_refuse_text_shorter_than_a_window_in_each_part(tmp_path: Path) -> None:
    load([text_file(tmp_path, TEXT[:340])], training_spec(TEXT[:340]))
    with pytest.raises(LocalError, match="339 bytes of text leave 16 held out, but one window takes 17") as caught:
        load([text_file(tmp_path, TEXT[:339])], training_spec(TEXT[:339]))
    assert "at least 340 bytes" in caught.value.remedy


def test_batches_are_windows_of_the_training_text(tmp_path: Path) -> None:
    found = drawn(tmp_path)
    assert [tuple(batch.shape) for batch in found] == [(4, 17)] * 5
    training = TEXT[: -(len(TEXT) // 20)]
    assert all(bytes(window.tolist()) in training for batch in found for window in batch)


def test_batches_are_a_function_of_seed_shard_and_round(tmp_path: Path) -> None:
    first = torch.stack(drawn(tmp_path))
    torch.manual_seed(99)  # the process-wide generator has no say
    assert torch.equal(torch.stack(drawn(tmp_path)), first)
    for other in (drawn(tmp_path, seed=8), drawn(tmp_path, shard=1), drawn(tmp_path, round_number=1)):
        assert not torch.equal(torch.stack(other), first)


def test_validation_windows_follow_each_other_through_the_held_out_text(tmp_path: Path) -> None:
    spec = training_spec()
    text = loaded_text(tmp_path, spec)
    windows = validation_windows(text, spec, windows_max=1000)
    assert torch.equal(windows.flatten(), text.validation[: windows.numel()])
    assert len(text.validation) - windows.numel() < 17


@pytest.mark.parametrize("windows_max", [1, 3, 5])
def test_fewer_validation_windows_are_evenly_spread(tmp_path: Path, windows_max: int) -> None:
    spec = training_spec()
    text = loaded_text(tmp_path, spec)
    every = validation_windows(text, spec, windows_max=1000)
    windows = validation_windows(text, spec, windows_max)
    assert len(windows) <= windows_max
    stride = -(-len(every) // windows_max)
    assert torch.equal(windows, every[::stride])
