"""The whole way from a counter to an attestation that others believe: a service that knows the counter, the reference
meter that signs it, a node that attests it, an auditor that countersigns; all but the first are processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from node import cli
from node.claims.approval import Approval, Approvals
from node.client import Client
from node.devnet.network import Member, Processes, make
from node.energy.device import device_of
from node.energy.meter_server import make_key
from node.energy.sources.meter import SigningMeter
from node.home.approvals import write_approvals
from node.home.config import load_config, render
from node.home.home import Home
from node.home.identity import load_genesis
from node.home.secret import write_private
from protocol.genesis import Clock
from tests.energy.standin import Answer, stand_in
from tests.live.nodes import SEED, eventually, has_peers
from tests.signatures import METER

WATTS, SLOT_MS = 300, 2_000


def counted() -> Answer:
    """What Home Assistant would say of a turbine that gives 300 W since its beginning."""
    now_s = time.time()
    return Answer(
        {
            "entity_id": "sensor.turbine",
            "state": f"{WATTS * (now_s - 1_700_000_000) / 3600:.6f}",
            "attributes": {"unit_of_measurement": "Wh"},
            "last_updated": datetime.fromtimestamp(now_s, UTC).isoformat(),
        }
    )


def in_real_time(home: Home) -> None:
    """Sources of real figures need a network whose clock is the world's."""
    genesis = load_genesis(home.genesis_path)
    changed = genesis.model_copy(
        update={"clock": Clock(unix_ms=0, network_ms=0, speed=1), "slot_ms": SLOT_MS, "surplus_assurance_min": 2}
    )
    home.genesis_path.write_text(changed.model_dump_json())


@contextmanager
def meter_of(member: Member, directory: Path, service_url: str) -> Iterator[str]:
    """The reference meter of a node's turbine, as a process; where it answers."""
    make_key(directory / "meter.key", METER.seed)
    write_private(directory / "token", "long-lived-token")
    energy = load_config(member.home).energy
    (directory / "meter.toml").write_text(
        f'owner = "{member.peer}"\nport = 0\n'
        f'[energy]\ndevice_id = "{energy.device_id}"\nzone = "{energy.zone}"\nlatitude = {energy.latitude}\n'
        f'longitude = {energy.longitude}\ncarrier = "wind"\ncapacity_w = 500\nown_g_per_kwh = 11\n'
        f'[energy.generation]\nsource = "homeassistant"\nbase_url = "{service_url}"\nentity = "sensor.turbine"\n'
        f'key_file = "{directory / "token"}"\n'
    )
    arguments = ("meter.toml", "--key", "meter.key", "--genesis", str(member.home.genesis_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "node", "meter", "run", *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert METER.public.hex() in first
        yield first.split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        process.wait(timeout=10)


def reads_from(member: Member, url: str) -> None:
    """The node's configuration from now on: a turbine behind that meter."""
    config = load_config(member.home)
    section = SigningMeter(source="meter", base_url=url, key=METER.public.hex())
    turbine = {"carrier": "wind", "capacity_w": 500, "own_g_per_kwh": 11, "base_load_w": 0, "generation": section}
    changed = config.model_copy(update={"energy": config.energy.model_copy(update=turbine)})
    member.home.config_path.write_text(render(changed))


def level(client: Client) -> int | None:
    found: int | None = client.node()["power"]["assurance"]
    return found


def test_a_signed_and_audited_counter_is_attested_at_a3(tmp_path: Path) -> None:
    node, auditor = make(tmp_path / "net", 1, SEED, auditors=1)
    for member in (node, auditor):
        in_real_time(member.home)
    with stand_in(lambda _: counted()) as service, meter_of(node, tmp_path, service.base_url) as url:
        reads_from(node, url)
        device = device_of(load_config(node.home).energy)
        assert device.key == METER.public
        write_approvals(auditor.home.approvals_path, Approvals(approvals=(Approval(owner=node.key, device=device),)))
        processes = Processes([node, auditor], owned=True)
        processes.start()
        try:
            client = Client.of_home(node.home)
            eventually(partial(has_peers, client, 1))
            assert cli.run(["device", "declare", "--home", str(node.home.path)]) == 0
            eventually(lambda: level(client) == 3)
            newest = client.energy()["newest"]
            assert newest["method"] == "metered"
            assert newest["source"].startswith("meter ")
            processes.kill(auditor)
            eventually(lambda: level(client) == 1)
            assert "auditors is connected" in client.node()["power"]["unaudited"]
        finally:
            processes.stop()
