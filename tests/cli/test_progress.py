"""A bar where a person watches, and nothing where a program reads."""

from __future__ import annotations

import sys

import pytest

from node.commands.progress import progress


def drawn(capsys: pytest.CaptureFixture[str], *, total: int | None, quiet: bool) -> tuple[str, str]:
    with progress("checking", total, quiet=quiet) as tell:
        for done in range(0, 5_000_000, 500_000):
            tell(done)
    said = capsys.readouterr()
    return said.out, said.err


@pytest.mark.parametrize("total", [5_000_000, None], ids=["of so much", "of nobody knows how much"])
def test_a_bar_is_drawn_on_a_terminal_on_stderr_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    out, err = drawn(capsys, total=total, quiet=False)
    assert out == ""
    assert "checking" in err


@pytest.mark.parametrize(("is_terminal", "quiet"), [(False, False), (True, True)], ids=["a pipe", "with --json"])
def test_nothing_is_drawn_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool, quiet: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert drawn(capsys, total=10, quiet=quiet) == ("", "")
