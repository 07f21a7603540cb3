"""A devnet: n real nodes as processes on loopback, made from a seed, alike on every run.

Keys, sites and preferred ports follow from the seed; the clock starts when the network is made, at a declared time of
day. Whoever starts a devnet in the foreground owns its processes: they end with it, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from node.claims.approval import Approval, Approvals
from node.devnet.sites import NETWORK_TIME_MS, Site, sites
from node.energy.device import device_of
from node.home.approvals import write_approvals
from node.home.config import ApiConfig, Config, LinkConfig, MachineConfig, MarketConfig, as_keeper
from node.home.home import Home
from node.home.identity import create_home
from protocol.errors import LocalError
from protocol.genesis import Clock, Genesis
from protocol.identity import KeyPair, peer_id

LOOPBACK = "127.0.0.1"
PORT_FIRST = 18_400
PORTS_PER_NODE = 3
SLOT_MS = 10_000  # short slots, so that a job of a minute spans several
KEEPERS_MAX = 16  # witnesses and auditors; a genesis names 64 of each, each is a process, and every node dials all
NEIGHBOURS = 4  # each node dials this many of those before it
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the devnet, as made; it may or may not run."""

    site: Site
    home: Home
    key: bytes
    api_port: int

    @property
    def peer(self) -> str:
        return peer_id(self.key)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A node before its home is written."""

    site: Site
    seed: bytes
    ports: list[int]

    @property
    def key(self) -> bytes:
        return KeyPair(self.seed).public

    @property
    def address(self) -> str:
        return f"/ip4/{LOOPBACK}/tcp/{self.ports[1]}/p2p/{peer_id(self.key)}"


def make(directory: Path, count: int, seed: int, witnesses: int = 0, auditors: int = 0) -> list[Member]:
    """Write the homes of a new devnet: its nodes, its witnesses, then its auditors, who have approved the nodes'
    devices. Raises LocalError if one is there already, for less than one node or for too many of the others.

    Every node dials every witness and auditor: who sells nothing advertises no address.
    """
    if count < 1 or witnesses < 0 or auditors < 0 or witnesses + auditors > KEEPERS_MAX:
        raise LocalError(
            "HEL-DEVNET-004",
            f"a devnet of {count} nodes, {witnesses} witnesses and {auditors} auditors",
            f"Ask for one node at least, and for 0 to {KEEPERS_MAX} witnesses and auditors together.",
        )
    name = f"devnet-{seed}"
    places = [(site, f"{index}") for index, site in enumerate(sites(count, seed))]
    for part, number in (("witness", witnesses), ("auditor", auditors)):
        for index, site in enumerate(sites(number, seed)):
            places.append((replace(site, name=f"{part}-{index}"), f"{part} {index}"))
    taken: set[int] = set()
    drafts = []
    for index, (site, name_of_key) in enumerate(places):
        ports = [_free_port(PORT_FIRST + PORTS_PER_NODE * index + k, taken) for k in range(PORTS_PER_NODE)]
        drafts.append(_Draft(site, hashlib.sha256(f"heliotrope {name} {name_of_key}".encode()).digest(), ports))
    genesis = Genesis(
        name=name,
        clock=Clock(unix_ms=time.time_ns() // 10**6, network_ms=NETWORK_TIME_MS, speed=1),
        slot_ms=SLOT_MS,
        surplus_assurance_min=0,
        witnesses=tuple(draft.key for draft in drafts[count : count + witnesses]),
        auditors=tuple(draft.key for draft in drafts[count + witnesses :]),
        admission="devnet",
    )
    approved = (Approval(owner=draft.key, device=device_of(draft.site.energy)) for draft in drafts[:count])
    approvals = Approvals(approvals=tuple(approved))
    members: list[Member] = []
    for index, draft in enumerate(drafts):
        near = drafts[max(0, index - NEIGHBOURS) : index] + (drafts[count:] if index < count else [])
        config = _config(draft.site, draft.ports, tuple(other.address for other in near))
        if index >= count:
            config = as_keeper(config)
        home = Home(directory / f"{index}-{draft.site.name}")
        create_home(home, config, genesis, draft.seed, is_public=True)
        if draft.key in genesis.auditors:
            write_approvals(home.approvals_path, approvals)
        members.append(Member(draft.site, home, draft.key, draft.ports[0]))
    return members


def _config(site: Site, ports: list[int], bootstrap: tuple[str, ...]) -> Config:
    return Config(
        label=site.name,
        api=ApiConfig(host=LOOPBACK, port=ports[0]),
        link=LinkConfig(
            listen=f"/ip4/{LOOPBACK}/tcp/{ports[1]}",
            data_host=LOOPBACK,
            data_port=ports[2],
            bootstrap=bootstrap,
            connections_per_address=256,  # all come from one
        ),
        energy=site.energy,
        machine=MachineConfig(**{name: getattr(site, name) for name in MachineConfig.model_fields if name != "power"}),
        market=MarketConfig(price_microcredits_per_unit_hour=site.price_microcredits_per_unit_hour),
    )


def _free_port(preferred: int, taken: set[int]) -> int:
    """The first port from `preferred` on that nobody listens on now."""
    for port in range(preferred, 65_536):
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise LocalError("HEL-DEVNET-001", f"no port from {preferred} on is free", "Stop what holds them.")


class Processes:
    """Nodes as child processes. `owned`: the kernel ends them when this process ends, however it ends."""

    def __init__(self, members: list[Member], *, owned: bool) -> None:
        self.members = members
        self._parent = [str(os.getpid())] if owned else []
        self._processes: dict[bytes, subprocess.Popen[bytes]] = {}

    def start(self, members: Sequence[Member] | None = None) -> None:
        """Start all nodes at once, or some again that have ended; return when every API answers.

        Raises LocalError with a node's own words if one does not start: then none is left running.
        """
        starting = self.members if members is None else members
        try:
            for member in starting:
                with self._stderr(member).open("wb") as stderr:
                    self._processes[member.key] = subprocess.Popen(
                        [sys.executable, "-m", "node.daemon", str(member.home.path), *self._parent],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=stderr,
                        start_new_session=True,  # Ctrl-C reaches the owner alone, which then ends them in order
                    )
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while waiting := [m for m in starting if not self._is_up(m)]:
                for member in waiting:
                    if self._processes[member.key].poll() is not None or time.monotonic() > deadline_s:
                        raise self._did_not_start(member)
                time.sleep(POLL_S)
        except BaseException:
            for process in self._processes.values():
                process.kill()
                process.wait()
            raise

    def kill(self, member: Member) -> None:
        """SIGKILL: the node gets no chance to say goodbye."""
        self._processes[member.key].kill()
        self._processes[member.key].wait()

    def stop(self) -> None:
        """End every node in order, or, after a while, without."""
        for process in self._processes.values():
            process.terminate()
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _did_not_start(self, member: Member) -> LocalError:
        words = self._stderr(member).read_text(errors="replace").strip()[-2000:]
        return LocalError(
            "HEL-DEVNET-002",
            f"node {member.site.name} did not start: {words or f'no answer within {START_TIMEOUT_S} s'}",
            f"See {member.home.log_path}.",
        )

    def _stderr(self, member: Member) -> Path:
        return member.home.path / "stderr"

    def _is_up(self, member: Member) -> bool:
        """Whether the process that we started has said where it listens: what an earlier one said is not enough."""
        return running_pid(member.home.runtime_path) == self._processes[member.key].pid


def running_pid(runtime_path: Path) -> int | None:
    """The process of a node, if it is one: the number in an old file may be anybody's by now."""
    try:
        pid = int(json.loads(runtime_path.read_bytes())["pid"])
        return pid if b"node.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
