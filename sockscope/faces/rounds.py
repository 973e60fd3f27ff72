"""A race or a sweep in the terminal: a line of progress while it lasts, then its result and its chart."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sockscope.core.results.race_thresholds import RaceThreshold
from sockscope.core.results.standing import Standing
from sockscope.core.units import format_count, format_elapsed
from sockscope.errors import EXIT_INTERRUPTED
from sockscope.faces.columns import bar
from sockscope.faces.ending import Ending
from sockscope.faces.keeping import keep, kept_text
from sockscope.faces.output import Output, Plan
from sockscope.faces.printing import say
from sockscope.faces.progress import Progress, ended_by_signals
from sockscope.lab.rounds import Rounds
from sockscope.store.history import History

PARENT_LOOP = "uvloop"
"""The event loop of the process that runs it."""
_BAR_CELLS = 20


class RoundsForm(Enum):
    """What is written at the end."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class RoundsPlan:
    """What is written, and where (``path`` None = stdout; ``svg`` a file for the chart).

    ``strict`` lets it end with 4 when the clients were the limit of most of it, ``allow_invalid`` end well
    although the generator of an open loop was late.
    """

    form: RoundsForm = RoundsForm.TEXT
    path: str | None = None
    svg: str | None = None
    quiet: bool = False
    strict: bool = False
    allow_invalid: bool = False
    thresholds: tuple[RaceThreshold, ...] = ()


class RoundsFace(ABC):
    """How a race or a sweep is told; ``kind`` is what it is called."""

    kind: str

    def __init__(self, rounds: Rounds, environment: Mapping[str, object]) -> None:
        self.rounds = rounds
        self.environment = environment

    @property
    @abstractmethod
    def title(self) -> str:
        """What is measured in a few words, for a list of results."""

    @abstractmethod
    def report(self, standing: Standing) -> dict[str, Any]:
        """Return the object of ``--json``."""

    @abstractmethod
    def written(self, form: RoundsForm, standing: Standing) -> str:
        """Return what is written at the end."""

    @abstractmethod
    def chart(self, standing: Standing) -> str:
        """Return the chart, as SVG."""

    def is_invalid(self, told: str, plan: RoundsPlan) -> bool:
        """Tell whether it ends as not valid for the reason that is ``told``, if any, and say so."""
        if not told or plan.allow_invalid:
            return False
        say(f"the result is not valid: {told} (--allow-invalid)")
        return True

    @abstractmethod
    def exit_code(self, standing: Standing, plan: RoundsPlan) -> int:
        """Return the exit code, and say why when it is not 0."""


def run_rounds(face: RoundsFace, plan: RoundsPlan, history: History | None = None) -> int:
    """Run what ``face`` tells to its end, keep it in ``history`` and write what ``plan`` asks for.

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
            standing = signals.run(PARENT_LOOP, _run(face, plan, signals))
        except asyncio.CancelledError:
            return EXIT_INTERRUPTED
        number = keep(
            history if standing.slices_done else None,
            face.report(standing),
            began_at=began_at,
            cut_short=standing.cut_short,
            title=face.title,
        )
        told = kept_text(face.kind, number, history) if plan.form is RoundsForm.TEXT else ""
        output.summary({}, face.written(plan.form, standing) + told)
        if chart is not None:
            chart.summary({}, face.chart(standing))
        if standing.cut_short and not standing.slices_done and not standing.failure:
            say(f"the {face.kind} was ended before anything was measured")
            return EXIT_INTERRUPTED
        return face.exit_code(standing, plan)


async def _run(face: RoundsFace, plan: RoundsPlan, signals: Ending) -> Standing:
    rounds = face.rounds
    progress = Progress(sys.stderr, quiet=plan.quiet)
    standing = Standing(rounds.contest)
    doing = f"ending the {face.kind} with what has been measured so far"
    with ended_by_signals(signals, rounds.finish, progress, doing):
        try:
            async with aclosing(rounds.run()) as standings:
                async for standing in standings:
                    progress.tell(progress_text(standing))
        finally:
            progress.clear()
    return standing


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
