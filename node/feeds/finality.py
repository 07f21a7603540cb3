"""Our own feed made final: sign a checkpoint when it has grown, ask the witnesses, spread what a quorum cosigned.

One checkpoint is under way at a time. Where a quorum does not answer, it is spread as it is and asked for again, with
what the feed has grown by since. In a network without witnesses a checkpoint is spread as soon as it is signed: it
still binds its author to one history.

A witness is asked like any other peer, by a direct message that holds the text of C2SP tlog-witness; a node may be its
own network's witness, and asks itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.checkpoint import Note, SignatureLine, cosigners, quorum, sign
from ledger.witness import Answer, Promises, Status, answer, request_for
from node.actions import Cosign, ReadTree, Send, SetTimeout
from node.events import Timer, TimerKind, TreeRead
from node.feeds.checkpoints import Checkpoints, Heard, publish
from node.peers import Peers
from node.turn import Identity, Turn
from protocol.direct import AddCheckpoint, Cosignature
from protocol.errors import Reject
from protocol.identity import peer_id

CHECKPOINT_EVERY_MS = 1_000  # guess, not measured: a deal waits for two checkpoints, and each is gossip to everybody
PATIENCE_TICKS = 3  # of CHECKPOINT_EVERY_MS, for witnesses to answer
ASKS_MAX = 3  # of one witness for one checkpoint and one round of patience: a liar could answer with conflicts for ever


@dataclass(slots=True)
class Collection:
    """A checkpoint of ours, and the cosignatures so far."""

    note: Note
    last: bytes  # id of the newest entry that it covers
    lines: dict[bytes, SignatureLine] = field(default_factory=dict)  # by witness
    asked: set[bytes] = field(default_factory=set)  # witnesses that have not answered yet
    asks_left: dict[bytes, int] = field(default_factory=dict)  # by witness, until patience ends
    ticks: int = 0
    is_told: bool = False  # to everybody, though not final
    is_final: bool = False

    @property
    def size(self) -> int:
        return self.note.checkpoint.size

    def ask_anew(self) -> None:
        self.ticks = 0
        self.asked.clear()
        self.asks_left.clear()


@dataclass(slots=True)
class Finality:
    """What becomes of our own feed; `current` is the newest checkpoint of it."""

    peers: Peers
    checkpoints: Checkpoints
    current: Collection | None = None
    cosigned_sizes: dict[bytes, int] = field(default_factory=dict)  # what each witness has cosigned, as it last said
    is_ticking: bool = False

    def watch(self, turn: Turn) -> None:
        """After every event: a feed that rested and has grown is signed at once, one that goes on growing at the next
        tick."""
        if not self.is_ticking and _own_size(turn) > (self.current.size if self.current is not None else 0):
            self._tick_later(turn)
            self._read(turn, _own_size(turn))

    def on_tick(self, turn: Turn) -> None:
        self.is_ticking = False
        current = self.current
        if current is None or current.is_final or not turn.identity.genesis.witnesses:
            return  # `watch` goes on
        self._tick_later(turn)
        current.ticks += 1
        if current.ticks >= PATIENCE_TICKS:
            if not current.is_told:
                current.is_told = True
                publish(turn, current.note)
            current.ask_anew()
            self._read(turn, _own_size(turn))

    def on_tree(self, turn: Turn, event: TreeRead) -> None:
        """Sign what is new, and ask those witnesses whose next step this is."""
        identity = turn.identity
        if self.current is None or self.current.size < event.size:
            note = sign(identity.keypair, identity.network, event.size, event.root)
            self.current = Collection(note, event.last)
            self.checkpoints.keep(turn, Heard(identity.key, note, False, identity.key), event.last)
            if not identity.genesis.witnesses:
                publish(turn, note)
        if self.current.size == event.size and not self.current.is_final:
            self._ask(turn, self.current, event)

    def on_connected(self, turn: Turn, peer: bytes) -> None:
        """A witness is back: it may be the one that was missing."""
        current = self.current
        if current is not None and not current.is_final and peer in turn.identity.genesis.witnesses:
            current.asked.discard(peer)
            self._read(turn, current.size)

    def on_cosignature(self, turn: Turn, peer: bytes, message: Cosignature) -> bool:
        """A witness's answer; whether more of our feed is final now."""
        current, identity = self.current, turn.identity
        if current is None or current.is_final or peer not in current.asked:
            return False  # what nobody asked for could make us read our feed again and again
        current.asked.discard(peer)
        try:
            self._take(turn, current, peer, Answer(Status(message.status), message.body))
        except (Reject, ValueError) as refusal:
            turn.notify("no cosignature", witness=peer_id(peer), size=current.size, reason=str(refusal))
        if len(current.lines) < quorum(len(identity.genesis.witnesses)):
            return False
        current.is_final = True
        final = current.note.with_lines(*(line for _, line in sorted(current.lines.items())))
        is_more = self.checkpoints.keep(turn, Heard(identity.key, final, True, identity.key), current.last)
        publish(turn, final)
        return is_more

    def _take(self, turn: Turn, current: Collection, witness: bytes, told: Answer) -> None:
        """Raises Reject for what does not help."""
        identity = turn.identity
        if told.status is Status.COSIGNED:
            line = told.cosignature()
            if witness not in cosigners(current.note.with_lines(line), identity.network, identity.genesis.witnesses):
                raise Reject("the cosignature is of another key")
            current.lines[witness] = line
            self.cosigned_sizes[witness] = current.size
        elif told.status is Status.CONFLICT:
            size = self.cosigned_sizes[witness] = told.known_size()
            if size > _own_size(turn):
                raise Reject(f"it has cosigned {size} entries of ours, and we have {_own_size(turn)}")
            self._read(turn, current.size)
        else:
            raise Reject(f"{told.status.name}: {told.body.decode(errors='replace').strip()!r}")

    def _read(self, turn: Turn, size: int) -> None:
        starts = {self.cosigned_sizes.get(witness, 0) for witness in turn.identity.genesis.witnesses}
        turn.do(ReadTree(turn.identity.key, size, tuple(sorted(start for start in starts if start <= size))))

    def _ask(self, turn: Turn, current: Collection, event: TreeRead) -> None:
        for witness in turn.identity.genesis.witnesses:
            old_size = self.cosigned_sizes.get(witness, 0)
            is_there = witness in self.peers.connected or witness == turn.identity.key
            left = current.asks_left.get(witness, ASKS_MAX)
            if is_there and left and old_size in event.proofs and witness not in {*current.asked, *current.lines}:
                current.asked.add(witness)
                current.asks_left[witness] = left - 1
                request = request_for(current.note, old_size, event.proofs[old_size])
                turn.do(Send(witness, AddCheckpoint(request=request)))

    def _tick_later(self, turn: Turn) -> None:
        self.is_ticking = True
        turn.do(SetTimeout(Timer(TimerKind.CHECKPOINT), CHECKPOINT_EVERY_MS))


def _own_size(turn: Turn) -> int:
    return turn.ledger.size(turn.identity.key)


# --- the witness ----------------------------------------------------------------------------------------------------


def on_add_checkpoint(turn: Turn, peer: bytes, message: AddCheckpoint) -> None:
    identity = turn.identity
    if identity.key in identity.genesis.witnesses:
        turn.do(Cosign(peer, message.request, identity.genesis.clock.unix_time_ms(turn.now_ms) // 1000))


def cosign(action: Cosign, identity: Identity, promises: Promises) -> Cosignature:
    """Carry out a Cosign; blocks while the promise is made durable.

    An author asks for itself: keys are free, and each feed that a witness has cosigned takes room for ever, so whoever
    wants it must come in person.
    """
    answered = answer(
        action.request, identity.keypair, identity.network, promises, action.time_s, lambda a: a == action.peer
    )
    return Cosignature(status=answered.status, body=answered.body)
