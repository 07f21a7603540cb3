"""The program that trains: `python -m node.training.worker PARENT`, one process per shard and one for the lead.

It reads commands from its input and writes replies to its output (`wire`); it opens no socket. Three threads: this
one works, one listens, so that a stop is heard in the middle of a round, one says every second that it lives.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from node.training.errors import FaultyDelta
from node.training.isolation import isolate
from node.training.wire import (
    HEARTBEAT_S,
    LINE_BYTES_MAX,
    MESSAGE_MAX,
    Bye,
    Command,
    Failed,
    Heartbeat,
    Prepare,
    Reply,
    Stop,
    parse_command,
    to_line,
)
from protocol.errors import LocalError, Reject

if TYPE_CHECKING:
    from node.training.roles import Lead, Shard

COMMANDS_MAX = 4  # the supervisor has one under way; past the bound the listener waits, and loses nothing


class Stopped(Exception):
    """A stop was heard."""


class Conversation:
    """Commands in, replies out, and the inner step that the heartbeat tells."""

    def __init__(self) -> None:
        # Replies keep the real standard output; whatever a library prints goes to standard error.
        self._output = os.dup(1)
        os.dup2(2, 1)
        self._writing = threading.Lock()
        self._commands: queue.Queue[Command] = queue.Queue(COMMANDS_MAX)
        self._stopped = threading.Event()
        self._step = 0

    def begin(self) -> None:
        """Start to listen and to beat."""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def say(self, reply: Reply) -> None:
        """Write one line. Ends the process when nobody reads any more."""
        line = to_line(reply)
        with self._writing:
            try:
                while line:
                    line = line[os.write(self._output, line) :]
            except BrokenPipeError:
                os._exit(1)

    def next_command(self) -> Command:
        """Wait for a command. Raises Stopped."""
        command = self._commands.get()
        if self._stopped.is_set():
            raise Stopped
        return command

    def on_step(self, step: int) -> None:
        """Note an inner step. Raises Stopped in the middle of a round: half a segment is worth nothing."""
        self._step = step
        if self._stopped.is_set():
            raise Stopped

    def _listen(self) -> None:
        with os.fdopen(0, "rb") as stream:
            while not self._stopped.is_set():
                line = stream.readline(LINE_BYTES_MAX)
                try:
                    command = parse_command(line) if line else Stop()  # a daemon that died has closed its end
                except ValueError as error:
                    sys.stderr.write(f"not a command: {error}\n")
                    command = Stop()
                if isinstance(command, Stop):
                    self._stopped.set()
                self._commands.put(command)

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_S):
            self.say(Heartbeat(step=self._step))


def main() -> NoReturn:
    """Isolate, then answer every command until a stop or the end of the input."""
    isolation = isolate(parent=int(sys.argv[1]))
    conversation = Conversation()
    conversation.begin()
    role: Shard | Lead | None = None
    with contextlib.suppress(Stopped):
        while True:
            command = conversation.next_command()
            try:
                if isinstance(command, Prepare):
                    from node.training.roles import take_role  # imports torch, which takes a second or is missing

                    role, ready = take_role(command, isolation, conversation.on_step)
                    conversation.say(ready)
                elif role is None:
                    raise LocalError("HEL-TRAIN-007", f"'{command.op}' came before 'spec'", "say 'spec' first")
                else:
                    conversation.say(role.handle(command))
            except (ImportError, LocalError, OSError, Reject) as error:
                conversation.say(failure(error))
    conversation.say(Bye())
    sys.stderr.flush()
    os._exit(0)  # an orderly exit spends half a second on tearing torch down, and the kernel does that anyway


def failure(error: ImportError | LocalError | OSError | Reject) -> Failed:
    """The reply that tells a person what happened. Other exceptions are faults of the program: they end it."""
    cause, faulty = str(error), None
    match error:
        case LocalError():
            code, cause, remedy = error.code, error.cause, error.remedy
        case FaultyDelta():
            code, remedy, faulty = "HEL-TRAIN-008", "average without it", error.index
        case Reject():
            code, remedy = "HEL-TRAIN-008", "fetch the file again, from another peer"
        case ImportError():
            code, remedy = "HEL-TRAIN-001", "pip install 'heliotrope[train]'"
            cause = f"training needs the module {error.name}, which cannot be imported: {error}"
        case _:  # OSError
            code, remedy = "HEL-TRAIN-009", "check the disk and the data directory"
    return Failed(code=code, cause=cause[:MESSAGE_MAX], remedy=remedy, faulty=faulty)


if __name__ == "__main__":
    main()
