"""What a running node writes down beside the ledger: peers' addresses, the operator's rules, and that it runs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Sequence

from node.energy.rules import Rule, parse_rules
from node.home.config import LinkConfig
from node.home.home import Home
from node.home.secret import write_private
from protocol.errors import LocalError
from protocol.identity import peer_id


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


def reachable_addresses(home: Home, config: LinkConfig, key: bytes) -> tuple[str, ...]:
    """Where others reach the node, running or not, and whom it dials itself. Loopback counts only where it listens
    nowhere else, and a port that is drawn at each start only while it runs."""
    try:
        said = json.loads(home.runtime_path.read_bytes())["addresses"]
    except (OSError, ValueError, KeyError, TypeError):
        said = [f"{config.listen}/p2p/{peer_id(key)}"]
    own = leading_out(address for address in said if "/tcp/0/" not in address)
    far = [address for address in own if not address.startswith(("/ip4/127.", "/ip6/::1/"))]
    return tuple(dict.fromkeys((*(far or own), *config.bootstrap)))


def leading_out(addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses; for one of all interfaces, that of the interface that leads out, if one does."""
    return tuple(named for address in addresses for named in _on_an_interface(address))


def _on_an_interface(address: str) -> list[str]:
    for anywhere, family, far_away in (
        ("/ip4/0.0.0.0/", socket.AF_INET, "192.0.2.1"),  # addresses of documents: nobody has them
        ("/ip6/::/", socket.AF_INET6, "2001:db8::1"),
    ):
        if address.startswith(anywhere):
            host = outward_host(family, far_away)
            return [address.replace(anywhere, f"/{anywhere.split('/')[1]}/{host}/", 1)] if host else []
    return [address]


def outward_host(family: socket.AddressFamily, far_away: str) -> str | None:
    """This machine's address on the way there; None if there is no way. Nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far_away, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None
