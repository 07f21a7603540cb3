"""What to say where a library that only one source needs is not installed."""

from __future__ import annotations

from protocol.errors import LocalError


def missing(extra: str, error: ImportError) -> LocalError:
    """`extra`: of this package, in pyproject.toml; it brings the library."""
    return LocalError(
        "HEL-ENERGY-020",
        f"{extra} needs the module {error.name}, which cannot be imported",
        f"pip install 'heliotrope[{extra}]'",
    )
