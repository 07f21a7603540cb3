"""`invite` and `join`: how a peer comes into a closed network."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from node.commands.options import HomeOption, JsonOption, home_of, print_json
from protocol.errors import Ignore, LocalError, Refused, Reject

if TYPE_CHECKING:
    from node.home.home import Home
    from protocol.genesis import Genesis

DAY_MS = 86_400_000
DAYS_MAX = 400  # `protocol.invitation.VALID_MAX_MS`


def invite(
    peer: Annotated[str, Parameter(help="Who is invited: the peer id that `heliotrope init` told its operator.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The file to send to its operator. It holds no secret.")],
    days: Annotated[
        int,
        Parameter(
            validator=Number(gte=1, lte=DAYS_MAX), help=f"How long it holds, at most {DAYS_MAX}; of the network's time."
        ),
    ] = 90,
    label: Annotated[str, Parameter(help="What you call that peer, for people.")] = "",
    address: Annotated[
        list[str] | None,
        Parameter(help="Where it reaches you; else where this node listens. Once for each.", negative=()),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Invite a peer into your closed network. It needs this home's key only: the node may run, or not."""
    from pydantic import ValidationError

    from node.commands.show import say
    from node.documents import faults_of, invalid
    from node.home.config import load_config
    from node.home.identity import load_genesis, load_keypair
    from node.home.invitations import day, write_invitation_file
    from node.home.keys import key_of
    from node.home.lasting import reachable_addresses
    from protocol.identity import peer_id
    from protocol.invitation import Invitation, seal

    place = home_of(home)
    config, genesis = load_config(place), load_genesis(place.genesis_path)
    keypair = load_keypair(place, genesis)
    _require_admitter(genesis, keypair.public, place)
    now_ms = genesis.clock.network_time_ms(time.time_ns() // 10**6)
    try:
        invitation = Invitation(
            holder=key_of(peer), label=label, issued_at_ms=now_ms, expires_at_ms=now_ms + days * DAY_MS
        )
    except ValidationError as error:
        raise invalid("the invitation", list(faults_of(error, Invitation).values())) from None
    for named in address or ():
        _require_peer_address(named)
    addresses = tuple(address or reachable_addresses(place, config.link, keypair.public))
    write_invitation_file(out, genesis, invitation, seal(keypair, genesis.network_id(), invitation), addresses)
    until = day(genesis, invitation.expires_at_ms)
    if as_json:
        times = {"issued_at_ms": now_ms, "expires_at_ms": invitation.expires_at_ms}
        who = {"peer_id": peer_id(invitation.holder), "label": label, "issuer": peer_id(keypair.public)}
        print_json({"file": str(out), "network": genesis.network_id().hex(), **who, **times, "addresses": addresses})
    else:
        say(f"{peer_id(invitation.holder)} is invited to {genesis.name} until {until}")
        say(f"Send {out} to its operator, who takes it with: heliotrope join {out.name}")
        for reached in addresses:
            say(f"  it will dial {reached}")
    if not addresses:
        print(
            "The file names no address: start this node first, or say --address /ip4/HOST/tcp/PORT/p2p/PEER_ID.",
            file=sys.stderr,
        )


def join(
    file: Annotated[Path, Parameter(help="The invitation that you were sent.")],
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an invitation: this home's node belongs to that network from now on. Also renews one that ends."""
    from node.commands.show import say
    from node.home.config import load_config
    from node.home.identity import load_genesis, load_keypair
    from node.home.invitations import ASK_AGAIN, day, keep_invitation, read_invitation_file
    from protocol.identity import peer_id
    from protocol.invitation import judge_invitation

    place = home_of(home)
    load_config(place)
    own = load_genesis(place.genesis_path)
    received = read_invitation_file(file)
    genesis = received.genesis
    keypair = load_keypair(place, genesis)
    now_ms = genesis.clock.network_time_ms(time.time_ns() // 10**6)
    try:
        invitation = judge_invitation(received.raw, genesis, keypair.public, now_ms).invitation
    except (Ignore, Reject) as reason:
        remedy = f"{ASK_AGAIN}; this node's peer id is {peer_id(keypair.public)}."
        raise Refused("HEL-INVITE-003", f"{file} does not let this node in: {reason}", remedy) from None
    if own != genesis:
        _require_unused(place, own, genesis)
    keep_invitation(place, received, now_ms)
    if as_json:
        who = {"peer_id": peer_id(keypair.public), "network": genesis.network_id().hex(), "network_name": genesis.name}
        print_json({**who, "expires_at_ms": invitation.expires_at_ms, "addresses": received.addresses})
        return
    say(f"{peer_id(keypair.public)} belongs to {genesis.name} until {day(genesis, invitation.expires_at_ms)}")
    say("Start it, or start it again, with: heliotrope up" + (f" --home {home}" if home else ""))


def _require_admitter(genesis: Genesis, key: bytes, place: Home) -> None:
    """Raises Refused."""
    from protocol.identity import peer_id

    if genesis.admission != "closed":
        raise Refused(
            "HEL-INVITE-004",
            f"network {genesis.name!r} is {genesis.admission}: whoever has its genesis document joins, uninvited",
            f"Send {place.genesis_path}, for: heliotrope init --genesis FILE. A closed network is made with: heliotrope"
            " init --mode closed",
        )
    if key not in genesis.admitters:
        named = ", ".join(map(peer_id, genesis.admitters))
        raise Refused(
            "HEL-INVITE-005",
            f"{peer_id(key)} may not invite to {genesis.name!r}: who is invited invites nobody",
            f"Ask an admitter of that network: {named}",
        )


def _require_peer_address(address: str) -> None:
    """Raises LocalError."""
    from protocol.identity import public_key

    place, _, peer = address.rpartition("/p2p/")
    try:
        public_key(peer)
        if place.startswith("/") and len(address) < 256:
            return
    except ValueError:
        pass
    raise LocalError(
        "HEL-INVITE-007",
        f"--address: {address[:256]!r} is no address of a peer",
        "One looks like /ip4/192.0.2.1/tcp/8471/p2p/12D3KooW…; a running node prints its own.",
    )


def _require_unused(place: Home, own: Genesis, other: Genesis) -> None:
    """A key's feed belongs to one network, and so does a ledger. Raises Refused."""
    if place.fresh_path.exists() and not place.ledger_path.exists():
        return
    raise Refused(
        "HEL-INVITE-006",
        f"{place.path} has worked in {own.name!r} already, and the invitation is to {other.name!r}",
        "Make a home of its own for it, heliotrope init --home DIR, and have the peer id invited that it says.",
    )
