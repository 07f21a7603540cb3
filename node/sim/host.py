"""A machine of the simulated world: what a crash leaves on it, what dies with its node, and how it serves the node.

It is to the simulation what `node.running.runtime` is to the real world: it hands events to the core, one at a time,
and carries out what the core asks for.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ledger import snapshot
from ledger.audit import violations
from ledger.store import Store
from node import actions as ac
from node import events as ev
from node.claims.approval import Approval
from node.core import Kept, Node
from node.devnet.sites import Site
from node.energy.supply import Supply, reading_start_ms
from node.feeds.checkpoints import restore
from node.feeds.finality import cosign
from node.market.credit import Terms
from node.market.question import answer
from node.running.serving import open_entries, read_answer, read_event
from node.running.trees import Trees
from node.sim.training import Trainer
from node.turn import Identity
from protocol import tickets
from protocol.direct import Ticket, encode_direct
from protocol.envelope import Entry
from protocol.identity import KeyPair
from protocol.messages import Blob, Offer

if TYPE_CHECKING:
    from node.sim.world import World

FORECAST_SLOTS = 64
NOTICES_MAX = 4096  # the oldest are forgotten
READ_METER_MS = 5
READ_STORE_MS = 1
COSIGN_MS = 2
VERIFY_MS = 2
MATCH_MS = 20
REFOLD_MS = 20
LEAVE_MS = 100


class Broken(AssertionError):
    """A promise was broken; says where, when and by which event."""


class Host:
    """One site with its machine."""

    def __init__(
        self,
        world: World,
        site: Site,
        keypair: KeyPair,
        address: str,
        offer: Offer | None,
        store: Store,
        source: Supply,
    ) -> None:
        self.world = world
        self.site = site
        self.keypair = keypair
        self.address = address
        self.offer = offer
        self.source = source
        # on disk
        self.store = store
        self.blobs: set[bytes] = set()
        self.bootstrap: tuple[str, ...] = ()
        self.remembered: tuple[tuple[str, int], ...] = ()
        # what a test may turn
        self.terms = Terms()  # of its next life
        self.round_ms = 2_000  # how long a round of training lasts here
        self.is_meter_broken = False
        self.is_training_stuck = False  # workers hang: nothing they are asked is answered
        self.approvals: tuple[Approval, ...] = ()  # of its operator, as an auditor
        self.is_silent_auditor = False  # who asks for its countersignature waits
        self.is_lying_witness = False  # what it answers is no cosignature of what it was asked
        self.trusts_ledger = False  # the operator vouches for what is on the disk
        self.actions_left: int | None = None  # until a crash in the middle of a turn
        # what it has seen and said, in all its lives
        self.life = 0
        self.notices: deque[ac.Notify] = deque(maxlen=NOTICES_MAX)
        self._signed: dict[int, bytes] = {}  # seq → entry id
        # in memory
        self.node: Node | None = None
        self.heard: set[int] = set()  # gossip that has been here
        self._trainer: Trainer
        self._trees: Trees
        self._read_until_ms = 0

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def key(self) -> bytes:
        return self.keypair.public

    def told(self, kind: str) -> list[ac.Notify]:
        """What the node has told people, of one kind."""
        return [notice for notice in self.notices if notice.kind == kind]

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the node from what is on the disk."""
        world = self.world
        self.life += 1
        ledger = snapshot.load(world.genesis, self.store)
        identity = Identity(self.keypair, self.name, world.genesis, ledger.network, world.topics, world.chance)
        self._trees = Trees(self.store.ids)
        kept = Kept(self.store.epoch, self.store.cursors(), restore(ledger, self.store), self.remembered)
        may_sign = self.trusts_ledger or not self._signed
        self.node = Node(identity, ledger, self.offer, self.bootstrap, terms=self.terms, kept=kept, may_sign=may_sign)
        self._trainer = Trainer(self.blobs, self._fetch, self.round_ms, world.genesis.clock.speed)
        newest = ledger.state.attestations_of.get(self.key)
        self._read_until_ms = newest[-1].end_ms if newest else 0
        url = f"https://{self.address.split('/')[2]}:8472"
        self._bring(0, ev.Started((self.address,), url, hashlib.sha256(url.encode()).digest()))
        self._wait_for_next_slot()

    def crash(self) -> None:
        """kill -9: memory, timers, workers and connections are gone; the disk is whole."""
        self.node = None
        self.actions_left = None
        self.heard.clear()
        self.world.drop_connections(self)

    def stop(self) -> None:
        """An orderly end: what it says last has time to leave."""
        self.handle(ev.Stopping())
        self.world.later(self, LEAVE_MS, self.crash)

    def handle(self, event: ev.Event) -> list[ac.Action]:
        """Let something happen to the node; returns what it asked for, already carried out.

        Raises Broken if the ledger that follows breaks a promise.
        """
        node, world = self.node, self.world
        if node is None:
            return []
        before = node.ledger.count
        actions = node.handle(event, world.now_ms)
        if node.ledger.count != before and (found := violations(node.ledger.state)):
            raise Broken(f"{self.name} at {world.now_ms} ms, after {type(event).__name__}: {found[0]}")
        for action in actions:
            if self.actions_left == 0:
                self.crash()
                break
            if self.actions_left is not None:
                self.actions_left -= 1
            self._perform(node, action)
        return actions

    def _bring(self, after_ms: int, event: ev.Event) -> None:
        self.world.later(self, after_ms, self.handle, event)

    # --- actions ----------------------------------------------------------------------------------------------------

    def _perform(self, node: Node, action: ac.Action) -> None:
        match action:
            case ac.Persist(entries):
                self._persist(entries)
            case ac.PersistFork(author):
                self.store.add_fork(node.ledger.forks[author])
            case ac.PersistCheckpoint(author, size, note, is_final):
                self.store.set_checkpoint(author, size, note.decode(), is_final)
            case ac.PersistAside(entries):
                self.store.add_aside(entries)
            case ac.PersistCursor(peer, cursor):
                self.store.set_cursor(peer, cursor)
            case ac.Provide() | ac.Look() | ac.Blame():
                pass  # gossip reaches all of a small network, and a simulated link bans nobody
            case ac.RememberPeers() | ac.KeepRules() | ac.Notify():
                self._note(action)
            case ac.SetTimer(timer, at_ms):
                clock = self.world.genesis.clock
                self._bring(clock.real_ms(max(0, at_ms - self.world.now_ms)), ev.TimerFired(timer))
            case ac.SetTimeout(timer, after_ms):
                self._bring(after_ms, ev.TimerFired(timer))
            case ac.Publish(topic, data):
                self.world.publish(self, topic, data)
            case ac.Send() | ac.SendEntries() | ac.SendIds() | ac.SendNews() | ac.Dial():
                self._speak(action)
            case _:
                self._work(node, action)

    def _note(self, action: ac.RememberPeers | ac.KeepRules | ac.Notify) -> None:
        match action:
            case ac.RememberPeers(addresses):
                self.remembered = addresses
            case ac.KeepRules():
                pass  # a simulated node starts again with the rules it is given
            case ac.Notify():
                self._notice(action)

    def _speak(self, action: ac.Send | ac.Serving | ac.Dial) -> None:
        match action:
            case ac.Send(peer, message) if peer == self.key:
                self._bring(0, ev.MessageReceived(peer, encode_direct(message)))
            case ac.Send(peer, message):
                self.world.send(self, peer, encode_direct(message))
            case ac.Dial(address):
                self.world.dial(self, address)
            case _:
                for answer_part in read_answer(self.store, action):
                    self.world.send(self, action.peer, encode_direct(answer_part))

    def _work(self, node: Node, action: ac.Action) -> None:
        """Whatever takes time: its result is an event."""
        match action:
            case ac.Verify():
                self._bring(VERIFY_MS, open_entries(action, node.identity.network))
            case ac.FindForks() | ac.ReadTree() | ac.Refold():
                event = read_event(self.store, self._trees, self.world.genesis, action)
                if event is not None:
                    self._bring(REFOLD_MS if isinstance(action, ac.Refold) else READ_STORE_MS, event)
            case ac.Cosign():
                self._cosign(node, action)
            case ac.ReadApprovals():
                if not self.is_silent_auditor:
                    self._bring(READ_STORE_MS, ev.ApprovalsRead(self.approvals))
            case ac.Match(job, candidates, demand):
                plan, instance, summary = answer(candidates, demand)
                blob = Blob(sha256=hashlib.sha256(instance).digest(), size_bytes=len(instance))
                self.blobs.add(blob.sha256)
                self._bring(MATCH_MS, ev.Matched(job, plan, blob, summary))
            case ac.ReadMeter():
                self.world.later(self, READ_METER_MS, self._read_meter)
            case _:
                result = self._trainer.answer(action, self.world.now_ms)
                if result is not None and not self.is_training_stuck:
                    self._bring(*result)

    def _cosign(self, node: Node, action: ac.Cosign) -> None:
        answered = cosign(action, node.identity, self.store)
        if self.is_lying_witness:
            answered = answered.model_copy(update={"body": answered.body.swapcase()})
        self.world.later(self, COSIGN_MS, self._speak, ac.Send(action.peer, answered))

    def _persist(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.author == self.key and self._signed.setdefault(entry.seq, entry.id) != entry.id:
                raise Broken(f"{self.name} signed seq {entry.seq} twice")
        self.store.append(entries, durable=True)
        self.world.record(self, entries)

    def _notice(self, notice: ac.Notify) -> None:
        if notice.kind == "own entry void":
            raise Broken(f"{self.name} at {self.world.now_ms} ms signed a void entry: {dict(notice.data)}")
        self.notices.append(notice)

    # --- meter and blobs --------------------------------------------------------------------------------------------

    def _wait_for_next_slot(self) -> None:
        genesis, now_ms = self.world.genesis, self.world.now_ms
        self.world.later(self, genesis.clock.real_ms(genesis.slot_ms - now_ms % genesis.slot_ms), self._on_slot)

    def _on_slot(self) -> None:
        self._read_meter()
        self._wait_for_next_slot()

    def _read_meter(self) -> None:
        """As `node.running.meter` does: consecutive readings, none overlapping."""
        now_ms, slot_ms = self.world.now_ms, self.world.genesis.slot_ms
        forecast = self.source.forecast(now_ms // slot_ms, FORECAST_SLOTS, slot_ms)
        if self.is_meter_broken:
            self.handle(ev.MeterFailed("the inverter does not answer", forecast=forecast))
        elif now_ms <= self._read_until_ms:
            self.world.later(self, 1, self._read_meter)
        else:
            start_ms = reading_start_ms(self._read_until_ms, now_ms, slot_ms)
            self._read_until_ms = now_ms
            self.handle(ev.MeterRead(self.source.read(start_ms, now_ms), forecast))

    def _fetch(self, ticket: Ticket) -> str:
        """Fetch what a ticket names; returns why it cannot be had, or ""."""
        sha256 = ticket.blob.sha256
        if sha256 not in self.blobs:
            if ticket.holder != self.key or not tickets.is_genuine(ticket) or ticket.expires_at_ms <= self.world.now_ms:
                return "the ticket was refused"
            server = self.world.reachable(self, ticket.server)
            if server is None:
                return "its server cannot be reached"
            if sha256 not in server.blobs:
                return "no such blob there"
            self.blobs.add(sha256)
        return ""
