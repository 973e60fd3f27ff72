"""``sockscope race``: what was typed becomes a contest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sockscope.cli.faults import Faults
from sockscope.core.results.contest import Contest
from sockscope.core.units import parse_count, parse_duration
from sockscope.errors import ConfigError

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment
    from sockscope.faces.race import RacePlan
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
        click.option("--rounds", metavar="N", help="Turns per contestant.  [default: 6]"),
        click.option("--slice", "slice_s", metavar="TIME", help="Length of a turn.  [default: 1 s]"),
        click.option("--baseline", metavar="NAME", help="Contestant to compare the others with."),
        click.option("--json", "json", is_flag=True, help="Write one JSON object."),
        click.option("--csv", "csv", is_flag=True, help="Write a line of CSV per contestant and round."),
        click.option("--markdown", "markdown", is_flag=True, help="Write a table in Markdown."),
        click.option("--svg", metavar="FILE", help="Also write an SVG chart to FILE (- for stdout)."),
        click.option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout (-)."),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
        click.option("--fail-if", multiple=True, metavar="CONDITION",
                     help="Exit with 3 if this holds for a contestant, as 'threaded.requests_per_s<1000', "
                     "or for any of them, as 'p99>20ms'; may be repeated."),
        click.option("--strict", is_flag=True,
                     help="Exit with 4 if the clients were the limit of most contestants."),
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
    rounds = faults.read("--rounds", _given(params["rounds"]), parse_count)
    slices = faults.read("--slice", _given(params["slice_s"]), parse_duration)
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


def _given(text: str | None) -> list[str]:
    return [] if text is None else [text]


def race_plan(params: Params, contest: Contest) -> RacePlan:
    """Return what is to be written and judged; raises ConfigError with every fault."""
    from sockscope.core.results.race_thresholds import RaceThreshold
    from sockscope.faces.race import RaceForm, RacePlan

    forms = [form for form in (RaceForm.JSON, RaceForm.CSV, RaceForm.MARKDOWN) if params[form.value]]
    if len(forms) > 1:
        raise click.UsageError(" and ".join(f"--{form.value}" for form in forms) + " exclude each other")
    faults = Faults()
    for flag in ("output", "svg"):
        if params[flag] == "":
            faults.add(f"--{flag}", "", "is empty")
    names = [contestant.name for contestant in contest.contestants]
    thresholds = faults.read("--fail-if", params["fail_if"], lambda text: RaceThreshold.parse(text, names))
    faults.check()
    return RacePlan(
        form=forms[0] if forms else RaceForm.TEXT,
        path=params["output"],
        svg=params["svg"],
        quiet=params["quiet"],
        strict=params["strict"],
        thresholds=tuple(thresholds),
    )
