"""Job requests that are valid by default, one field changed per test."""

from __future__ import annotations

from typing import Any


def job_request(**changes: Any) -> dict[str, Any]:
    """A request that the host can run: one shard for three of ten slots."""
    fields: dict[str, Any] = {
        "name": "job",
        "shards": 1,
        "memory_mb": 1024,
        "reference_rate_tps": 1000,
        "price_max_credits_per_unit_hour": 0.3,
        "deadline": "10m",
        "model": {
            "vocab_size": 256,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 8,
        },
        "training": {
            "rounds": 4,
            "inner_steps": 250,
            "batch_size": 10,
            "inner_learning_rate": 0.005,
            "outer_learning_rate": 0.7,
            "outer_momentum": 0.6,
            "seed": 1,
            "data": [{"sha256": "00" * 32, "size_bytes": 1}],
        },
    }
    return fields | changes


def with_training(**changes: Any) -> dict[str, Any]:
    request = job_request()
    return request | {"training": request["training"] | changes}
