"""A worker process against a plain PyTorch loop over the same model and batches, both on one thread."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import torch

from node.training.blobs import BlobStore
from node.training.model import Llama
from node.training.supervisor import Worker
from protocol.messages import Blob, ModelSpec, TrainingSpec
from tests.bench.figures import Figure

ROUNDS = 3


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        blobs = BlobStore(Path(directory) / "blobs", 2**30)
        text = Path(str(files("node") / "examples" / "shakespeare.txt"))
        blob = blobs.put(text)
        spec = specification(blob)
        plain_tps = plain_loop(spec, text.read_bytes())
        worker_tps, upload_bytes = asyncio.run(worker(spec, blobs.path(blob.sha256), Path(directory)))
    yield Figure("training", "tokens of a worker", worker_tps, "tokens/s", "plain PyTorch loop", plain_tps, target=0.9)
    parameter_bytes = sum(p.numel() * 4 for p in Llama(spec.model).parameters())
    gradient_bytes = parameter_bytes * spec.inner_steps
    yield Figure(
        "training",
        "upload of a round, int8 delta",
        upload_bytes,
        "B",
        "fp32 gradients of synchronous training",
        gradient_bytes,
        target=1 / spec.inner_steps,
        at_most=True,
    )


def specification(blob: Blob) -> TrainingSpec:
    return TrainingSpec(
        model=ModelSpec(
            vocab_size=256,
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
        ),
        data=(blob,),
        seed=1,
        rounds=ROUNDS,
        inner_steps=50,
        batch_size=16,
        inner_learning_rate_micro=5000,
        inner_warmup_steps=10,
        inner_weight_decay_micro=0,
        outer_learning_rate_permille=700,
        outer_momentum_permille=600,
    )


def plain_loop(spec: TrainingSpec, text: bytes) -> float:
    """Tokens per second of torch.optim.AdamW in a bare loop, the best of ROUNDS segments."""
    torch.set_num_threads(1)
    torch.manual_seed(spec.seed)
    model = Llama(spec.model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=spec.inner_learning_rate_micro / 1e6)
    tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    length = spec.model.max_position_embeddings
    best = 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(spec.inner_steps):
            starts = torch.randint(0, len(tokens) - length - 1, (spec.batch_size,))
            batch = torch.stack([tokens[start : start + length + 1] for start in starts.tolist()])
            optimiser.zero_grad()
            model.loss(batch).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        best = max(best, spec.tokens_per_round / (time.perf_counter() - began))
    return best


async def worker(spec: TrainingSpec, text: Path, directory: Path) -> tuple[float, int]:
    """Tokens per second of a worker, the best of its rounds, and the bytes of a delta."""
    lead = await Worker.start(
        role="lead", directory=directory / "lead", spec=spec, data=[text], shard=0, on_lost=lambda reason: None
    )
    parameters = (await lead.init()).parameters.path
    await lead.stop()
    shard = await Worker.start(
        role="shard", directory=directory / "shard", spec=spec, data=[text], shard=0, on_lost=lambda reason: None
    )
    deltas = [await shard.round(number, parameters) for number in range(ROUNDS)]
    await shard.stop()
    return max(d.tokens * 1000 / d.duration_ms for d in deltas), deltas[0].size_bytes
