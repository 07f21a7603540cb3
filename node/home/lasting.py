"""What a running node writes down beside the ledger: peers' addresses, the operator's rules, and that it runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from node.energy.rules import Rule, parse_rules
from node.home.home import Home
from node.home.secret import write_private
from protocol.errors import LocalError


def load_peers(home: Home) -> tuple[tuple[str, int], ...]:
    """Addresses of the last run, and when each last answered; none if there was none or the file is damaged: the
    bootstrap list remains."""
    try:
        stored = json.loads(home.peers_path.read_bytes())
        return tuple((a, at_ms) for a, at_ms in stored if isinstance(a, str) and type(at_ms) is int)
    except (OSError, TypeError, ValueError):
        return ()


def load_rules(home: Home) -> tuple[Rule, ...]:
    """The operator's rules; none if there is no file. Raises LocalError for one that cannot be read: to go on without
    would be to work when it was told not to."""
    try:
        stored = json.loads(home.rules_path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        stored, why = None, f": {error}"
    else:
        why = ""
    if not isinstance(stored, list) or not all(isinstance(text, str) for text in stored):
        raise LocalError(
            "HEL-RULE-003",
            f"{home.rules_path} holds no list of rules{why}",
            "Remove it, and say the rules again: heliotrope energy rule add 'carbon > 300 => pause'",
        )
    return parse_rules(stored)


def keep_rules(home: Home, rules: Sequence[str]) -> None:
    """Write them down for the next start. Raises OSError."""
    write_private(home.rules_path, json.dumps(rules, indent=2))


def write_runtime_file(home: Home, **facts: object) -> None:
    """Say that this process runs the node, and where it listens: `api` above all."""
    write_private(home.runtime_path, json.dumps({"pid": os.getpid(), **facts}, indent=2))
