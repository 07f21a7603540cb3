"""Facts about the worker program, as a supervisor that reads its lines sees it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from node.training import wire
from node.training.delta import quantise
from node.training.outer import first_state
from node.training.supervisor import PROGRAM, environment
from node.training.tensors import write
from protocol.messages import TrainingSpec

from .builders import TEXT, first_parameters, text_file, training_spec


class Program:
    """A running worker and its two ends."""

    def __init__(self, directory: Path, *command: str) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            command or (*PROGRAM, str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=environment(directory, threads=1),
        )

    def say(self, command: wire.Command) -> None:
        self.write(wire.to_line(command))

    def write(self, line: bytes) -> None:
        stream: IO[bytes] = self.process.stdin  # type: ignore[assignment]
        stream.write(line)
        stream.flush()

    def hear(self) -> wire.Reply:
        """The next reply that is no heartbeat."""
        stream: IO[bytes] = self.process.stdout  # type: ignore[assignment]
        while True:
            reply = wire.parse_reply(stream.readline())
            if not isinstance(reply, wire.Heartbeat):
                return reply

    def ask(self, command: wire.Command) -> wire.Reply:
        self.say(command)
        return self.hear()

    def prepare(
        self, spec: TrainingSpec, role: wire.Role = "shard", shard: int = 0, moments: Path | None = None
    ) -> wire.Reply:
        data = (text_file(self.directory),)
        return self.ask(
            wire.Prepare(role=role, shard=shard, spec=spec, data=data, directory=self.directory, moments=moments)
        )

    def fail(self, command: wire.Command) -> wire.Failed:
        reply = self.ask(command)
        assert isinstance(reply, wire.Failed), reply
        return reply


Launch = Callable[..., Program]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts programs, and ends them after the test."""
    with contextlib.ExitStack() as running:

        def launch(*command: str, directory: Path = tmp_path) -> Program:
            program = Program(directory, *command)
            running.enter_context(program.process)
            running.callback(program.process.kill)
            return program

        yield launch


@pytest.fixture
def program(launch: Launch) -> Program:
    return launch()


def worker_code(before: str) -> tuple[str, ...]:
    """A command that does this, then is a worker."""
    return (sys.executable, "-c", f"{before}\nfrom node.training import worker\nworker.main()", str(os.getpid()))


def parameters_file(directory: Path, spec: TrainingSpec) -> Path:
    return write(directory / "start.safetensors", first_parameters(spec)).path


def test_segment_in_another_process_has_the_same_hash(launch: Launch, tmp_path: Path) -> None:
    spec = training_spec()
    start = parameters_file(tmp_path, spec)
    hashes = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        program = launch(directory=tmp_path / name)
        program.prepare(spec, shard=2)
        deltas = [program.ask(wire.TrainRound(round=number, params=start)) for number in (1, 2)]
        hashes.append([delta.sha256 for delta in deltas if isinstance(delta, wire.Delta)])
    assert len(set(hashes[0])) == 2
    assert hashes[0] == hashes[1]


def test_a_shard_goes_on_in_another_process(launch: Launch, tmp_path: Path) -> None:
    spec = training_spec()
    start = parameters_file(tmp_path, spec)
    first = launch()
    first.prepare(spec, shard=2)
    first.ask(wire.TrainRound(round=1, params=start))
    saved = first.ask(wire.Save())
    assert isinstance(saved, wire.Saved)
    expected = first.ask(wire.TrainRound(round=2, params=start))
    (tmp_path / "other").mkdir()
    second = launch(directory=tmp_path / "other")
    second.prepare(spec, shard=2, moments=saved.path)
    moved = second.ask(wire.TrainRound(round=2, params=start))
    assert isinstance(moved, wire.Delta)
    assert isinstance(expected, wire.Delta)
    assert moved.sha256 == expected.sha256


def test_moments_of_another_model_are_refused(program: Program, tmp_path: Path) -> None:
    spec = training_spec()
    reply = program.prepare(spec, moments=parameters_file(tmp_path, spec))
    assert isinstance(reply, wire.Failed)
    assert "has other tensors than the model" in reply.cause


def test_delta_tells_what_the_round_was(program: Program, tmp_path: Path) -> None:
    spec = training_spec()
    program.prepare(spec)
    delta = program.ask(wire.TrainRound(round=3, params=parameters_file(tmp_path, spec)))
    assert isinstance(delta, wire.Delta)
    assert (delta.round, delta.tokens) == (3, 5 * 4 * 16)
    assert delta.path == tmp_path / "delta-00003.safetensors"
    assert delta.size_bytes == delta.path.stat().st_size
    assert 5000 < delta.loss_millinats < 6000


def test_output_is_for_replies_alone(launch: Launch) -> None:
    noisy = (
        "import os\n"
        "from node.training import roles\n"
        "quiet = roles.take_role\n"
        "def noisy(*arguments):\n"
        "    print('from python', flush=True)\n"
        "    os.write(1, b'from native code')\n"
        "    return quiet(*arguments)\n"
        "roles.take_role = noisy\n"
    )
    program = launch(*worker_code(noisy))
    assert isinstance(program.prepare(training_spec()), wire.Ready)
    assert isinstance(program.ask(wire.Stop()), wire.Bye)
    assert program.process.communicate() == (b"", b"from python\nfrom native code")


