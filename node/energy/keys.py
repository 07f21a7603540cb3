"""Keys of web services: from a file of mode 0600 or the environment, and into nothing but a header."""

from __future__ import annotations

import os

from node.energy.source import OptionalKeySection
from node.home.secret import read_secret
from protocol.errors import LocalError


def read_key(section: OptionalKeySection) -> str:
    """The key that a section names; `has_key` says whether it does. Raises Refused if others could read its file,
    LocalError if there is none."""
    if section.key_path is not None:
        where, key = str(section.key_path), read_secret(section.key_path, "Write the key there, mode 0600.")
    else:
        where = f"the environment's {section.key_variable}"
        key = os.environ.get(section.key_variable or "", "")
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise LocalError(
            "HEL-ENERGY-002",
            f"{where} holds no key: it is empty, or not printable ASCII",
            "Write the service's key there, and nothing else.",
        )
    return key
