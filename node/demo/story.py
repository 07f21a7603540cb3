"""The demo from beginning to end. Nothing in it is special to the demo but the kill: it does what a researcher with
five nodes on the network would see, through the same HTTP API and the same ledger.
"""

from __future__ import annotations

import signal
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from node.client import Client
from node.demo.report import Outcome, word_share, write
from node.demo.screen import Screen
from node.devnet.network import Member, Processes, make
from node.home.jobfile import JobFile
from node.home.toml_file import load
from protocol.errors import LocalError, VerificationFailed

PEERS = 5
LEAD_SITE = "singapore-gas"  # the researcher's own node: on a grid too brown to be chosen
MEET_TIMEOUT_S = 60
JOB_TIMEOUT_S = 600
AGREE_TIMEOUT_S = 30
POLL_S = 0.1


def run(out: Path | None, seed: int) -> None:
    """Run the demo and leave its results in `out`. Raises LocalError where it could not be shown to the end."""
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="heliotrope-demo-", ignore_cleanup_errors=True) as directory:
        members = make(Path(directory), PEERS, seed)
        processes = Processes(members, owned=True)
        screen.say(f"starting {PEERS} nodes as {PEERS} processes on loopback, each with its own key, ledger and power")
        try:
            processes.start()
            demo = _Demo(members, processes, screen)
            outcome = demo.play()
            if out is not None:
                screen.say(f"writing the results to {out}")
                write(out, outcome)
                demo.lead.download(outcome.detail["checkpoint"]["sha256"], out / "checkpoint.safetensors")
                demo.lead.export(out / "ledger.bin")
        finally:
            screen.say("stopping the nodes")
            processes.stop()
    outcome.check()
    screen.say("done")


class _Demo:
    def __init__(self, members: list[Member], processes: Processes, screen: Screen) -> None:
        self.members = {m.site.name: m for m in members}
        self.processes = processes
        self.screen = screen
        self.clients = {m.site.name: Client.of_home(m.home) for m in members}
        self.lead = self.clients[LEAD_SITE]
        self.killed = ""
        self.seconds = 0.0

    def play(self) -> Outcome:
        self._meet()
        began_s = time.monotonic()
        job = self._submit()
        self._follow(job)
        self.seconds = time.monotonic() - began_s
        return self._account(job)

    def _meet(self) -> None:
        """Wait until every node knows every other, and show who stands where in the day."""
        self.screen.say("waiting until all have met: libp2p connections, and adverts by gossip")
        deadline_s = time.monotonic() + MEET_TIMEOUT_S
        for name, client in self.clients.items():
            while len(client.offers()["offers"]) < PEERS:
                if time.monotonic() > deadline_s:
                    raise LocalError(
                        "HEL-DEMO-001",
                        f"after {MEET_TIMEOUT_S} s {name} does not know all {PEERS} nodes",
                        f"See {self.members[name].home.log_path}.",
                    )
                time.sleep(POLL_S)
        node = self.lead.node()
        self.screen.say(f"all {PEERS} nodes are connected; the network's clock says", clock_ms=node["now_ms"])
        self.screen.sites(list(self.members.values()), self.lead.offers()["offers"], node)

    def _submit(self) -> str:
        self.screen.say(
            f"a researcher submits node/examples/shakespeare.toml through the API of {LEAD_SITE}, her own node"
        )
        with as_file(files("node") / "examples") as examples:
            asked = load(examples / "shakespeare.toml", JobFile)
            blobs = [self.lead.upload(examples / name) for name in asked.training.data]
        return str(self.lead.submit(asked.request(blobs).model_dump_json())["id"])

    def _follow(self, job: str) -> None:
        """Show what happens; kill a worker in the middle."""
        deadline_s = time.monotonic() + JOB_TIMEOUT_S
        for event in self.lead.events():
            if time.monotonic() > deadline_s:
                break
            data = event["data"]
            if data.get("job") != job:
                continue
            self.screen.event(event["kind"], data)
            if event["kind"] == "round" and data["round"] == data["rounds"] // 2:
                self._kill_one(job)
            if event["kind"] == "job over":
                return
        raise LocalError(
            "HEL-DEMO-002", f"the job was not over after {JOB_TIMEOUT_S} s", "Try again on a calmer machine."
        )

    def _kill_one(self, job: str) -> None:
        placements = self.lead.job(job)["placements"]
        working = [p["provider"]["label"] for p in placements if p["status"] == "leased"]
        self.killed = next((name for name in working if name != LEAD_SITE), "")
        if not self.killed:
            raise LocalError("HEL-DEMO-008", "no node but the lead works on the job", "Try another --seed.")
        self.screen.killed(self.killed)
        self.processes.kill(self.members[self.killed])

    def _account(self, job: str) -> Outcome:
        self.screen.say("comparing the survivors' ledgers, every signature and rule checked again")
        verified = self._agree()
        detail = self.lead.job(job)
        if detail["outcome"] != "done":
            raise LocalError("HEL-DEMO-003", f"the job ended {detail['outcome']}: {detail['reason']}", "See above.")
        with as_file(files("node") / "examples" / "shakespeare.txt") as corpus:
            share = word_share(detail["sample"], corpus.read_text("utf-8"))
        outcome = Outcome(
            seconds=self.seconds,
            peers=PEERS,
            killed=self.killed,
            detail=detail,
            carbon=self.lead.carbon(job),
            verified=verified,
            sample_word_share=share,
        )
        self.screen.outcome(outcome)
        return outcome

    def _agree(self) -> dict[str, Any]:
        """Every survivor's own verification, once all have the same heads: attestations go on while we look."""
        deadline_s = time.monotonic() + AGREE_TIMEOUT_S
        while True:
            verified = {n: c.verify() for n, c in self.clients.items() if n != self.killed}
            if len({v["fingerprint"] for v in verified.values()}) == 1:
                return verified
            if time.monotonic() > deadline_s:
                raise VerificationFailed(
                    "HEL-DEMO-004",
                    f"the survivors' ledgers still differ after {AGREE_TIMEOUT_S} s: "
                    + ", ".join(f"{n} {v['entries']}" for n, v in verified.items()),
                    "This is a fault: report it with the logs.",
                )
            time.sleep(POLL_S)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
