"""Hypothesis strategies for what may travel: canonical values, and bytes that are almost what they should be."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from protocol.codec import encode
from protocol.messages import INTEGER_MAX

WIDTHS = (0, 1, 31, 32, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, INTEGER_MAX)  # where headers change
EDGES = sorted({number for width in WIDTHS for number in (width, -width)})

integers = st.sampled_from(EDGES) | st.integers(-INTEGER_MAX, INTEGER_MAX)
scalars = st.none() | st.booleans() | integers | st.binary(max_size=300) | st.text(max_size=80)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20).map(tuple) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=25,
)


def near(*good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, canonical values, and good bytes with a stretch replaced."""
    return st.binary(max_size=600) | values.map(encode) | _spoilt(st.sampled_from(good))


def arrays_like(good: tuple[Any, ...]) -> st.SearchStrategy[bytes]:
    """The encoding of this array with one item replaced by any value."""
    return st.tuples(st.integers(0, len(good) - 1), values).map(
        lambda change: encode((*good[: change[0]], change[1], *good[change[0] + 1 :]), 1024)
    )


@st.composite
def _spoilt(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    raw = draw(good)
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(len(raw), start + 8)))
    return raw[:start] + draw(st.binary(max_size=8)) + raw[end:]
