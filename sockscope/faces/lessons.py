"""Lessons as text and JSON: the list, and what each step has shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from sockscope.core.results.schema import SCHEMA_VERSION
from sockscope.core.units import format_duration
from sockscope.errors import EXIT_FAILED, EXIT_OK
from sockscope.faces.columns import TextColumn, aligned
from sockscope.faces.printing import tell
from sockscope.lab.lessons.lesson import Lesson, Step
from sockscope.lab.lessons.walk import Outcome, Seen, go_through

_COLUMNS: tuple[TextColumn[Lesson], ...] = (
    TextColumn("lesson", lambda lesson: lesson.name, left=True),
    TextColumn("takes", lambda lesson: f"{lesson.seconds:.0f} s"),
    TextColumn("what one sees", lambda lesson: lesson.watch, left=True),
)


def list_text(lessons: Sequence[Lesson]) -> str:
    """Return the table of ``sockscope lessons``."""
    lines = (line.rstrip() + "\n" for line in aligned(_COLUMNS, lessons))
    return "".join(lines) + "\nsockscope lesson NAME begins one; with --check it runs by itself.\n"


def list_report(lessons: Sequence[Lesson]) -> dict[str, object]:
    """Return the JSON object of ``sockscope lessons`` (docs/json.md)."""
    rows = [
        {"lesson": one.name, "title": one.title, "watch": one.watch, "time_s": one.seconds, "file": one.path}
        for one in lessons
    ]
    return {"schema_version": SCHEMA_VERSION, "type": "lesson_list", "lessons": rows}


def check_lessons(lessons: Sequence[Lesson], *, as_json: bool) -> int:
    """Go through lessons without a screen, tell what each has shown, and return the exit code.

    Raises SockscopeError when a run cannot start.
    """
    outcomes = [_checked(lesson, quiet=as_json) for lesson in lessons]
    failed = any(outcome.has_failed for outcome in outcomes)
    if as_json:
        reports = [outcome.report() for outcome in outcomes]
        several = {"schema_version": SCHEMA_VERSION, "type": "lessons", "failed": failed, "lessons": reports}
        tell(json.dumps(reports[0] if len(reports) == 1 else several, indent=2) + "\n")
    elif len(outcomes) > 1:
        tell(_sum_text(outcomes))
    return EXIT_FAILED if failed else EXIT_OK


def _checked(lesson: Lesson, *, quiet: bool) -> Outcome:
    if quiet:
        return go_through(lesson)
    tell(f"{lesson.name}: {lesson.title}\n")
    outcome = go_through(lesson, lambda step, seen: tell("".join(seen_lines(step, seen))))
    tell(f"  {_became(outcome)} in {format_duration(outcome.took_s)}\n")
    return outcome


def _became(one: Outcome | Seen) -> str:
    return "shown" if one.is_shown else "cannot be shown here" if one.cannot else "NOT SHOWN"


def seen_lines(step: Step, seen: Seen) -> Iterator[str]:
    """Yield the lines that tell what a step has shown."""
    yield f"  {step.name}: {_became(seen)} ({format_duration(seen.elapsed_s)})\n"
    if seen.is_shown:
        yield from (f"    {check.text}: {check.figures}\n" for check in seen.checks)
    else:
        yield from (f"    {fault}\n" for fault in seen.faults())


def _sum_text(outcomes: Sequence[Outcome]) -> str:
    shown = sum(outcome.is_shown for outcome in outcomes)
    failed = ", ".join(outcome.lesson.name for outcome in outcomes if outcome.has_failed)
    cannot = ", ".join(outcome.lesson.name for outcome in outcomes if outcome.cannot)
    took = format_duration(sum(outcome.took_s for outcome in outcomes))
    told = f"{shown} of {len(outcomes)} lessons shown in {took}"
    told += f"; NOT SHOWN: {failed}" if failed else ""
    return told + (f"; cannot be shown here: {cannot}\n" if cannot else "\n")
