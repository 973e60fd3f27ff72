"""A race as a command tells it: its table, JSON, CSV, Markdown and SVG, and its exit code."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from sockscope.core.results.contest import Contest
from sockscope.core.results.lateness import late_told
from sockscope.core.results.race_result import CSV_COLUMNS, race_report, race_rows
from sockscope.core.results.standing import Standing, is_valid, rows
from sockscope.errors import EXIT_FAILED, EXIT_INVALID, EXIT_OK, EXIT_THRESHOLD
from sockscope.faces.printing import say
from sockscope.faces.race_svg import race_svg
from sockscope.faces.race_table import INVALID, out_of_the_race, race_markdown, race_text
from sockscope.faces.rounds import RoundsFace, RoundsForm, RoundsPlan


class RaceFace(RoundsFace):
    """A race as it is told."""

    kind = "race"

    @property
    def title(self) -> str:
        """What is raced in a few words."""
        return race_title(self.rounds.contest)

    def report(self, standing: Standing) -> dict[str, Any]:
        """Return the object of ``--json``."""
        return race_report(standing, self.environment)

    def written(self, form: RoundsForm, standing: Standing) -> str:
        """Return what is written at the end."""
        return written(form, standing, self.environment)

    def chart(self, standing: Standing) -> str:
        """Return the bars, as SVG."""
        return race_svg(standing, self.environment)

    def exit_code(self, standing: Standing, plan: RoundsPlan) -> int:
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
        if self.is_invalid(late_told(standing.laps), plan):
            return EXIT_INVALID
        spreads = [(row.name, row.spreads) for row in table]
        misses = [miss for threshold in plan.thresholds for miss in threshold.missed(spreads)]
        for miss in misses:
            say(f"--fail-if {miss}")
        return EXIT_THRESHOLD if misses else EXIT_OK


def written(form: RoundsForm, standing: Standing, environment: Mapping[str, object]) -> str:
    """Return what is written at the end of a race."""
    match form:
        case RoundsForm.TEXT:
            return race_text(standing, environment)
        case RoundsForm.JSON:
            return json.dumps(race_report(standing, environment), indent=2, allow_nan=False) + "\n"
        case RoundsForm.CSV:
            return race_csv(standing)
        case RoundsForm.MARKDOWN:
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
