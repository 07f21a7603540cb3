"""Starts a worker, speaks to it, ends it. All that the daemon imports of training: torch stays in the worker.

A worker is one subprocess in a session of its own. It is lost when it ends unasked, says nothing for `silence_s`, or
says what is no reply; then its process group is killed and `on_lost` is called, once. Cancelling a request ends the
worker too: half a segment is worth nothing, and its optimiser would no longer be the one that others can repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from node.training import wire
from node.training.errors import FaultyDelta, WorkerLost
from protocol.errors import LocalError
from protocol.messages import TrainingSpec

PROGRAM = (sys.executable, "-P", "-m", "node.training.worker")  # -P: nothing is imported from where it runs
START_S = 60.0  # with a warm disk it takes 1.5 s; a guess for a cold one on a busy machine
SILENCE_S = 10.0  # ten heartbeats
GRACE_S = 10.0  # a worker hears a stop within one inner step
LEAVE_S = 1.0  # between the end of its output and the end of the process
STDERR_BYTES_MAX = 4096  # kept of what the worker said last; what came before is lost

# All that a program needs to run. The daemon's tokens, keys and proxies stay with the daemon.
INHERITED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH")

AnyReply = TypeVar("AnyReply", bound=wire.Reply)


class Worker:
    """A running worker. Requests wait for each other; all of them raise WorkerLost once the worker is lost."""

    ready: wire.Ready  # what it said of itself
    step = 0  # inner steps since round 0, as last heard

    def __init__(self, process: asyncio.subprocess.Process, on_lost: Callable[[str], None], silence_s: float) -> None:
        self._process = process
        self._on_lost = on_lost
        self._silence_s = silence_s
        self._turn = asyncio.Lock()
        self._pending: asyncio.Future[wire.Reply] | None = None
        self._end: str | None = None  # why it takes no more requests
        self._end_expected = False
        self._stderr = b""
        self._life = asyncio.create_task(self._live())

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(
        cls,
        *,
        role: wire.Role,
        directory: Path,
        spec: TrainingSpec,
        data: Sequence[Path],
        shard: int,
        on_lost: Callable[[str], None],
        moments: Path | None = None,
        threads: int = 1,
        silence_s: float = SILENCE_S,
        program: Sequence[str] = PROGRAM,
    ) -> Self:
        """Start a worker and wait until it is ready. A lead's `shard` has no meaning: 0.

        `directory` is made (0700) when missing; the worker writes nowhere else. `data` are the files of `spec.data`, in
        its order; `moments` is the file of a shard's AdamW moments to go on from. With more `threads` than free cores
        training crawls: two a worker on two contended cores made 50 steps last 45 s instead of 1.5 s. Call it on a
        thread that lives as long as the daemon: the kernel kills the worker when the thread that started it ends.

        Raises LocalError: torch is missing, the text is too short or not the job's, or the worker did not come up.
        """
        make_private(directory)
        process = await asyncio.create_subprocess_exec(
            *program,
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=wire.LINE_BYTES_MAX,
            cwd=directory,
            env=environment(directory, threads),
            start_new_session=True,
        )
        worker = cls(process, on_lost, silence_s)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(worker.stop, grace_s=0)
            command = wire.Prepare(
                role=role, shard=shard, spec=spec, data=tuple(data), directory=directory, moments=moments
            )
            worker._end_expected = True  # until it is ready, a loss is told by raising
            try:
                async with asyncio.timeout(START_S):
                    worker.ready = await worker._ask(command, wire.Ready)
            except TimeoutError as error:
                raise WorkerLost(f"it was not ready within {START_S:g} s") from error
            worker._end_expected = False
            undo.pop_all()
        return worker

    async def round(self, number: int, params: Path) -> wire.Delta:
        """Shard: train round `number` from the parameters in the file `params`. Raises LocalError."""
        return await self._ask(wire.TrainRound(round=number, params=params), wire.Delta)

    async def save(self) -> wire.Saved:
        """Shard: write down its moments. Raises LocalError."""
        return await self._ask(wire.Save(), wire.Saved)

    async def init(self) -> wire.Outer:
        """Lead: make the outer state before round 0. Raises LocalError."""
        return await self._ask(wire.Initialise(), wire.Outer)

    async def outer_step(self, number: int, state: Path, deltas: Sequence[Path]) -> wire.Outer:
        """Lead: step from the checkpoint `state` along the mean of round `number`'s deltas, given in shard order.

        Raises FaultyDelta when one of them must be left out, LocalError for anything else.
        """
        return await self._ask(wire.OuterStep(round=number, state=state, deltas=tuple(deltas)), wire.Outer)

    async def evaluate(self, params: Path) -> int:
        """Lead: thousandths of a nat per byte on the held-out text. Raises LocalError."""
        return (await self._ask(wire.Evaluate(params=params), wire.Evaluated)).loss_millinats

    async def sample(self, params: Path, prompt: str, size_bytes: int, temperature_permille: int, seed: int) -> str:
        """Lead: `size_bytes` bytes that continue `prompt`. Strangers trained it: quote it before it is printed.

        Raises LocalError.
        """
        command = wire.Sample(
            params=params, prompt=prompt, size_bytes=size_bytes, temperature_permille=temperature_permille, seed=seed
        )
        return (await self._ask(command, wire.Sampled)).text

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask the worker to end, wait `grace_s`, then kill its process group. Nothing is left when this returns.

        A round under way is abandoned. Stopping twice, or after a loss, is harmless.
        """
        self._end_expected = True
        self._end = self._end or "it was stopped"
        try:
            self._send(wire.Stop())
            async with asyncio.timeout(grace_s):
                await asyncio.shield(self._life)
        except TimeoutError:
            pass  # its time is up
        finally:
            self._kill()
            await asyncio.shield(self._life)

    async def _ask(self, command: wire.Command, expected: type[AnyReply]) -> AnyReply:
        async with self._turn:
            if self._end is not None:
                raise WorkerLost(self._end)
            self._pending = asyncio.get_running_loop().create_future()
            try:
                self._send(command)
                reply = await self._pending
            except asyncio.CancelledError:
                self._end_expected = True
                self._end = f"'{command.op}' was cancelled"
                self._kill()
                raise
            finally:
                self._pending = None
        match reply:
            case wire.Failed(faulty=int(index)):
                raise FaultyDelta(index, reply.cause)
            case wire.Failed():
                raise LocalError(reply.code, reply.cause, reply.remedy)
            case _ if isinstance(reply, expected):
                return reply
            case _:
                self._kill()
                raise WorkerLost(f"it answered '{command.op}' with '{reply.op}'")

    def _send(self, command: wire.Command) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(wire.to_line(command))

    async def _live(self) -> None:
        """Hear the worker out, see its process off, and tell whoever waits."""
        stderr = asyncio.create_task(self._keep_stderr())
        reason = await self._listen()
        self._kill()
        code = await self._process.wait()
        await stderr
        last_words = self._stderr.decode(errors="replace").strip().rpartition("\n")[2]
        self._end = self._end or f"{reason} (exit code {code}, last words {last_words!r})"
        if self._pending is not None and not self._pending.done():
            self._pending.set_exception(WorkerLost(self._end))
        if not self._end_expected:
            self._on_lost(self._end)

    async def _listen(self) -> str:
        """Pass replies on until there can be no more; returns why."""
        assert self._process.stdout is not None  # noqa: S101  # a pipe was asked for
        patience_s = START_S  # loading torch from a slow disk holds the interpreter, and with it the heartbeat
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    line = await self._process.stdout.readline()
                reply = wire.parse_reply(line) if line else None
            except TimeoutError:
                return f"it said nothing for {patience_s:g} s"
            except ValueError:  # longer than LINE_BYTES_MAX, or no reply
                return "it said what is no reply"
            match reply:
                case None:
                    await self._leave()
                    return "it ended"
                case wire.Heartbeat():
                    self.step = reply.step
                case wire.Bye():
                    pass
                case _ if self._pending is None or self._pending.done():
                    return f"it said '{reply.op}' unasked"
                case _:
                    patience_s = self._silence_s
                    self._pending.set_result(reply)

    async def _leave(self) -> None:
        """Let a process that has closed its output end by itself, so that its exit code tells the cause."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._process.wait()

    async def _keep_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # a pipe was asked for
        while chunk := await self._process.stderr.read(STDERR_BYTES_MAX):
            self._stderr = (self._stderr + chunk)[-STDERR_BYTES_MAX:]

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended and will be reaped
                os.killpg(self._process.pid, signal.SIGKILL)


def make_private(directory: Path) -> None:
    """Make the directory if it is missing, and let only its owner in."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def environment(directory: Path, threads: int) -> dict[str, str]:
    """What a worker knows of the daemon's surroundings; it imports what the daemon could import."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {
        "HOME": str(directory),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "TMPDIR": str(directory),
    }
