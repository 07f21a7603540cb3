"""Real nodes and a real auditor: what its operator approved it countersigns, and nothing that was withdrawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from node import cli
from node.claims.approval import Approvals
from node.client import Client
from node.home.approvals import write_approvals
from tests.live.nodes import devnet, eventually


def declared(client: Client) -> list[dict[str, Any]]:
    answer = client.devices()
    return [] if answer["waiting"] else answer["devices"]


def test_a_device_is_countersigned_while_it_is_approved(tmp_path: Path) -> None:
    with devnet(tmp_path, 1, auditors=1) as (members, _):
        node, auditor = members
        client = Client.of_home(node.home)
        assert Client.of_home(auditor.home).node()["auditor"]
        assert cli.run(["device", "declare", "--home", str(node.home.path)]) == 0
        eventually(lambda: bool(declared(client)))
        (device,) = declared(client)
        assert [each["peer_id"] for each in device["auditors"]] == [auditor.peer]
        write_approvals(auditor.home.approvals_path, Approvals())
        assert cli.run(["device", "declare", "--home", str(node.home.path)]) == 0
        eventually(lambda: [each["auditors"] for each in declared(client)] == [[]])
