"""Who has no second implementation is told so, and continuous integration does not pass without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import js


@pytest.fixture(params=["Node.js", "js-libp2p"])
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What is not there, though everything else is."""
    (tmp_path / "node_modules" / "libp2p").mkdir(parents=True)
    monkeypatch.setattr(js, "FOLDER", tmp_path if request.param == "Node.js" else tmp_path / "nowhere")
    monkeypatch.setattr("shutil.which", lambda name: None if request.param == "Node.js" else "/usr/bin/node")
    return str(request.param)


def test_without_it_the_tests_are_skipped_and_say_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"{missing} is not installed.*make setup-dev"):
        js.require_js()


def test_without_it_continuous_integration_fails(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=f"{missing} is not installed"):
        js.require_js()
