"""The text that a job trains on: plain bytes, each a token, and which of them a shard sees in a round."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from protocol.errors import LocalError, VerificationFailed
from protocol.messages import TrainingSpec

VALIDATION_PERMILLE = 50  # the last 5 % are held out; the usual share, not tuned


@dataclass(frozen=True, slots=True)
class Text:
    """All of a job's data in memory, one uint8 per byte."""

    training: Tensor  # (N,)
    validation: Tensor  # (M,)


def load(paths: Sequence[Path], spec: TrainingSpec) -> Text:
    """Read the files that `spec.data` names, in that order, as one text.

    Raises:
        VerificationFailed: a file is not the one that the job names. Nothing is trained on unpinned data.
        LocalError: the text is too short for one window in each part.
        OSError: a file cannot be read.
    """
    content = bytearray()
    for path, blob in zip(paths, spec.data, strict=True):
        size_bytes = path.stat().st_size
        part = path.read_bytes() if size_bytes == blob.size_bytes else b""
        if hashlib.sha256(part).digest() != blob.sha256:
            raise VerificationFailed(
                "HEL-TRAIN-003",
                f"{path} ({size_bytes} bytes) is not the data file {blob.sha256.hex()} of {blob.size_bytes} bytes",
                "remove the file, so that it is fetched again",
            )
        content += part
    held_out = len(content) * VALIDATION_PERMILLE // 1000
    window = spec.model.max_position_embeddings + 1
    if min(held_out, len(content) - held_out) < window:
        raise LocalError(
            "HEL-TRAIN-004",
            f"{len(content)} bytes of text leave {held_out} held out, but one window takes {window}",
            f"give at least {-(-window * 1000 // VALIDATION_PERMILLE)} bytes, or lower max_position_embeddings",
        )
    tokens = torch.frombuffer(content, dtype=torch.uint8)
    return Text(tokens[: len(content) - held_out], tokens[len(content) - held_out :])


def batches(text: Text, spec: TrainingSpec, shard: int, round_number: int) -> Iterator[Tensor]:
    """The round's `inner_steps` batches (B, T + 1) of random windows: a function of (seed, shard, round) alone.

    So anyone can repeat the segment, and whoever takes a shard over sees what the lost worker would have seen.
    """
    name = f"{spec.seed}/{shard}/{round_number}".encode()
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name).digest()[:8]))
    window = torch.arange(spec.model.max_position_embeddings + 1)
    starts = len(text.training) - len(window) + 1
    for _ in range(spec.inner_steps):
        start = torch.randint(starts, (spec.batch_size, 1), generator=generator)
        yield text.training[start + window].long()


def validation_windows(text: Text, spec: TrainingSpec, windows_max: int) -> Tensor:
    """At most `windows_max` held-out windows (N, T + 1), evenly spread and without overlap."""
    window = spec.model.max_position_embeddings + 1
    whole = text.validation[: len(text.validation) // window * window].view(-1, window)
    return whole[:: -(-len(whole) // windows_max)].long()
