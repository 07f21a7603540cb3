"""`heliotrope meter`: a meter that signs its readings with a key of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from protocol.errors import LocalError

app = App(name="meter", help="A reference meter: reads a device, and signs its counter with a key of its own.")

KeyArgument = Annotated[Path, Parameter(help="The meter's key, mode 0600.")]


@app.command
def key(path: KeyArgument, /) -> None:
    """Print the meter's public key; make the key if there is none."""
    import secrets

    from node.energy.meter_server import load_key, make_key

    try:
        keypair = load_key(path) if path.exists() else make_key(path, secrets.token_bytes(32))
    except OSError as error:
        cause = f"no key can be made at {path}: {error.strerror}"
        raise LocalError("HEL-METER-004", cause, "Choose another path.") from None
    print(keypair.public.hex())


@app.command
def run(
    config: Annotated[Path, Parameter(help="meter.toml: owner, and the owner's [energy] section.")],
    /,
    *,
    key: KeyArgument,
    genesis: Annotated[Path, Parameter(help="The genesis file of the owner's network.")],
) -> None:
    """Read the device and answer by HTTP until Ctrl-C or SIGTERM."""
    from node.energy.meter_server import MeterConfig, load_key, run
    from node.energy.signing import Signer
    from node.home.identity import load_genesis
    from node.home.keys import key_of
    from node.home.toml_file import load

    wanted, network, keypair = load(config, MeterConfig), load_genesis(genesis), load_key(key)
    owner = key_of(wanted.owner)
    signer = Signer(keypair, network.network_id(), owner, wanted.energy.device_id)

    def say_ready(url: str) -> None:
        print(f"meter of {wanted.energy.device_id} at {url}, key {keypair.public.hex()}", flush=True)
        print("In the owner's config.toml:", flush=True)
        print(f'  [energy.generation]\n  source = "meter"\n  base_url = "{url}"\n  key = "{keypair.public.hex()}"')
        print("Ctrl-C stops it.", flush=True)

    run(signer, wanted, network.clock, say_ready)
