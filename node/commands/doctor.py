"""`heliotrope doctor`: what stands in the way of a node, and what to do about it."""

from __future__ import annotations

from cyclopts import App

from node.commands.options import HomeOption, JsonOption, Unsuccessful, home_of, print_json

app = App(name="doctor", help="What stands in the way of a node, and what to do about it.")


@app.command
def net(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Dial each bootstrap address, or without any those that answered before, and say at which step it fails. The node
    may run meanwhile."""
    import asyncio
    import time
    from dataclasses import asdict

    from node.commands import show
    from node.home.config import load_config
    from node.home.identity import load_genesis
    from node.home.lasting import load_peers
    from node.running.doctor import examine

    place = home_of(home)
    config, genesis = load_config(place), load_genesis(place.genesis_path)
    remembered = [address for address, answered_ms in load_peers(place) if answered_ms]
    findings = asyncio.run(examine(config.link, genesis, time.time_ns() // 10**6, remembered))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        show.rows(("step", "status", "why"), ((f.id, "ok" if f.is_ok else "FAILED", f.why) for f in findings))
        for number, fix in enumerate(dict.fromkeys(f.fix for f in findings if f.fix), start=1):
            show.say(f"  {number}. {fix}")
    if failed := [finding for finding in findings if not finding.is_ok]:
        raise Unsuccessful(
            "HEL-DOCTOR-001", f"{len(failed)} of {len(findings)} steps failed", "Do what is said above, and try again."
        )
