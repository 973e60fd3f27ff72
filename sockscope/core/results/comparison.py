"""Two results of one kind side by side: how the setups differ, and how each figure changed.

A figure has a direction that is better, or none: more CPU is neither good nor bad by itself. Counts grow with
the length of a run, so their relative change is that of the count *per request*. A change is better or worse
only where it is more than chance explains: for runs by :mod:`sockscope.core.results.batch_means`, for races
where the intervals of two medians do not overlap; and never below :data:`FLOOR_RATIO`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from sockscope.core import censoring
from sockscope.core.censoring import AtLeast, AtMost
from sockscope.core.config.experiment import FIELDS_BY_ATTRIBUTE
from sockscope.core.config.fields import Subject
from sockscope.core.results.batch_means import FLOOR_RATIO
from sockscope.core.results.flattering import PERCENTILES, flattered
from sockscope.core.results.kinds import KINDS
from sockscope.core.results.run_result import RUN
from sockscope.core.results.schema import Better, Estimate, Figure, Report, ResultKind, format_field, known
from sockscope.core.results.thresholds import ChangeThreshold
from sockscope.core.units import DASH, bounded

_UNANSWERED = f"{PERCENTILES}unanswered"


class Verdict(Enum):
    """What a change is.

    ``NOT_SHOWN``: no difference is shown, the two lie within what chance explains. ``DIFFERENT``: neither
    direction is better. ``UNTOLD``: nothing tells the change from chance, since a run was too short.
    ``UNKNOWN``: a figure is not known.
    """

    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "not_shown"
    DIFFERENT = "different"
    UNTOLD = "untold"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its name for people (``run 12``), its JSON object, and the name of its kind."""

    name: str
    report: Report
    kind: str = "run"
    cut_short: bool = False


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of the experiment (by its attribute) or of the environment that is not the same."""

    name: str
    a: object
    b: object

    @property
    def label(self) -> str:
        """What the field is called on the screen."""
        entry = FIELDS_BY_ATTRIBUTE.get(self.name)
        return self.name if entry is None else entry.spec.label

    def __str__(self) -> str:
        return f"{self.label} {format_field(self.name, self.a)} → {format_field(self.name, self.b)}"


@dataclass(frozen=True, slots=True)
class FigureChange:
    """One figure, by its full name, on both sides.

    ``change_ratio`` is None when it is not known, infinite from zero up; it is that of the figure per request
    where ``per_request``. ``told_apart`` is False where chance explains the change, None where nothing tells.
    """

    figure: str
    a: float | None
    b: float | None
    change_ratio: float | None
    better: Better = Better.NEITHER
    per_request: bool = False
    told_apart: bool | None = True

    @classmethod
    def of(cls, name: str, figure: Figure, a: Estimate, b: Estimate) -> FigureChange:
        """Return what became of a figure."""
        change_ratio = relative_change(a.basis, b.basis)
        apart = (
            True
            if figure.extent
            else a.told_apart(b, counts=figure.per_request, floor_ratio=figure.floor_ratio)
        )
        return cls(name, a.value, b.value, change_ratio, figure.better, figure.per_request, apart)

    @property
    def change(self) -> float | None:
        """Return ``b - a`` in the figure's unit as far as it is certain, or None."""
        return censoring.change(self.a, self.b) if self.a is not None and self.b is not None else None

    @property
    def verdict(self) -> Verdict:
        """Whether B is better or worse than A."""
        ratio = self.change_ratio
        if ratio is None:
            return Verdict.UNKNOWN
        if abs(ratio) < FLOOR_RATIO or self.told_apart is False:
            return Verdict.NOT_SHOWN
        if self.better is Better.NEITHER:
            return Verdict.DIFFERENT
        if self.told_apart is None:
            return Verdict.UNTOLD
        return Verdict.BETTER if (ratio > 0) == (self.better is Better.HIGHER) else Verdict.WORSE


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything about A and B. ``figures`` by subject: by contestant; that of two runs has an empty name.

    ``doubts`` are sentences about why the figures may not be comparable. ``only_a`` and ``only_b`` are
    subjects that the other side does not have.
    """

    a: Side
    b: Side
    experiment: tuple[FieldChange, ...]
    environment: tuple[FieldChange, ...]
    figures: Mapping[str, tuple[FigureChange, ...]]
    doubts: tuple[str, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()


def relative_change(a: float | None, b: float | None) -> float | None:
    """Return ``(b - a) / a``: 0 when nothing changed, infinite from zero up, None when one is not known.

    To or from a lower bound, it is known where the direction is: then the change is at least as large.
    """
    between = censoring.change(a, b) if a is not None and b is not None else None
    if between is None or a is None:
        return None
    if not between:
        return 0.0
    return between / abs(float(a)) if a else math.copysign(math.inf, between)


def compare(a: Side, b: Side) -> Comparison:
    """Return the comparison of two results of one kind; raises ValueError for other pairs."""
    if a.kind != b.kind:
        raise ValueError(f"a {a.kind} and a {b.kind} have no figures in common")
    kind = KINDS[a.kind]
    before, after = kind.estimates(a.report), kind.estimates(b.report)
    figures: Mapping[str, tuple[FigureChange, ...]] = {
        name: tuple(_changes(kind, estimates, after[name]))
        for name, estimates in before.items()
        if name in after
    }
    figures, flattery = _without_flattery(figures, flattered(a.report, b.report) if kind is RUN else 0)
    return Comparison(
        a,
        b,
        _changed_fields(a, b),
        _changed_environment(a, b),
        figures,
        (*_doubts(kind, a, b), *flattery),
        only_a=tuple(name for name in before if name not in after),
        only_b=tuple(name for name in after if name not in before),
    )


def _without_flattery(
    figures: Mapping[str, tuple[FigureChange, ...]], direction: int
) -> tuple[Mapping[str, tuple[FigureChange, ...]], tuple[str, ...]]:
    """Return the changes, those of percentiles in the direction that flatters without a verdict, and why."""
    believed = {name: tuple(_believed(one, direction) for one in of) for name, of in figures.items()}
    verdicts, before = (
        [one.verdict for of in all_of.values() for one in of] for all_of in (believed, figures)
    )
    if verdicts == before:
        return figures, ()
    worse = "B" if direction < 0 else "A"
    return believed, (f"percentiles are of answered requests only: the clients of {worse} wait longer",)


def _believed(one: FigureChange, direction: int) -> FigureChange:
    if one.figure.startswith(PERCENTILES) and (one.change_ratio or 0.0) * direction > 0:
        return replace(one, better=Better.NEITHER)
    return one


def _changes(
    kind: ResultKind, a: Mapping[str, Estimate], b: Mapping[str, Estimate]
) -> Iterator[FigureChange]:
    """Yield what became of each figure that both sides have.

    A percentile that falls among requests without an answer on one side differs as surely as their number.
    """
    both = {name: figure for name, figure in kind.figures.items() if name in a and name in b}
    fails = _UNANSWERED in both and a[_UNANSWERED].told_apart(b[_UNANSWERED], counts=True)
    for name, figure in both.items():
        one = FigureChange.of(name, figure, a[name], b[name])
        bound = isinstance(one.change_ratio, AtLeast | AtMost)
        yield replace(one, told_apart=True) if bound and fails else one


# What ran.


def _changed_fields(a: Side, b: Side) -> tuple[FieldChange, ...]:
    """Return the fields that both know and that differ, in the order in which they are described."""
    before, after = a.report["experiment"], b.report["experiment"]
    changes = (FieldChange(name, before.get(name), after.get(name)) for name in FIELDS_BY_ATTRIBUTE)
    return tuple(one for one in changes if one.a is not None and one.b is not None and one.a != one.b)


def _changed_environment(a: Side, b: Side) -> tuple[FieldChange, ...]:
    before, after = a.report["environment"], b.report["environment"]
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


# Doubts.


def _doubts(kind: ResultKind, a: Side, b: Side) -> Iterator[str]:
    for side in (a, b):
        if side.cut_short:
            yield f"{side.name} was cut short"
        yield from kind.doubts(side.name, side.report)
    if known(a.report, "schema_version") != known(b.report, "schema_version"):
        yield "one was written by an older version, whose percentiles leave out requests without an answer"
    yield from kind.pair_doubts(a.report, b.report)
    yield from _doubts_of_what_ran(a, b)


def _doubts_of_what_ran(a: Side, b: Side) -> Iterator[str]:
    fields = _changed_fields(a, b)
    of = {subject: _about(fields, subject) for subject in Subject}
    asked, places = of[Subject.WORKLOAD], of[Subject.PLACEMENT]
    if asked:
        named = ", ".join(one.label for one in asked)
        yield f"the workloads differ ({named}): that alone changes the figures"
    others = [*of[Subject.SETUP], *places]
    if len(others) > 1 or (asked and others):
        yield "several settings differ: the figures do not tell which of them made the difference"
    if places:
        yield f"the roles ran elsewhere ({_listed(places)}): resources are not of the same processes"
    warm_up = [one for one in fields if one.name == "warmup_s"]
    if warm_up:
        yield f"the figures leave out different warm-ups ({_listed(warm_up)})"
    environment = _changed_environment(a, b)
    if environment:
        yield f"they ran elsewhere or on other versions ({_listed(environment)})"


def _about(changes: Iterable[FieldChange], subject: Subject) -> list[FieldChange]:
    return [one for one in changes if FIELDS_BY_ATTRIBUTE[one.name].spec.subject is subject]


def _listed(changes: Iterable[FieldChange]) -> str:
    return ", ".join(map(str, changes))


# Conditions.


def names_of(comparison: Comparison) -> Mapping[str, str]:
    """Return the names by which conditions may call the figures of a comparison."""
    told = {one.figure for changes in comparison.figures.values() for one in changes}
    return {name: figure for name, figure in KINDS[comparison.a.kind].names.items() if figure in told}


def exceeded(threshold: ChangeThreshold, comparison: Comparison) -> list[str]:
    """Return in words where the condition holds.

    A change that chance explains counts as none, one that is not known as one for which the condition holds.
    """
    found = []
    for contestant, changes in comparison.figures.items():
        of = f" of {contestant}" if contestant else ""
        for one in changes:
            if one.figure != threshold.figure:
                continue
            ratio = 0.0 if one.verdict is Verdict.NOT_SHOWN else one.change_ratio
            if ratio is None:
                found.append(
                    f"{threshold.text} cannot be judged: the change of {one.figure}{of} is not known"
                )
            elif threshold.may_hold(ratio):
                how = "rose" if math.isinf(ratio) else "changed by"
                change = format_change_ratio(ratio)
                found.append(f"{threshold.told_of(ratio)}: {one.figure}{of} {how} {change}")
    return found


def format_change_ratio(ratio: float | None) -> str:
    """Return a relative change for people: ``+152 %``, ``−4.8 %``, ``from 0``; a dash for None."""
    if ratio is None:
        return DASH
    if math.isinf(ratio):
        return "from 0"
    percent = abs(ratio) * 100
    if percent < 0.05:
        return bounded(ratio, "0 %")
    text = f"{percent:,.1f}" if percent < 9.95 else f"{percent:,.0f}"
    return bounded(ratio, f"{'+' if ratio > 0 else '−'}{text} %")
