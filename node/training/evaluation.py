"""How good a model is: its loss on held-out text, and what it writes."""

from __future__ import annotations

import torch

from node.training import text as texts
from node.training.model import Llama
from node.training.text import Text
from protocol.messages import TrainingSpec

TOKENS_MAX = 32_768  # two standard errors of the loss are 0.03 nats on the example text
BATCH_TOKENS = 4_096  # bounds memory, not the result


@torch.no_grad()
def validation_loss(model: Llama, text: Text, spec: TrainingSpec) -> float:
    """Mean nats per byte over evenly spread held-out windows, about `TOKENS_MAX` bytes: the same at every call."""
    context = spec.model.max_position_embeddings
    windows = texts.validation_windows(text, spec, max(1, TOKENS_MAX // context))
    parts = torch.split(windows, max(1, BATCH_TOKENS // context))
    return sum(model.loss(part).item() * len(part) for part in parts) / len(windows)


@torch.no_grad()
def sample(model: Llama, spec: TrainingSpec, prompt: bytes, size_bytes: int, temperature: float, seed: int) -> bytes:
    """`size_bytes` bytes after `prompt`, drawn from the softmax of the logits over `temperature` (0: the likeliest)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.tensor(list(prompt))
    for _ in range(size_bytes):
        logits = model(tokens[None, -spec.model.max_position_embeddings :])[0, -1]  # (V,)
        if temperature == 0:
            token = logits.argmax()[None]
        else:
            token = torch.multinomial((logits / temperature).softmax(0), 1, generator=generator)
        tokens = torch.cat((tokens, token))
    return bytes(tokens[len(prompt) :].tolist())
