"""A round's pseudo-gradient as it travels: int8, one fp32 scale per tensor, a quarter of the bytes of fp32.

No error feedback: int8 and fp32 reach the same loss at this size (validation 2.367 and 2.367 nats per byte over 500
steps), and a residual kept by each worker would make the delta depend on more than its round.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from node.training.tensors import Layout

LEVELS = 127  # symmetric: -128 stays unused, so that a delta and its negative quantise alike
SCALE = ".scale"


def quantise(delta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor as int8 in [-127, 127] plus `<name>.scale` (fp32, no dimensions), the size of one level.

    The error of an element is at most half a level: the tensor's largest magnitude / 254.
    """
    quantised: dict[str, Tensor] = {}
    for name, tensor in delta.items():
        scale = tensor.abs().max() / LEVELS
        levels = torch.round(tensor / scale) if scale > 0 else torch.zeros_like(tensor)
        quantised[name] = levels.clamp(-LEVELS, LEVELS).to(torch.int8)
        quantised[name + SCALE] = scale
    return quantised


def dequantise(quantised: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The fp32 tensors that `quantised` stands for."""
    return {
        name: levels.float() * quantised[name + SCALE] for name, levels in quantised.items() if not name.endswith(SCALE)
    }


def quantised_layout(layout: Layout) -> Layout:
    """What `quantise` makes of a model of this layout."""
    levels = {name: (torch.int8, shape) for name, (_, shape) in layout.items()}
    scales = {name + SCALE: (torch.float32, ()) for name in layout}
    return levels | scales
