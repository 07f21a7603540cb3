"""Facts about quantised deltas: half a level of error, a quarter of the bytes, zero stays zero."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from node.training.delta import LEVELS, dequantise, quantise, quantised_layout
from node.training.tensors import layout_of

from .builders import equal

finite = st.floats(-(2.0**100), 2.0**100, allow_nan=False, width=32)


@given(st.lists(finite, min_size=1, max_size=40))
def test_error_is_at_most_half_a_level(values: list[float]) -> None:
    tensor = torch.tensor(values)
    restored = dequantise(quantise({"w": tensor}))["w"]
    half_level = tensor.abs().max().double() / LEVELS / 2
    rounding = 1e-6 * tensor.abs().max() + torch.finfo(torch.float32).tiny  # of fp32 itself
    assert ((restored.double() - tensor.double()).abs() <= half_level + rounding).all()


def test_largest_element_takes_the_last_level() -> None:
    quantised = quantise({"w": torch.tensor([0.5, -2.0, 1.0])})
    assert quantised["w"].tolist() == [32, -127, 64]
    assert quantised["w.scale"].item() == pytest.approx(2 / 127)


def test_zero_delta_stays_zero() -> None:
    quantised = quantise({"w": torch.zeros(3)})
    assert equal(dequantise(quantised), {"w": torch.zeros(3)})


def test_negated_delta_quantises_to_the_negation() -> None:
    tensor = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(quantise({"w": -tensor})["w"], -quantise({"w": tensor})["w"])


def test_quantising_twice_changes_nothing_more() -> None:
    once = quantise({"w": torch.randn(100, generator=torch.Generator().manual_seed(0))})
    again = quantise(dequantise(once))
    assert torch.equal(once["w"], again["w"])


def test_layout_of_quantised_tensors_is_known_beforehand() -> None:
    delta = {"matrix": torch.ones(2, 3), "gain": torch.ones(3)}
    assert layout_of(quantise(delta)) == quantised_layout(layout_of(delta))
