"""What commands share: the options that mean the same everywhere, and how a command finds its node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from protocol.errors import LocalError

if TYPE_CHECKING:
    from node.client import Client
    from node.home.home import Home

HomeOption = Annotated[
    Path | None,
    Parameter("--home", help="The node's directory; else $HELIOTROPE_HOME, else the user's data directory."),
]
JsonOption = Annotated[bool, Parameter("--json", negative="", show_default=False, help="Print JSON, for programs.")]


class Unsuccessful(LocalError):
    """The job ended, but not as it was meant to. Exit code 1."""


def home_of(option: Path | None) -> Home:
    from node.home.home import Home, default_home

    return default_home() if option is None else Home(option)


def client_of(option: Path | None) -> Client:
    """The client of the node that runs in this home. Raises Unreachable if none does."""
    from node.client import Client

    return Client.of_home(home_of(option))


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))
