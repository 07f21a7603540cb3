"""`heliotrope energy`: what power this node has, where its figures come from, and whether its sources answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from node.commands.options import HomeOption, JsonOption, client_of, home_of, print_json
from protocol.errors import LocalError, Unreachable

if TYPE_CHECKING:
    from node.energy.watched import Watched
    from node.home.home import Home

app = App(name="energy", help="Power of this node: sources, readings, forecast, rules.")
rule = App(name="rule", help="When the node pauses, as in: 'carbon > 300 => pause', 'surplus_w > 400 => resume'.")
app.command(rule)


@app.command
def show(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The newest reading of the site, with its method, uncertainty and assurance."""
    from node.commands import show_energy

    answer = client_of(home).energy()
    if as_json:
        print_json(answer)
    else:
        show_energy.now(answer)


@app.command
def sources(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every source of the running node: its last good figure, or what is wrong with it."""
    from node.commands import show_energy

    answer = client_of(home).energy()
    if as_json:
        print_json(answer["sources"])
    else:
        show_energy.sources(answer)


@app.command
def forecast(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What is expected, by the hour or finer: surplus (s50: the median; s20: reached four times in five) and grid."""
    from node.commands import show_energy

    answer = client_of(home).energy()
    if as_json:
        print_json(answer["forecast"])
    else:
        show_energy.forecast(answer)


@app.command(name="test")
def ask(
    source: Annotated[str | None, Parameter(help="A section below [energy], as in: grid. Else all of them.")] = None,
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the configured sources once, without a running node. Exit code 3 if one has no good figure."""
    from node.commands import show_energy
    from node.energy.metered import open_sources
    from node.home.config import load_config

    opened = open_sources(load_config(home_of(home)).energy)
    if not opened:
        raise LocalError(
            "HEL-ENERGY-005",
            "config.toml names no source below [energy]: the site is declared and modelled",
            "Add a section, as in [energy.grid]; deploy/energy.toml.example has one for each source.",
        )
    if source is not None and source not in opened:
        raise LocalError(
            "HEL-ENERGY-006",
            f"config.toml has no section [energy.{source[:32]}], only {', '.join(opened)}",
            "Name one of these, or none to ask all.",
        )
    asked = {name: watched for name, watched in opened.items() if source in (None, name)}
    now_ms = time.time_ns() // 10**6
    answers = [_ask(watched, now_ms) for watched in asked.values()]
    if as_json:
        print_json(answers)
    else:
        show_energy.tested(answers)
    failed = [answer["name"] for answer in answers if not answer["well"]]
    if failed:
        raise Unreachable(
            "HEL-ENERGY-007", f"{len(failed)} of {len(answers)} sources gave no good figure", "See the remedies above."
        )


@rule.command(name="list")
def list_rules(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The rules, in the order in which they were added."""
    _show(_rules(home_of(home)), as_json)


@rule.command
def add(
    text: Annotated[str, Parameter(help="Quote it: 'carbon > 300 => pause'.")],
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a rule; a running node follows it at once."""
    from node.commands.show import say
    from node.energy.rules import parse_rule

    place = home_of(home)
    parsed = parse_rule(text)
    added, known = str(parsed), _rules(place)
    _set(place, known if added in known else (*known, added), as_json)
    for name in _unknown(place, {condition.name for condition in parsed.conditions}):
        say(f"no source gives {name} here: this holds only once config.toml has [energy.{name}]", stderr=True)


@rule.command
def remove(
    text: Annotated[str, Parameter(help="The rule, or its number in the list.")],
    /,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a rule; a running node follows the others at once."""
    from node.energy.rules import parse_rule

    place = home_of(home)
    known = _rules(place)
    number = int(text) if text.isascii() and text.isdigit() else 0
    removed = known[number - 1] if 1 <= number <= len(known) else "" if number else str(parse_rule(text))
    if removed not in known:
        raise LocalError(
            "HEL-RULE-004", f"there is no rule {text[:64]!r} among {len(known)}", "See: heliotrope energy rule list"
        )
    _set(place, tuple(each for each in known if each != removed), as_json)


def _unknown(home: Home, names: set[str]) -> list[str]:
    """Those of a rule's figures of which the configuration names no source."""
    from node.home.config import load_config

    energy = load_config(home).energy
    return [name for name in ("carbon_free", "marginal") if name in names and getattr(energy, name) is None]


def _rules(home: Home) -> tuple[str, ...]:
    """Of the running node, or those that it will start with."""
    from node.home.config import load_config
    from node.home.lasting import load_rules

    if home.runtime_path.exists():
        return tuple(client_of(home.path).energy()["rules"])
    load_config(home)  # a home that is none is named
    return tuple(map(str, load_rules(home)))


def _set(home: Home, rules: Sequence[str], as_json: bool) -> None:
    from node.energy.rules import parse_rules
    from node.home.lasting import keep_rules

    parse_rules(rules)
    if home.runtime_path.exists():
        client_of(home.path).set_rules(rules)
    else:
        keep_rules(home, rules)
    _show(rules, as_json)


def _show(rules: Sequence[str], as_json: bool) -> None:
    from node.commands.show import say

    if as_json:
        print_json(list(rules))
        return
    for number, text in enumerate(rules, start=1):
        say(f"{number}  {text}")
    if not rules:
        say("no rules: the node works whenever there is work")


def _ask(watched: Watched, now_ms: int) -> dict[str, Any]:
    """One question, as a source of the API's resource; with how far it looks ahead."""
    from node.api.energy_views import source_of
    from node.energy.source import ForecastingSource, SourceError

    ahead: int | None = None
    try:
        watched.read(now_ms)
        if isinstance(watched.source, ForecastingSource):
            foretold = watched.source.forecast(now_ms)
            ahead = max(0, foretold[-1].end_ms - now_ms) if foretold else 0
    except SourceError as error:
        if watched.health.is_well:  # it was the forecast that failed
            return source_of(watched.health, now_ms).model_dump() | {
                "well": False,
                "fault": f"no forecast: {error.cause}",
                "remedy": error.remedy,
                "forecast_ms": None,
            }
    return source_of(watched.health, now_ms).model_dump() | {"forecast_ms": ahead}
