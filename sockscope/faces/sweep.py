"""A sweep as a command tells it: its tables and plots, JSON, CSV, Markdown and SVG, and its exit code."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sockscope.core.results.design import Design
from sockscope.core.results.lateness import late_told
from sockscope.core.results.scaling import Curve, curves
from sockscope.core.results.standing import Standing
from sockscope.core.results.sweep_result import csv_columns, is_valid, subjects, sweep_report, sweep_rows
from sockscope.errors import EXIT_FAILED, EXIT_INVALID, EXIT_OK, EXIT_THRESHOLD
from sockscope.faces.printing import say
from sockscope.faces.rounds import RoundsFace, RoundsForm, RoundsPlan
from sockscope.faces.sweep_svg import sweep_svg
from sockscope.faces.sweep_table import INVALID, not_measured, sweep_markdown, sweep_text
from sockscope.lab.sweep import Sweep


class SweepFace(RoundsFace):
    """A sweep as it is told."""

    kind = "sweep"

    def __init__(self, sweep: Sweep, environment: Mapping[str, object]) -> None:
        super().__init__(sweep, environment)
        self._sweep = sweep

    @property
    def design(self) -> Design:
        """What is swept; that of a search grows with the values that it tries."""
        return self._sweep.design

    @property
    def title(self) -> str:
        """What is swept in a few words."""
        return sweep_title(self.design)

    def report(self, standing: Standing) -> dict[str, Any]:
        """Return the object of ``--json``."""
        return sweep_report(self.design, standing, self.environment)

    def written(self, form: RoundsForm, standing: Standing) -> str:
        """Return what is written at the end."""
        match form:
            case RoundsForm.TEXT:
                return sweep_text(self.design, standing, self.environment)
            case RoundsForm.JSON:
                return json.dumps(self.report(standing), indent=2, allow_nan=False) + "\n"
            case RoundsForm.CSV:
                return sweep_csv(self.design, standing)
            case RoundsForm.MARKDOWN:
                return sweep_markdown(self.design, standing, self.environment)

    def chart(self, standing: Standing) -> str:
        """Return the curves, as SVG."""
        return sweep_svg(self.design, standing, self.environment)

    def exit_code(self, standing: Standing, plan: RoundsPlan) -> int:
        """Return the exit code, and say why when it is not 0."""
        found = curves(self.design, standing)
        for sentence in not_measured(standing):
            say(sentence)
        if standing.failure:
            return EXIT_FAILED
        if standing.unanswered == {step.name for step in self.design.steps} - standing.faults.keys():
            say("the sweep failed: no request was answered")
            return EXIT_FAILED
        if standing.faults and self.design.find is None:
            # Said above: not every step was measured that was asked for.
            return EXIT_FAILED
        if plan.strict and not is_valid(found):
            say(INVALID)
            return EXIT_INVALID
        if self.is_invalid(self._late(standing, found), plan):
            return EXIT_INVALID
        told = [*subjects(found)]
        misses = [miss for threshold in plan.thresholds for miss in threshold.missed(told)]
        for miss in misses:
            say(f"--fail-if {miss}")
        return EXIT_THRESHOLD if misses else EXIT_OK

    def _late(self, standing: Standing, found: Sequence[Curve]) -> str:
        """Return where the generator was the limit, or nothing: a search may go beyond what it can do."""
        if self.design.find is None:
            return late_told(standing.laps)
        late = (one.found for one in found if one.found is not None and one.found.generator_bound)
        return next((f"the search ended at its generator: {one.why_not}" for one in late if one.complete), "")


def sweep_title(design: Design) -> str:
    """Return what is swept in a few words, for a list of results."""
    if design.find is not None:
        return f"{design.find.axis} that keeps {design.find.condition.text}"
    return ", ".join(map(str, design.axes))


def sweep_csv(design: Design, standing: Standing) -> str:
    """Return a row for each step and round, with a header; an empty cell is not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, csv_columns(design), lineterminator="\n")
    writer.writeheader()
    writer.writerows(sweep_rows(design, standing))
    return text.getvalue()
