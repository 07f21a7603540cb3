"""A node of its own for a bench: a home in a folder, alone on loopback, in a network of attestations."""

from __future__ import annotations

from pathlib import Path

from node.energy.supply import EnergyConfig
from node.home.config import ApiConfig, Config, LinkConfig
from node.home.home import Home
from node.home.identity import create_home
from protocol.genesis import Genesis

ENERGY = EnergyConfig(
    device_id="meter", zone="NO-NO5", latitude=60.4, longitude=5.3, carrier="hydro", capacity_w=400, own_g_per_kwh=24
)


def make_home(path: Path, genesis: Genesis) -> Home:
    home = Home(path)
    link = LinkConfig(listen="/ip4/127.0.0.1/tcp/0", data_port=0)
    create_home(home, Config(label="bench", api=ApiConfig(port=0), link=link, energy=ENERGY), genesis)
    return home
