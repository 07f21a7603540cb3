"""A job small enough to train in a blink: valid by default, one field changed per test."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from node.training.outer import first_state
from node.training.text import Text, load
from protocol.messages import Blob, ModelSpec, TrainingSpec

TEXT = b"".join(b"%d green bottles hanging on the wall.\n" % (n % 97) for n in range(100))

MODEL = {
    "vocab_size": 256,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
}


def model_spec(**changes: Any) -> ModelSpec:
    return ModelSpec(**{**MODEL, **changes})


def training_spec(text: bytes = TEXT, **changes: Any) -> TrainingSpec:
    fields: dict[str, Any] = {
        "model": model_spec(),
        "data": (Blob(sha256=hashlib.sha256(text).digest(), size_bytes=len(text)),),
        "seed": 7,
        "rounds": 4,
        "inner_steps": 5,
        "batch_size": 4,
        "inner_learning_rate_micro": 10_000,
        "inner_warmup_steps": 4,
        "inner_weight_decay_micro": 0,
        "outer_learning_rate_permille": 700,
        "outer_momentum_permille": 600,
    }
    return TrainingSpec(**{**fields, **changes})


def text_file(directory: Path, text: bytes = TEXT) -> Path:
    path = directory / "text.txt"
    path.write_bytes(text)
    return path


def loaded_text(directory: Path, spec: TrainingSpec) -> Text:
    return load([text_file(directory)], spec)


def first_parameters(spec: TrainingSpec) -> dict[str, Tensor]:
    return dict(first_state(spec).parameters)


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """The same names and the same bits."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
