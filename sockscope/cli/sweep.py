"""``sockscope sweep``: what was typed becomes a design."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sockscope.cli.faults import Faults
from sockscope.cli.rounds import given, rounds_plan
from sockscope.core.units import parse_count, parse_duration

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment
    from sockscope.core.results.design import Design
    from sockscope.faces.rounds import RoundsPlan

F = TypeVar("F", bound=Callable[..., Any])
Params = Mapping[str, Any]

RATES = "rate=10..1M"
"""Where --find-rate searches that is not told where."""
NOT_SWEPT = frozenset({"duration", "requests", "give_up", "pid"})
"""Fields whose flags a sweep has not."""


def sweep_flags(command: F) -> F:
    """Add the flags of a sweep that are not fields of an experiment."""
    for option in (
        click.option("--find-rate", metavar="CONDITION",
                     help="Search the highest rate of an open loop that keeps this, such as "
                     "'response_p99<20ms'; its range is --over rate=FROM..TO.  [default: 10 to 1M]"),
        click.option("--find", metavar="CONDITION",
                     help="Search the highest value in the range of --over that keeps this, such as "
                     "'p99<20ms'; most of --rounds decide on a value.  [default: of 3]"),
    ):  # fmt: skip
        command = option(command)
    return click.option(
        "--over", multiple=True, metavar="FIELD=FROM..TO",
        help="Values to step through: clients=1..1000 (a factor of two apart), clients=1..1000/5 (five "
        "steps) or permits=1,10,100; given twice, each value of the second has a curve of its own.",
    )(command)  # fmt: skip


def design_of(params: Params, experiment: Experiment) -> Design:
    """Return the design of the flags; raises ConfigError with every fault."""
    from sockscope.core.results.axis import Axis
    from sockscope.core.results.design import Design
    from sockscope.core.results.lap_figures import NAMES
    from sockscope.core.results.thresholds import Threshold

    if params["find"] is not None and params["find_rate"] is not None:
        raise click.UsageError("--find and --find-rate cannot be combined")
    if params["find_rate"] is not None and not params["over"]:
        params = {**params, "over": (RATES,)}
    if not params["over"]:
        raise click.UsageError(
            "what should be stepped through? Such as: sockscope sweep --over clients=1..1000"
        )
    faults = Faults()
    axes = faults.read("--over", params["over"], Axis.parse)
    rounds = faults.read("--rounds", given(params["rounds"]), parse_count)
    slices = faults.read("--slice", given(params["slice_s"]), parse_duration)
    condition = params["find"] if params["find_rate"] is None else params["find_rate"]
    flag = "--find" if params["find_rate"] is None else "--find-rate"
    conditions = faults.read(flag, given(condition), lambda text: Threshold.parse(text, NAMES))
    if conditions and len(axes) > 1:
        faults.add(flag, conditions[0].text, "searches along one --over")
    if params["find_rate"] is not None and axes and axes[0].key != "rate":
        faults.add(flag, axes[0].key, "searches along rate; --find searches along another field")
    faults.check()
    return Design.of(
        experiment,
        axes,
        next(iter(conditions), None),
        rounds=next(iter(rounds), None),
        slice_s=next(iter(slices), None),
        flag=flag,
    )


def sweep_plan(params: Params, design: Design) -> RoundsPlan:
    """Return what is to be written and judged; raises ConfigError with every fault."""
    from sockscope.core.results.race_thresholds import RaceThreshold
    from sockscope.core.results.scaling import curves
    from sockscope.core.results.standing import Standing
    from sockscope.core.results.sweep_result import NAMES, subjects

    names = [name for name, _ in subjects(curves(design, Standing(design.contest)))]
    return rounds_plan(params, lambda text: RaceThreshold.parse(text, names, NAMES))
