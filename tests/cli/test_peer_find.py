"""`heliotrope peer find`: what it prints of whom the node finds."""

from __future__ import annotations

import json

import pytest

from node.commands.peer_find import find

from .conftest import Running

PEER = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
WAY = "/ip4/192.0.2.1/tcp/8471"


def test_who_is_found_is_listed(node: Running, capsys: pytest.CaptureFixture[str]) -> None:
    node.host.found["europe", "cpu"] = (f"{WAY}/p2p/{PEER}",)
    find(region="europe", home=node.home)
    assert PEER in (said := capsys.readouterr().out)
    assert WAY in said
    find(region="europe", home=node.home, as_json=True)
    assert json.loads(capsys.readouterr().out)["addresses"] == [f"{WAY}/p2p/{PEER}"]


def test_that_nobody_is_found_is_said(node: Running, capsys: pytest.CaptureFixture[str]) -> None:
    find(region="asia", device="cuda", home=node.home)
    assert "nobody is known to offer cuda in asia" in capsys.readouterr().out
