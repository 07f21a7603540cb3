"""How far long work is: a bar on stderr, where a person watches; nothing for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ADVANCE_MIN_SHARE = 500  # the bar is told of every five hundredth: an update costs more than checking an entry


@contextmanager
def progress(label: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yields what is to be told how far the work is, of `total`; None: nobody knows how much there is."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    step = max(1, total // ADVANCE_MIN_SHARE) if total else 2**20
    told = 0
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)

        def tell(done: int) -> None:
            nonlocal told
            if abs(done - told) >= step:
                told = done
                bar.update(task, completed=done)

        yield tell
