"""A programme: lessons, or some of their steps, one after the other; the format is in docs/presenting.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sockscope.errors import ConfigError
from sockscope.lab.lessons.format import read_lesson
from sockscope.lab.lessons.lesson import Lesson, Step
from sockscope.lab.lessons.shelf import OWN_LESSONS
from sockscope.store.files import read_toml

MOST_BYTES = 1 << 16
DEMO = OWN_LESSONS / "programmes" / "demo.toml"
"""What ``sockscope demo`` plays."""


def read_programme(path: Path, paths: Mapping[str, Path]) -> tuple[Lesson, ...]:
    """Return the lessons of a programme, each with the steps that it has there.

    ``paths`` are the files of all lessons by name. Raises ConfigError with the reason.
    """
    try:
        table = read_toml(str(path), MOST_BYTES)
        parts = table.get("part")
        if not isinstance(parts, list) or not parts:
            raise ValueError("has no [[part]]")
        return tuple(_part(part, paths) for part in parts)
    except ValueError as error:
        raise ConfigError.of("the programme", str(path), str(error)) from None


def _part(part: object, paths: Mapping[str, Path]) -> Lesson:
    if not isinstance(part, Mapping) or set(part) - {"lesson", "steps"}:
        raise ValueError("has a part with more than lesson and steps")
    name, steps = part.get("lesson"), part.get("steps")
    if not isinstance(name, str) or name not in paths:
        raise ValueError(f"names {name!r}, which is no lesson")
    lesson = read_lesson(paths[name])
    return lesson if steps is None else some_steps(lesson, steps)


def some_steps(lesson: Lesson, names: object) -> Lesson:
    """Return a lesson with those steps alone that are named, in the lesson's order.

    Raises ValueError where a step is not there, or needs one that is left out: one before it in its run, or
    one whose figures it compares with.
    """
    there = [step.name for step in lesson.steps]
    if not isinstance(names, list) or not names or not all(name in there for name in names):
        raise ValueError(f"steps of {lesson.name} are to be a list of some of {', '.join(there)}")
    for step in lesson.steps:
        if step.name in names and (missing := _needed(lesson, step) - set(names)):
            raise ValueError(f"step {step.name} of {lesson.name} needs {', '.join(sorted(missing))}")
    return lesson.with_steps(names)


def _needed(lesson: Lesson, step: Step) -> set[str]:
    checks = (*step.settle, *step.until, *step.checks, *step.possible)
    compared = {name.step for check in checks for name in check.names if name.step}
    # Steps that are scripts, each in a process of its own, need nothing else of one another.
    run = () if lesson.experiment is None else lesson.run_until(step)
    return compared | {one.name for one in run}
