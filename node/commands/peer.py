"""`heliotrope peer`: neighbours of this node, and whom it keeps out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from node.commands.node import peers
from node.commands.options import HomeOption, JsonOption, client_of, print_json
from node.commands.peer_find import find
from protocol.errors import LocalError

if TYPE_CHECKING:
    from node.client import Client

app = App(name="peer", help="Other peers: who is there, and whom this node keeps out.")
app.command(peers, name="list")
app.command(find)

WhoArgument = Annotated[str, Parameter(help="A peer id, an address, or a network as in 192.0.2.0/24.")]


@app.command
def ban(
    who: WhoArgument,
    /,
    *,
    for_: Annotated[str | None, Parameter("--for", help="For how long, as in 30m, 1h, 7d; else until unban.")] = None,
    reason: Annotated[str, Parameter(help="What a banned peer is told.")] = "by its operator",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a peer or a network out; connections with it are cut at once."""
    client, seconds = client_of(home), _seconds(for_)
    network = _network(who)
    if network is None:
        answer = client.ban(_key(who), seconds, reason)
    else:
        answer = client.deny(_denied(client) | {network: seconds})
    _show(answer, as_json)


@app.command
def unban(who: WhoArgument, /, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let a peer or a network in again."""
    client, network = client_of(home), _network(who)
    if network is None:
        answer = client.unban(_key(who))
    else:
        denied = _denied(client)
        if network not in denied:
            cause = f"{network} is not denied, but {', '.join(denied) or 'no network'}"
            raise LocalError("HEL-LINK-015", cause, "See: heliotrope peer list. For config.toml, edit it.")
        answer = client.deny({each: seconds for each, seconds in denied.items() if each != network})
    _show(answer, as_json)


def _denied(client: Client) -> dict[str, int | None]:
    """The networks that are denied, but for those of config.toml, and for how many seconds more."""
    return {each["network"]: each["seconds_left"] for each in client.peers()["denied"] if not each["configured"]}


def _network(text: str) -> str | None:
    """As the node spells it; None for what is no network."""
    import ipaddress

    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        if "/" in text or ":" in text or text.replace(".", "").isdigit():
            cause = f"{text[:80]!r} is no network"
            raise LocalError("HEL-LINK-011", cause, "Write it as in 192.0.2.0/24, without bits of a host.") from None
        return None


def _key(text: str) -> str:
    from node.home.keys import key_of

    return key_of(text).hex()


def _seconds(text: str | None) -> int | None:
    from pydantic import TypeAdapter, ValidationError

    from node.home.jobfile import Duration, duration_ms

    if text is None:
        return None
    try:
        return max(1, duration_ms(TypeAdapter(Duration).validate_python(text)) // 1000)
    except ValidationError:
        raise LocalError("HEL-CLI-005", f"--for {text[:40]!r} is no duration", "Write 90s, 30m, 1h or 7d.") from None


def _show(answer: dict[str, Any], as_json: bool) -> None:
    from node.commands import show

    if as_json:
        print_json({name: answer[name] for name in ("banned", "denied")})
    else:
        show.kept_out(answer)
