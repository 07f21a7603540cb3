"""Tensor files: safetensors of an exactly known layout, written whole or not at all, read as if from a stranger.

Not here: what the tensors mean (`delta`, `outer`). Pickle in any form was refused: reading it runs code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from node.training.wire import TensorFile
from protocol.errors import Reject

Layout: TypeAlias = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]  # every tensor's name, type and shape

HEADER_BYTES_PER_TENSOR_MAX = 1024  # a Llama's name, type, shape and offsets take about 120
QUOTE_MAX = 120  # characters of a stranger's text in one of our messages


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """The layout that a file of these tensors has."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def write(path: Path, tensors: Mapping[str, Tensor]) -> TensorFile:
    """Write the file under a temporary name, then rename it. Equal tensors give equal bytes."""
    unfinished = path.with_suffix(".tmp")
    # One metadata key only: safetensors keeps them in a hash map, and two would come out in either order.
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished, {"format": "pt"})
    with unfinished.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").digest()
    size_bytes = unfinished.stat().st_size
    unfinished.replace(path)
    return TensorFile(path=path, sha256=sha256, size_bytes=size_bytes)


def read(path: Path, layout: Layout) -> dict[str, Tensor]:
    """The tensors of a file that holds exactly `layout` and only finite numbers.

    Raises:
        Reject: it holds anything else. Checked in this order: (1) size, before a byte is parsed; (2) the container;
            (3) names; (4) types and shapes; (5) finite numbers, since one NaN would spread to every shard.
        OSError: it cannot be read.
    """
    size_bytes = path.stat().st_size
    content_bytes = sum(dtype.itemsize * torch.Size(shape).numel() for dtype, shape in layout.values())
    size_bytes_max = content_bytes + HEADER_BYTES_PER_TENSOR_MAX * (len(layout) + 1)
    if size_bytes > size_bytes_max:
        raise Reject(f"{path.name} has {size_bytes} bytes; its tensors take at most {size_bytes_max}")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise Reject(f"{path.name} is not a safetensors file: {quoted(str(error))}") from error
    if odd := sorted(tensors.keys() ^ layout.keys()):
        raise Reject(f"{path.name} has other tensors than the model: {quoted(odd[0])} is missing or unknown")
    for name, (dtype, shape) in layout.items():
        tensor = tensors[name]
        if (tensor.dtype, tuple(tensor.shape)) != (dtype, shape):
            raise Reject(f"{path.name}: {name} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}")
        if dtype.is_floating_point and not bool(tensor.isfinite().all()):
            raise Reject(f"{path.name}: {name} holds numbers that are not finite")
    return tensors


def quoted(text: str) -> str:
    """What a stranger may have written, short and without control characters."""
    return ascii(text[:QUOTE_MAX])
