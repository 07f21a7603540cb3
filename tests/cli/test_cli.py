"""What every command has in common: help, exit codes, errors of two lines, pipes and Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node import cli
from node.api.problems import Conflict, Unauthorized
from node.commands.show import printable
from protocol.errors import LocalError, NoMatch, Refused, Unreachable, VerificationFailed
from tests.builders import whole_history
from tests.cli.conftest import Heliotrope

NOUNS = ("", "job", "ledger", "devnet")
PROGRAM = (sys.executable, "-c", "from node.cli import main; main()")


@pytest.mark.parametrize("noun", NOUNS)
def test_help_names_every_command(heliotrope: Heliotrope, noun: str) -> None:
    said = heliotrope(*noun.split(), "--help")
    assert said.code == 0
    expected = {
        "": ("init", "up", "status", "peers", "match", "demo", "doctor", "job", "ledger", "devnet"),
        "job": ("init", "validate", "plan", "submit", "list", "show", "watch", "cancel"),
        "ledger": ("verify", "export", "show"),
        "devnet": ("up", "down"),
    }[noun]
    assert all(f"│ {command} " in said.out for command in expected)


def test_a_misspelt_command_names_the_nearest(heliotrope: Heliotrope) -> None:
    said = heliotrope("job", "sumbit")
    assert said.code == 2
    assert 'Did you mean "submit"?' in said.err
    assert "remedy: See: heliotrope job --help" in said.err
    assert said.out == ""


@pytest.mark.parametrize("arguments", [("job", "submit"), ("job", "show", "--jsn"), ("devnet", "up", "-n", "many")])
def test_wrong_usage_is_exit_code_2(heliotrope: Heliotrope, arguments: tuple[str, ...]) -> None:
    said = heliotrope(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "HEL-CLI-001" in said.err


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (LocalError, 2),
        (Conflict, 2),
        (Unreachable, 3),
        (NoMatch, 4),
        (VerificationFailed, 5),
        (Refused, 6),
        (Unauthorized, 6),
    ],
)
def test_the_exit_code_tells_what_kind_of_error_it_was(
    heliotrope: Heliotrope, monkeypatch: pytest.MonkeyPatch, kind: type[LocalError], code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("HEL-X-001", "it did not work", "do this")

    monkeypatch.setattr(cli, "app", fail)
    said = heliotrope("status")
    assert said.code == code
    assert said.err == "heliotrope: it did not work [HEL-X-001]\n  remedy: do this\n"


def test_ctrl_c_is_silent(heliotrope: Heliotrope, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    said = heliotrope("status")
    assert (said.code, said.out, said.err) == (130, "", "")


@pytest.mark.parametrize("arguments", [("job", "init"), ("ledger", "verify", "exported.bin")], ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "exported.bin").write_bytes(whole_history().archive())
    reading, writing = os.pipe()
    os.close(reading)
    command = [*PROGRAM, *(str(tmp_path / a) if a.endswith(".bin") else a for a in arguments)]
    finished = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (finished.returncode, finished.stderr) == (141, b"")


def test_a_file_that_cannot_be_written_is_named(heliotrope: Heliotrope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda *_, **__: Path("/nowhere/x").write_text(""))
    said = heliotrope("status")
    assert said.code == 2
    assert said.err.startswith("heliotrope: /nowhere/x: No such file or directory [HEL-CLI-002]\n  remedy: ")


@pytest.mark.parametrize("noun", NOUNS[1:])
def test_a_noun_alone_shows_its_commands(heliotrope: Heliotrope, noun: str) -> None:
    assert heliotrope(noun).out == heliotrope(noun, "--help").out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Bad\x1b[2Jname", "Bad\\x1b[2Jname"),
        ("right\u202eleft", "right\\u202eleft"),
        ("a\r\nb", "a\\r\nb"),
        ("bell\x07", "bell\\x07"),
        ("[red]markup[/red]", "[red]markup[/red]"),
        ("Éire", "Éire"),
    ],
)
def test_a_strangers_text_cannot_move_the_cursor(text: str, shown: str) -> None:
    assert printable(text) == shown
