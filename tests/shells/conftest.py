from __future__ import annotations

from pathlib import Path

import pytest

from node.home.config import ApiConfig, Config, LinkConfig
from node.home.home import Home
from node.home.identity import create_home
from node.running import network as network_module
from tests.shells.runtime_scene import NETWORK, SITE, NotingLink


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(network_module, "Link", NotingLink)
    home = Home(tmp_path / "node")
    link = LinkConfig(listen="/ip4/127.0.0.1/tcp/0", data_port=0)
    create_home(home, Config(label="n", api=ApiConfig(port=0), link=link, energy=SITE), NETWORK)
    return home
