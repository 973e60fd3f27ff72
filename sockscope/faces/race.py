"""A race in the terminal: a line of progress while it lasts, then its table, JSON, CSV, Markdown or SVG."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from sockscope.core.results.contest import Contest
from sockscope.core.results.race_result import CSV_COLUMNS, race_report, race_rows
from sockscope.core.results.race_thresholds import RaceThreshold
from sockscope.core.results.standing import Standing, is_valid, rows
from sockscope.core.units import format_count, format_elapsed
from sockscope.engine.loops import run_on
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_INVALID, EXIT_OK, EXIT_THRESHOLD
from sockscope.faces.ending import Ending
from sockscope.faces.keeping import keep, kept_text
from sockscope.faces.output import Output, Plan
from sockscope.faces.printing import say
from sockscope.faces.progress import Progress, ended_by_signals
from sockscope.faces.race_svg import race_svg
from sockscope.faces.race_table import INVALID, bar, out_of_the_race, race_markdown, race_text
from sockscope.lab.race import Race
from sockscope.store.history import History

PARENT_LOOP = "uvloop"
"""The event loop of the process that runs a race."""
_BAR_CELLS = 20


class RaceForm(Enum):
    """What is written at the end."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class RacePlan:
    """What a race writes, and where (``path`` None = stdout; ``svg`` a file for the chart).

    ``strict`` lets it end with 4 when its result is not valid.
    """

    form: RaceForm = RaceForm.TEXT
    path: str | None = None
    svg: str | None = None
    quiet: bool = False
    strict: bool = False
    thresholds: tuple[RaceThreshold, ...] = ()


def run_race(
    contest: Contest,
    plan: RacePlan,
    environment: Mapping[str, object],
    history: History | None = None,
) -> int:
    """Run ``contest`` to its end, keep it in ``history`` and write what ``plan`` asks for.

    Returns the exit code. Raises SockscopeError when it cannot be run or its figures cannot be written.
    """
    began_at = datetime.now(UTC)
    with ExitStack() as files:
        signals = files.enter_context(Ending())

        def opened(path: str | None, flag: str) -> Output:
            return files.enter_context(Output(Plan(path=path), lambda: signals.is_asked, flag))

        output = opened(plan.path, "--output")
        chart = opened(plan.svg, "--svg") if plan.svg else None
        try:
            standing = run_on(PARENT_LOOP, _run(contest, plan, signals))
        except asyncio.CancelledError:
            return EXIT_INTERRUPTED
        number = keep(
            history if standing.slices_done else None,
            race_report(standing, environment),
            began_at=began_at,
            cut_short=standing.cut_short,
            title=race_title(contest),
        )
        told = kept_text("race", number, history) if plan.form is RaceForm.TEXT else ""
        output.summary({}, written(plan.form, standing, environment) + told)
        if chart is not None:
            chart.summary({}, race_svg(standing, environment))
        return _verdict(standing, plan)


async def _run(contest: Contest, plan: RacePlan, signals: Ending) -> Standing:
    race = Race(contest)
    progress = Progress(sys.stderr, quiet=plan.quiet)
    standing = Standing(contest)
    with ended_by_signals(
        signals, race.finish, progress, "ending the race with what has been measured so far"
    ):
        try:
            async with aclosing(race.run()) as standings:
                async for standing in standings:
                    progress.tell(progress_text(standing))
        finally:
            progress.clear()
    return standing


def written(form: RaceForm, standing: Standing, environment: Mapping[str, object]) -> str:
    """Return what is written at the end of a race."""
    match form:
        case RaceForm.TEXT:
            return race_text(standing, environment)
        case RaceForm.JSON:
            return json.dumps(race_report(standing, environment), indent=2, allow_nan=False) + "\n"
        case RaceForm.CSV:
            return race_csv(standing)
        case RaceForm.MARKDOWN:
            return race_markdown(standing, environment)


def race_title(contest: Contest) -> str:
    """Return what was raced in a few words, for a list of runs."""
    names = ", ".join(contestant.name for contestant in contest.contestants)
    return f"{contest.preset}: {names}" if contest.preset else names


def race_csv(standing: Standing) -> str:
    """Return a row for each contestant and round, with a header; an empty cell is not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(race_rows(standing))
    return text.getvalue()


def progress_text(standing: Standing) -> str:
    """Return the line of progress: how far, how long still, and whose slice it is."""
    share = standing.slices_done / standing.slices if standing.slices else 1.0
    return f"[{bar(share, 1.0, _BAR_CELLS):<{_BAR_CELLS}}]  {progress_words(standing)}"


def progress_words(standing: Standing) -> str:
    """Return the same without a bar."""
    left = standing.time_left_s
    parts = [
        f"round {standing.round} of {standing.contest.rounds}" if standing.round else "starting",
        f"{format_elapsed(left)} left"
        if left is not None
        else f"{format_elapsed(standing.elapsed_s)} so far",
        standing.running,
    ]
    if standing.partial is not None:
        parts.append(f"{format_count(standing.partial.requests_per_s)} req/s")
    return "  ".join(part for part in parts if part)


def _verdict(standing: Standing, plan: RacePlan) -> int:
    """Return the exit code, and say why when it is not 0."""
    table = rows(standing)
    for sentence in out_of_the_race(standing, table):
        say(sentence)
    if not any(row.rank for row in table):
        say("the race failed: no contestant could be ranked")
        return EXIT_FAILED
    if standing.faults:
        # Said above: not all have run who were asked for.
        return EXIT_FAILED
    if plan.strict and not is_valid(table):
        say(INVALID)
        return EXIT_INVALID
    misses = [miss for threshold in plan.thresholds for miss in threshold.missed(table)]
    for miss in misses:
        say(f"--fail-if {miss}")
    return EXIT_THRESHOLD if misses else EXIT_OK