def test_missing_torch_is_named_with_its_remedy(launch: Launch) -> None:
    reply = launch(*worker_code("import sys; sys.modules['torch'] = None")).prepare(training_spec())
    assert isinstance(reply, wire.Failed)
    assert (reply.code, reply.remedy) == ("HEL-TRAIN-001", "pip install 'heliotrope[train]'")
    assert "torch" in reply.cause


def test_errors_are_replies_and_the_worker_goes_on(program: Program, tmp_path: Path) -> None:
    spec = training_spec()
    round_0 = wire.TrainRound(round=0, params=tmp_path / "start.safetensors")
    assert program.fail(round_0).code == "HEL-TRAIN-007"  # before the specification

    data = (text_file(tmp_path, TEXT[::-1]),)
    prepare = wire.Prepare(role="shard", shard=0, spec=spec, data=data, directory=tmp_path)
    assert program.fail(prepare).code == "HEL-TRAIN-003"
    assert program.fail(prepare.model_copy(update={"data": (tmp_path / "absent",)})).code == "HEL-TRAIN-009"

    assert isinstance(program.prepare(spec), wire.Ready)
    assert program.fail(wire.Initialise()).code == "HEL-TRAIN-007"  # the lead's
    assert program.fail(round_0).code == "HEL-TRAIN-009"
    round_0.params.write_bytes(b"{}")
    assert program.fail(round_0).code == "HEL-TRAIN-008"
    parameters_file(tmp_path, spec)
    assert isinstance(program.ask(round_0), wire.Delta)


def test_lead_names_the_faulty_delta(program: Program, tmp_path: Path) -> None:
    spec = training_spec()
    assert isinstance(program.prepare(spec, role="lead"), wire.Ready)
    first = program.ask(wire.Initialise())
    assert isinstance(first, wire.Outer)
    honest = {name: tensor * 0 for name, tensor in first_state(spec).parameters.items()}
    thrown = {name: tensor + 1 for name, tensor in honest.items()}
    files = [write(tmp_path / name, quantise(delta)).path for name, delta in (("0", honest), ("1", thrown))]
    step = wire.OuterStep(round=0, state=first.checkpoint.path, deltas=tuple(files))
    failed = program.fail(step)
    assert (failed.code, failed.faulty) == ("HEL-TRAIN-008", 1)
    without = program.ask(step.model_copy(update={"deltas": tuple(files[:1])}))
    assert isinstance(without, wire.Outer)
    assert without.parameters.sha256 == first.parameters.sha256  # a delta of zero moves nothing


@pytest.mark.parametrize("ending", ["stop", "end of input"])
def test_round_is_abandoned_at_once(program: Program, tmp_path: Path, ending: str) -> None:
    spec = training_spec(inner_steps=100_000)
    program.prepare(spec)
    program.say(wire.TrainRound(round=0, params=parameters_file(tmp_path, spec)))
    stdout: IO[bytes] = program.process.stdout  # type: ignore[assignment]
    while True:
        reply = wire.parse_reply(stdout.readline())
        if isinstance(reply, wire.Heartbeat) and reply.step > 0:
            break
    stdin: IO[bytes] = program.process.stdin  # type: ignore[assignment]
    if ending == "stop":
        program.say(wire.Stop())
    else:
        stdin.close()
    assert isinstance(program.hear(), wire.Bye)
    assert program.process.wait() == 0
    assert not (tmp_path / "delta-00000.safetensors").exists()


@pytest.mark.parametrize(
    "line",
    [b"{}\n", b"\xff\n", b'{"op":"stop","now":true}\n', b"x" * wire.LINE_BYTES_MAX],
    ids=["no op", "no text", "unknown field", "too long"],
)
def test_what_is_no_command_ends_the_worker(program: Program, line: bytes) -> None:
    program.write(line)
    assert isinstance(program.hear(), wire.Bye)
    _, stderr = program.process.communicate()
    assert stderr.startswith(b"not a command: ")


def test_worker_dies_with_its_parent_though_its_input_stays_open(launch: Launch) -> None:
    program = launch(sys.executable, "-c", f"import os, subprocess; subprocess.run([*{PROGRAM}, str(os.getpid())])")
    assert isinstance(program.prepare(training_spec()), wire.Ready)
    program.process.kill()  # the parent; the worker has the pipes from it
    stdout: IO[bytes] = program.process.stdout  # type: ignore[assignment]
    assert all(isinstance(wire.parse_reply(line), wire.Heartbeat) for line in stdout)  # until the last writer is gone


def test_worker_whose_parent_has_gone_does_not_begin(launch: Launch) -> None:
    program = launch(*PROGRAM, "1")
    stdout, stderr = program.process.communicate()
    assert (program.process.returncode, stdout) == (1, b"")
    assert b"the process that started this one has gone" in stderr


def test_worker_is_shut_in_as_it_says(program: Program) -> None:
    ready = program.prepare(training_spec())
    assert isinstance(ready, wire.Ready)
    process = Path("/proc") / str(program.process.pid)
    limits = (process / "limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    assert re.search(r"Max open files +(\d+) +\1 ", limits)
    assert "NoNewPrivs:\t1\n" in (process / "status").read_text()
    assert os.getpriority(os.PRIO_PROCESS, program.process.pid) > os.getpriority(os.PRIO_PROCESS, 0)
    own_network = (process / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    assert ("no network" in ready.isolation) == own_network
    assert not any(str(file.readlink()).startswith("socket:") for file in (process / "fd").iterdir())
