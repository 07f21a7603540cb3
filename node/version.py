"""Which release this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def version() -> str:
    """The installed distribution's version; of a source tree that was never installed, that it is one."""
    try:
        return installed_version("heliotrope")
    except PackageNotFoundError:
        return "0+source"
