"""``sockscope race``: what was typed becomes a contest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sockscope.cli.faults import Faults
from sockscope.cli.rounds import given, rounds_plan
from sockscope.core.units import parse_count, parse_duration
from sockscope.errors import ConfigError

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment
    from sockscope.core.config.fields import Value
    from sockscope.core.results.contest import Contest
    from sockscope.faces.rounds import RoundsPlan
    from sockscope.lab.presets import Preset

F = TypeVar("F", bound=Callable[..., Any])
Params = Mapping[str, Any]


def race_flags(command: F) -> F:
    """Add the flags of a race that are not fields of an experiment."""
    options = (
        click.option("--preset", metavar="NAME", help="Run a race by its name; see --list-presets."),
        click.option("--list-presets", is_flag=True, help="List the presets and exit."),
        click.option("--vary", multiple=True, metavar="FIELD=A,B,...",
                     help="Race each contestant once per value, such as permits=1,10,100; may be repeated."),
        click.option("--baseline", metavar="NAME", help="Contestant to compare the others with."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def presets_text() -> str:
    """Return the presets, a line each."""
    from sockscope.lab.presets import PRESETS

    width = max(map(len, PRESETS))
    return "\n".join(f"{name:{width}}  {preset.summary}" for name, preset in PRESETS.items())


def preset_of(params: Params) -> Preset | None:
    """Return the preset that was asked for; raise UsageError when nothing says what to race."""
    from sockscope.lab.presets import PRESETS

    name = params["preset"]
    if name is None:
        if not params["contestants"]:
            raise click.UsageError(
                "what should be raced? Name contestants, such as: sockscope race protocol/uvloop threaded; "
                f"or a preset: sockscope race --preset guide (or {', '.join(list(PRESETS)[1:])})"
            )
        return None
    if name not in PRESETS:
        raise ConfigError.of("--preset", name, f"is none of {', '.join(PRESETS)}")
    return PRESETS[name]


def contest_of(params: Params, preset: Preset | None, workload: Experiment) -> Contest:
    """Return the contest of the flags; raises ConfigError with every fault."""
    from sockscope.lab import presets
    from sockscope.lab.contestants import parse_entry, parse_vary

    faults = Faults()
    entries = faults.read("contestant", params["contestants"], parse_entry)
    vary = faults.read("--vary", params["vary"], parse_vary)
    rounds = faults.read("--rounds", given(params["rounds"]), parse_count)
    slices = faults.read("--slice", given(params["slice_s"]), parse_duration)
    faults.check()
    return presets.contest_of(
        workload,
        preset,
        entries,
        vary,
        rounds=next(iter(rounds), None),
        slice_s=next(iter(slices), None),
        baseline=params["baseline"] or "",
    )


def own_code_of(params: Params) -> dict[str, Value]:
    """Return what tells that own code takes part, so that what is for own code may be given, too.

    What is no contestant is told by :func:`contest_of`.
    """
    from sockscope.lab.contestants import parse_entry

    for text in params["contestants"]:
        with contextlib.suppress(ValueError):
            if reference := parse_entry(text).values.get("handler"):
                return {"handler": reference}
    return {}


def look_for_own_code(contest: Contest) -> None:
    """Raise ConfigError before anything starts where own code of a contestant is not there."""
    contestants = [one for one in contest.contestants if one.experiment.own_server]
    if contestants:
        from sockscope.engine.own_code import look_for

        for contestant in contestants:
            try:
                look_for(contestant.experiment)
            except ConfigError as error:
                raise ConfigError.of("contestant", contestant.name, error.faults[0].why) from None


def race_plan(params: Params, contest: Contest) -> RoundsPlan:
    """Return what is to be written and judged; raises ConfigError with every fault."""
    from sockscope.core.results.race_thresholds import RaceThreshold

    names = [contestant.name for contestant in contest.contestants]
    return rounds_plan(params, lambda text: RaceThreshold.parse(text, names))
