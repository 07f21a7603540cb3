"""A network of ledgers against a naive model: whatever happened to its messages, after healing all hold the union.

Strangers write feeds and tell them to nodes, some of them two histories; messages are lost, doubled and overtaken, the
network parts, nodes crash. The model is a dictionary of what was told to somebody.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from node.devnet.sites import DEMO_SITES
from node.events import MessageReceived
from node.sim.network import Faults
from node.sim.world import World
from protocol.direct import Entries, encode_direct
from protocol.envelope import NO_PREV, Entry, seal
from protocol.identity import KeyPair
from tests.sim.worlds import genesis

NAMES = tuple(site.name for site in DEMO_SITES)
WRITERS = tuple(KeyPair(f"writer {number}".encode().ljust(32, b".")) for number in range(4))
ROUGH = Faults(loss_permille=150, duplication_permille=200, delay_max_ms=2_500)

names = st.sampled_from(NAMES)
numbers = st.integers(0, len(WRITERS) - 1)


@dataclass(slots=True)
class Told:
    """What one writer has signed. `branch`: a second history, which parts from the first."""

    chain: list[Entry] = field(default_factory=list)
    branch: list[Entry] = field(default_factory=list)

    @property
    def fork_seq(self) -> int | None:
        return self.branch[0].seq if self.branch else None


class Network(RuleBasedStateMachine):
    """Five nodes that buy nothing and sell nothing, so that only strangers write."""

    world: World

    @initialize(seed=st.integers(0, 2**16))
    def start(self, seed: int) -> None:
        self.world = World(DEMO_SITES, genesis(), random.Random(seed), faults=ROUGH, buyers=NAMES)
        self.world.run(3_000)
        self.told: dict[int, Told] = {number: Told() for number in range(len(WRITERS))}
        self.down: set[str] = set()

    @rule(number=numbers, name=names, count=st.integers(1, 5), back=st.integers(0, 3), refer=st.booleans())
    def write(self, number: int, name: str, count: int, back: int, refer: bool) -> None:
        """A writer tells one node what it has signed lately; a part of it only, from some entries back. It may refer to
        what that node holds, whether or not it will turn out to be a lie."""
        chain = self.told[number].chain
        node = self.world.hosts[name].node
        held = [] if node is None else [head.id for head in node.ledger.head_list()]
        start = len(chain)
        for _ in range(count):
            chain.append(self._sign(number, chain[-1] if chain else None, held if refer else []))
        self._tell(name, chain[max(0, start - back) :])

    @rule(number=st.just(0), name=names, count=st.integers(1, 3), at=st.integers(0, 4))
    def equivocate(self, number: int, name: str, count: int, at: int) -> None:
        """The first writer signs another history, once, and tells it to one node with all that comes before."""
        told = self.told[number]
        if told.branch or len(told.chain) <= at:
            return
        after = told.chain[at - 1] if at else None
        for _ in range(count):
            told.branch.append(self._sign(number, told.branch[-1] if told.branch else after, [], text="or not"))
        self._tell(name, [*told.chain[:at], *told.branch])

    @rule(ms=st.integers(1, 5_000))
    def wait(self, ms: int) -> None:
        self.world.run(ms)

    @rule(split=st.integers(1, len(NAMES) - 1))
    def part(self, split: int) -> None:
        self.world.partition(NAMES[:split], NAMES[split:])

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @precondition(lambda self: len(self.down) < 2)
    @rule(name=names)
    def crash(self, name: str) -> None:
        if name not in self.down:
            self.world.crash(name)
            self.down.add(name)

    @rule()
    def restart_all(self) -> None:
        for name in sorted(self.down):
            self.world.restart(name)
        self.down.clear()

    def teardown(self) -> None:
        """Everybody is back and every writer tells somebody its history: all know all of it, and no more."""
        if not hasattr(self, "world"):
            return
        self.restart_all()
        self.world.heal()
        self.world.network.faults = Faults()
        self.world.run(20_000)
        for told in self.told.values():
            if told.chain:
                self._tell(NAMES[0], told.chain)
            if told.branch:
                self._tell(NAMES[1], [*told.chain[: told.branch[0].seq], *told.branch])
        self.world.run(60_000)
        for name in NAMES:
            self._check(name)

    def _check(self, name: str) -> None:
        ledger = self.world.node(name).ledger
        for number, told in self.told.items():
            author, head = WRITERS[number].public, ledger.heads.get(WRITERS[number].public)
            if told.fork_seq is None:
                assert author not in ledger.forks, "nobody honest is framed"
                assert (head.id if head else None) == (told.chain[-1].id if told.chain else None)
            else:
                assert ledger.forks[author].seq == told.fork_seq
                assert told.fork_seq == 0 or (head is not None and head.seq >= told.fork_seq - 1)
        assert ledger.missing_refs() == set()

    def _sign(self, number: int, after: Entry | None, refs: list[bytes], text: str = "") -> Entry:
        return seal(
            WRITERS[number],
            network=self.world.genesis.network_id(),
            kind="note",
            seq=0 if after is None else after.seq + 1,
            prev=NO_PREV if after is None else after.id,
            time_ms=self.world.now_ms if after is None else max(after.time_ms, self.world.now_ms),
            refs=refs,
            body={"text": text},
        )

    def _tell(self, name: str, entries: list[Entry]) -> None:
        message = Entries(entries=tuple(entry.raw for entry in entries), more=False)
        self.world.handle(name, MessageReceived(WRITERS[0].public, encode_direct(message)))


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=30, stateful_step_count=30)
