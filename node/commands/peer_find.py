"""`heliotrope peer find`: who offers a device in a region, by the network's Kademlia table."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from node.commands.options import HomeOption, JsonOption, client_of, print_json

RegionOption = Annotated[str, Parameter(help="africa, asia, europe, north-america, oceania, south-america or other.")]


def find(*, region: RegionOption, device: str = "cpu", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look for those who offer a device in a region; the node dials whom it finds."""
    from node.commands.show import rows, say

    answer: dict[str, Any] = client_of(home).find_peers(region, device)
    if as_json:
        print_json(answer)
    elif answer["addresses"]:
        rows(("peer", "address"), (reversed(a.rsplit("/p2p/", 1)) for a in answer["addresses"]))
    else:
        say(f"nobody is known to offer {device} in {region}")
