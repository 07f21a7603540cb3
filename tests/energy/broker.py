"""A real MQTT broker on loopback: mosquitto from Debian's packages, with a configuration of its own, gone with the
tests."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

TIMEOUT_S = 10


class Broker:
    """A running broker. `stop` and `start` again are its restart."""

    def __init__(self, program: Path, directory: Path, settings: Sequence[str]) -> None:
        self._program = program
        self._directory = directory
        self._log: queue.Queue[str] = queue.Queue()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        # Started by root it would change to a user of its own, who could not read the directory.
        lines = (f"listener {self.port} 127.0.0.1", "user root", "log_type all", *settings)
        (directory / "conf").write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        command = [str(self._program), "-c", str(self._directory / "conf")]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=self._directory)
        threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()
        self.wait_for("running")

    def stop(self) -> None:
        """An orderly end, of a broker that has served: it writes down what it retained, if its settings say so. (One
        that is just starting forgets the signal.)"""
        self._process.terminate()
        self._process.wait(TIMEOUT_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def wait_for(self, text: str) -> None:
        """Until it has logged a line with this text, after the last one that was waited for."""
        try:
            while text not in self._log.get(timeout=TIMEOUT_S):
                pass
        except queue.Empty:
            pytest.fail(f"mosquitto never said {text!r}")

    def _listen(self, log: IO[str]) -> None:
        for line in log:
            self._log.put(line)

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """As a device does; returns once the broker has it."""
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(TIMEOUT_S)
        finally:
            client.disconnect()
            client.loop_stop()


def find_program() -> Path | None:
    """Debian keeps it off the path of those who are not root."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None


@contextmanager
def running(*settings: str) -> Iterator[Broker]:
    """A broker for as long as it is needed; without settings it lets everybody in. Where mosquitto is missing the test
    is skipped; on a machine that judges changes it fails."""
    program = find_program()
    if program is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("mosquitto is not installed, and nothing was tested of reading MQTT: run make setup-dev")
    with tempfile.TemporaryDirectory(prefix="heliotrope-", ignore_cleanup_errors=True) as directory:
        broker = Broker(program, Path(directory), settings or ("allow_anonymous true",))
        try:
            yield broker
        finally:
            broker.kill()
