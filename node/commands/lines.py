"""Files of JSON lines that a command is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def lines_of(path: Path, line_max_bytes: int) -> Iterator[Iterator[bytes]]:
    """The lines of a stranger's file, none held that is longer than a reader takes; a refusal says which file it is."""
    from node.json_lines import Malformed

    with path.open("rb") as file:
        try:
            yield bounded(file, line_max_bytes)
        except Malformed as error:
            raise Malformed(error.code, f"{path}: {error.cause}", error.remedy) from None


def bounded(file: BinaryIO, line_max_bytes: int) -> Iterator[bytes]:
    """Its lines; of a longer one, as much as shows that it is."""
    return iter(lambda: file.readline(line_max_bytes + 1), b"")
