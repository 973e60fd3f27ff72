"""The flags of what is measured in rounds, a race or a sweep, and what they ask to be written and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sockscope.cli.faults import Faults

if TYPE_CHECKING:
    from sockscope.core.results.race_thresholds import RaceThreshold
    from sockscope.faces.rounds import RoundsPlan

F = TypeVar("F", bound=Callable[..., Any])


def rounds_flags(whose: str, example: str, *slice_flags: str) -> Callable[[F], F]:
    """Return a decorator that adds the flags of turns of ``whose`` (a contestant, a step), and of output.

    ``example`` is one of them as a condition names it; ``slice_flags`` are other spellings of ``--slice``.
    """
    options = (
        click.option("--rounds", metavar="N", help=f"Turns per {whose}.  [default: 6]"),
        click.option(*slice_flags, "--slice", "slice_s", metavar="TIME",
                     help="Length of a turn.  [default: 1 s]"),
        click.option("--json", "json", is_flag=True, help="Write one JSON object."),
        click.option("--csv", "csv", is_flag=True, help=f"Write a line of CSV per {whose} and round."),
        click.option("--markdown", "markdown", is_flag=True, help="Write a table in Markdown."),
        click.option("--svg", metavar="FILE", help="Also write an SVG chart to FILE (- for stdout)."),
        click.option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout (-)."),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
        click.option("--fail-if", multiple=True, metavar="CONDITION",
                     help=f"Exit with 3 if this holds for a {whose}, as '{example}.requests_per_s<1000', "
                     "or for any of them, as 'p99>20ms'; may be repeated."),
        click.option("--strict", is_flag=True,
                     help=f"Exit with 4 if the clients were the limit of most {whose}s."),
        click.option("--allow-invalid", is_flag=True,
                     help="Do not exit with 4 although the generator of an open loop was late."),
    )  # fmt: skip

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given(text: str | None) -> list[str]:
    """Return what was given for a flag, if anything was."""
    return [] if text is None else [text]


def rounds_plan(params: Mapping[str, Any], condition: Callable[[str], RaceThreshold]) -> RoundsPlan:
    """Return what is to be written and judged, ``condition`` reads --fail-if; raises ConfigError."""
    from sockscope.faces.rounds import RoundsForm, RoundsPlan

    forms = [f for f in (RoundsForm.JSON, RoundsForm.CSV, RoundsForm.MARKDOWN) if params[f.value]]
    if len(forms) > 1:
        raise click.UsageError(" and ".join(f"--{form.value}" for form in forms) + " cannot be combined")
    faults = Faults()
    for flag in ("output", "svg"):
        if params[flag] == "":
            faults.add(f"--{flag}", "", "is empty")
    thresholds = faults.read("--fail-if", params["fail_if"], condition)
    faults.check()
    return RoundsPlan(
        form=forms[0] if forms else RoundsForm.TEXT,
        path=params["output"],
        svg=params["svg"],
        quiet=params["quiet"],
        strict=params["strict"],
        allow_invalid=params["allow_invalid"],
        thresholds=tuple(thresholds),
    )
