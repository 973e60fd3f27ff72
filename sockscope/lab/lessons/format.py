"""From the TOML file of a lesson to the lesson; the format is in ``docs/lessons.md``.

What is wrong is told by the file, the step and the key, in one sentence each, and all of it at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import Value
from sockscope.core.results.checks import Check
from sockscope.core.units import parse_duration
from sockscope.errors import ConfigError, FieldFault
from sockscope.lab.lessons.excerpt import Excerpt, excerpt_of, file_of
from sockscope.lab.lessons.figures import FIGURES
from sockscope.lab.lessons.lesson import DEFAULT_PATIENCE_S, LIVE, Lesson, Script, Step
from sockscope.store.files import read_toml

MOST_BYTES = 1 << 18
"""Largest file of a lesson: 256 KiB."""
MOST_CHOICES = 9
"""As many as there are keys for them."""
_HEAD = ("title", "watch", "time", "code", "mark", "platforms", "experiment", "script", "step")
_STEP = (
    "name", "say", "question", "choices", "right", "then", "experiment", "tune", "fault", "stall", "settle",
    "until", "check", "patience", "possible", "otherwise", "run", "with", "code", "mark",
)  # fmt: skip
_SCRIPT = ("run", "loop")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def read_lesson(path: Path) -> Lesson:
    """Return the lesson of a file; raise ConfigError with everything that is wrong with it."""
    try:
        table = read_toml(str(path), MOST_BYTES)
    except ValueError as error:
        raise ConfigError.of("the lesson", str(path), str(error)) from None
    reader = _Reader(path, table)
    lesson = reader.lesson()
    if reader.faults:
        raise ConfigError(reader.faults)
    assert lesson is not None
    return lesson


class _Reader:
    """Reads one file, and keeps what is wrong with it in ``faults``."""

    def __init__(self, path: Path, table: Mapping[str, Any]) -> None:
        self.path, self.faults = path, list[FieldFault]()
        self._table = table
        self._place = ""

    def lesson(self) -> Lesson | None:
        table = self._table
        self._know(table, _HEAD)
        title, watch = self._text(table, "title", True), self._text(table, "watch", True)
        seconds, platforms = self._duration(table, "time", None), self._texts(table, "platforms")
        if ("experiment" in table) == ("script" in table):
            self._fault("the lesson", self.path.name, "needs one of [experiment] and [script]")
            return None
        experiment = self._experiment() if "experiment" in table else None
        code = self._code(table)
        tables = table.get("step")
        if not isinstance(tables, list) or not tables or not all(isinstance(one, Mapping) for one in tables):
            self._fault("step", tables, "is no list of steps: write [[step]] at least once")
            return None
        steps: list[Step] = []
        for number, one in enumerate(tables, start=1):
            self._place = f" of step {one.get('name', number)}"
            if (step := self._step(one, [step.name for step in steps], code)) is not None:
                steps.append(step)
        self._place = ""
        if self.faults:
            return None
        if experiment is not None and (experiment.requests or experiment.duration_s):
            why = "has no place in a lesson, whose run goes on: let clients think for long instead"
            self._fault("requests" if experiment.requests else "duration", "", why)
            return None
        lesson = Lesson(
            self.path.stem, title, watch, seconds, experiment, tuple(steps), str(self.path), platforms
        )
        self._check_runs(lesson)
        return lesson

    def _check_runs(self, lesson: Lesson) -> None:
        """Look whether the runs of a lesson are possible, one step after the other."""
        if lesson.experiment is None:
            return
        tuned = lesson.experiment
        for step in lesson.steps:
            self._place = f" of step {step.name}"
            fixed = {} if lesson.begins_anew(step) else step.tune
            try:
                tuned = lesson.experiment_of(step) if lesson.begins_anew(step) else tuned.with_values(fixed)
                tuned.validated()
            except ConfigError as error:
                self.faults += [FieldFault(self._called(f.field), f.value, f.why) for f in error.faults]
                return

    def _step(
        self, table: Mapping[str, Any], earlier: Sequence[str], code: tuple[Excerpt, ...]
    ) -> Step | None:
        self._know(table, _STEP)
        name = self._text(table, "name", True)
        if name and (not _NAME.fullmatch(name) or name in earlier):
            self._fault("name", name, "is not a name of its own in small letters, digits and _")
        is_run = "experiment" in self._table
        names = FIGURES if is_run else None
        tune = self._values(table, "tune", LIVE)
        if "fault" in table:
            tune |= self._parsed("fault", {"fault": table["fault"]}, LIVE)
        choices = self._texts(table, "choices")
        script = None if is_run else self._script(table)
        until = self._checks(table, "until", names, earlier)
        if is_run and not until:
            self._fault("until", "", "is needed: the condition on the figures that ends the step")
        return Step(
            name=name,
            say=self._text(table, "say", True),
            question=self._text(table, "question", bool(choices)),
            choices=choices,
            right=self._right(table, choices),
            then=self._text(table, "then", False),
            run_anew=self._values(table, "experiment", FIELDS),
            tune=tune,
            stall=table.get("stall") is True,
            settle=self._checks(table, "settle", names, earlier),
            until=until,
            checks=self._checks(table, "check", names, earlier),
            patience_s=self._duration(table, "patience", DEFAULT_PATIENCE_S),
            possible=self._checks(table, "possible", names, earlier),
            otherwise=self._text(table, "otherwise", "possible" in table),
            script=script,
            arguments=self._arguments(table),
            code=self._code(table, code),
        )

    def _experiment(self) -> Experiment:
        values = self._values(self._table, "experiment", FIELDS)
        # What follows from other fields may be said otherwise.
        return Experiment().with_values(values).settled().with_values(values)

    def _script(self, table: Mapping[str, Any]) -> Script | None:
        whole = self._table.get("script")
        if not isinstance(whole, Mapping):
            self._fault("script", whole, "is no table with run = 'module:coroutine'")
            return None
        self._know(whole, _SCRIPT)
        reference = table.get("run", whole.get("run"))
        loop = whole.get("loop", "asyncio")
        if loop not in ("asyncio", "uvloop"):
            self._fault("loop", loop, "is neither asyncio nor uvloop")
        module, _, name = str(reference).partition(":")
        try:
            excerpt_of(str(reference), "", self.path.parent)
        except ValueError as error:
            if " lines; at most " not in str(error):
                self._fault("run", reference, str(error))
                return None
        return Script(str(file_of(module, self.path.parent)), name, str(loop))

    def _arguments(self, table: Mapping[str, Any]) -> Mapping[str, object]:
        given = table.get("with", {})
        if isinstance(given, dict):
            return given
        self._fault("with", given, "is no table of arguments, such as {group = true}")
        return {}

    def _code(self, table: Mapping[str, Any], of_lesson: tuple[Excerpt, ...] = ()) -> tuple[Excerpt, ...]:
        """Return the excerpts of a step, which are those of the lesson unless it names its own."""
        if "code" not in table:
            return of_lesson
        mark = self._text(table, "mark", True)
        excerpts = []
        for reference in self._texts(table, "code"):
            try:
                excerpts.append(excerpt_of(reference, mark, self.path.parent))
            except ValueError as error:
                self._fault("code", reference, str(error))
        if excerpts and not any(excerpt.marked for excerpt in excerpts):
            self._fault("mark", mark, "is in no line of the code")
        return tuple(excerpts)

    def _values(self, table: Mapping[str, Any], key: str, known: Any) -> dict[str, Value]:
        given = table.get(key, {})
        if not isinstance(given, Mapping):
            self._fault(key, given, "is no table of fields, such as {permits = 20}")
            return {}
        return self._parsed(key, given, known)

    def _parsed(self, key: str, given: Mapping[str, Any], known: Any) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, raw in given.items():
            if name not in known:
                fixed = "cannot be turned while a run goes on" if name in FIELDS else "there is no such field"
                near = get_close_matches(name, known, n=1)
                self._fault(f"{key}.{name}", raw, fixed + (f"; did you mean {near[0]}?" if near else ""))
                continue
            spec = FIELDS[name].spec
            try:
                values[name] = spec.parse(raw)
            except ValueError as error:
                self._fault(f"{key}.{name}", raw, str(error))
                continue
            if spec.flag is not None and spec.flag.only_typed(values[name]):
                self._fault(f"{key}.{name}", raw, "can only be given on the command line")
        return values

    def _checks(
        self, table: Mapping[str, Any], key: str, names: Mapping[str, str] | None, earlier: Sequence[str]
    ) -> tuple[Check, ...]:
        found = []
        for text in self._texts(table, key):
            try:
                found.append(Check.parse(text, names, earlier))
            except ValueError as error:
                self._fault(key, text, str(error))
        return tuple(found)

    def _right(self, table: Mapping[str, Any], choices: Sequence[str]) -> int:
        right = table.get("right", 0)
        if not choices and "right" not in table:
            return 0
        if len(choices) == 1 or len(choices) > MOST_CHOICES:
            self._fault("choices", list(choices), f"has not 2 to {MOST_CHOICES} of them")
        elif type(right) is not int or not 1 <= right <= len(choices):
            self._fault("right", right, f"is not the number of a choice, 1 to {len(choices)}")
        return right if type(right) is int else 0

    def _text(self, table: Mapping[str, Any], key: str, needed: bool) -> str:
        text = table.get(key, "")
        if not isinstance(text, str) or (needed and not text.strip()):
            self._fault(key, text, "is needed, as text")
            return ""
        return text.strip()

    def _texts(self, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        given = table.get(key, [])
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            self._fault(key, given, "is neither text nor a list of texts")
            return ()
        return tuple(texts)

    def _duration(self, table: Mapping[str, Any], key: str, default: float | None) -> float:
        given = table.get(key, default)
        try:
            return given if isinstance(given, float) else parse_duration(str(given))
        except ValueError:
            self._fault(key, given, "is not a duration, such as 20s")
            return DEFAULT_PATIENCE_S

    def _know(self, table: Mapping[str, Any], keys: Sequence[str]) -> None:
        for key in table:
            if key not in keys:
                near = get_close_matches(key, keys, n=1)
                self._fault(
                    key, table[key], "is no key of a lesson" + (f"; did you mean {near[0]}?" if near else "")
                )

    def _called(self, key: str) -> str:
        return f"{key}{self._place} in {self.path.name}"

    def _fault(self, key: str, value: object, why: str) -> None:
        self.faults.append(FieldFault(self._called(key), value, why))
