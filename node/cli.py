"""`heliotrope`: the command line. Here are the commands' names, and what an error means to whoever typed one.

Exit codes: 0 ok · 1 the job failed or was cancelled · 2 usage, or something of one's own to put right · 3 unreachable ·
4 no match · 5 verification failed · 6 refused by policy · 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from node.commands import (
    auditor,
    certificate,
    credit,
    device,
    devnet,
    doctor,
    energy,
    job,
    ledger,
    match,
    meter,
    node,
    study,
)
from node.commands.options import Unsuccessful
from protocol.errors import LocalError, NoMatch, Refused, Unreachable, VerificationFailed


def _version() -> str:
    from node.version import version

    return version()


app = App(
    name="heliotrope",
    help="Peers that train one model together, where and when the power is green.",
    version=_version,
    help_format="plaintext",  # markdown would cost a tenth of a second at every --help
)
for command in (node.init, node.up, node.witness, node.status, node.peers, match.match, devnet.demo):
    app.command(command)
NOUNS = (doctor, job, ledger, energy, device, meter, certificate, credit, auditor, study, devnet)
for noun in (module.app for module in NOUNS):
    app.command(noun)

EXIT_CODES: tuple[tuple[type[LocalError], int], ...] = (
    (Unsuccessful, 1),
    (Unreachable, 3),
    (NoMatch, 4),
    (VerificationFailed, 5),
    (Refused, 6),
    (LocalError, 2),
)
USAGE, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Foreseeable faults become one line of cause and one of remedy on stderr."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        names = " ".join(("heliotrope", *(error.command_chain or ())))
        return _fail(LocalError("HEL-CLI-001", str(error), f"See: {names} --help"), USAGE)
    except LocalError as error:
        return _fail(error, next(code for kind, code in EXIT_CODES if isinstance(error, kind)))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        cause = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(
            LocalError("HEL-CLI-002", cause, "Check the path, its permissions and the disk's free space."), USAGE
        )
    return 0


def _fail(error: LocalError, code: int) -> int:
    from node.commands.show import say

    say(f"heliotrope: {error}", stderr=True)
    return code
