"""`python -m tests.vectors`: write all files of vectors anew."""

from __future__ import annotations

from tests.vectors.files import MAKERS, path, rendered

for name in MAKERS:
    path(name).write_text(rendered(name))
    print(path(name))
