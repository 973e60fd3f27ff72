"""Two runs, or two races, side by side: what differs in what ran, and what became of each figure.

A figure has a direction that is better, or none: more CPU is neither good nor bad by itself. Counts grow with
the length of a run, so their relative change is that of the count *per request*. A change below
:data:`SAME_RATIO` counts as the same, which is what the histogram cannot tell apart; figures of races are the
same when the intervals of their medians overlap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sockscope.core.config.experiment import FIELDS_BY_ATTRIBUTE
from sockscope.core.config.fields import Subject
from sockscope.core.results.report import FIGURES, format_field, known
from sockscope.core.results.thresholds import FIGURE_NAMES, ChangeThreshold, short_names
from sockscope.core.units import DASH, format_duration

SAME_RATIO = 0.01
"""Two figures closer than this are the same: percentiles are known to 0.8 %."""
SHORT_S = 1.0
"""Figures of less time say little."""
UNEQUAL = 2.0
"""Runs of which one lasted this many times as long as the other are worth a word."""

Report = Mapping[str, Any]


class Better(Enum):
    """Which direction of a figure is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class Verdict(Enum):
    """What a change is. ``DIFFERENT``: neither direction is better; ``UNKNOWN``: a figure is not known."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


CPU_PER_REQUEST = "resources.cpu_s_per_request"
"""Processor time of all processes per request that was answered: a figure of comparisons only, in seconds."""
NAMES: Mapping[str, str] = {**FIGURE_NAMES, **short_names([CPU_PER_REQUEST])}
"""Names by which a figure of two runs may be called, with its dotted name."""

_HIGHER = frozenset({"requests_per_s", "bytes_per_s", "connections_per_s", "ratio"})
_LOWER = frozenset(
    {"timeouts", "errors", "connections_refused", "connections_reset", "connections_timed_out",
     "connections_failed", "connections_rejected", "datagrams_lost", "datagrams_late",
     "datagrams_reordered", "datagrams_duplicated", "in_errors", "rcvbuf_errors", "rss_bytes",
     "loop_lag_p50_s", "loop_lag_p99_s", "loop_lag_max_s", "cpu_s_per_request",
     "service_time_p50_s", "service_time_p99_s"}
)  # fmt: skip
_OF_A_MOMENT = frozenset({"rss_bytes", "descriptors", "descriptor_limit", "connections_open", "permits",
                          "in_flight", "waiting"})  # fmt: skip
_NOT_PER_REQUEST = frozenset({"requests", "responses", "count"})
COUNTS = frozenset(
    f"{section}.{name}"
    for section in ("totals", "server", "limiter", "admission", "pool", "kernel_udp")
    for name in FIGURES[section]
    if name not in _OF_A_MOMENT | _NOT_PER_REQUEST
) | {"resources.cpu_s", "resources.voluntary_switches", "resources.involuntary_switches"}
"""Figures that grow with the requests of a run; their relative change is that of the count per request."""

_RAN = {"run": "experiment", "race": "workload"}
"""Where the fields are that a run, or all contestants of a race, had in common."""
_FIXED = {"rate": "duration_s"}
"""The figure that is no result of a kind of race: where rates are measured, slices last as long as asked."""


def better(figure: str) -> Better:
    """Return which direction of a figure is better, by its dotted name or its name in a race."""
    section, _, name = figure.rpartition(".")
    if name in _HIGHER:
        return Better.HIGHER
    if name in _LOWER or (section == "service_time_s" and name != "count"):
        return Better.LOWER
    if section == "" and name == "duration_s":
        return Better.LOWER
    return Better.NEITHER


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its name for people (``run 12``), its kind (``run``, ``race``) and its JSON object."""

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
    """One figure on both sides. ``change_ratio`` is None when it is not known, infinite from zero up.

    ``told_apart`` is False where the two lie within each other's uncertainty.
    """

    figure: str
    a: float | None
    b: float | None
    change_ratio: float | None
    told_apart: bool = True

    @property
    def change(self) -> float | None:
        """Return ``b - a`` in the figure's unit, or None."""
        return self.b - self.a if self.a is not None and self.b is not None else None

    @property
    def verdict(self) -> Verdict:
        """Whether B is better or worse than A."""
        ratio = self.change_ratio
        if ratio is None:
            return Verdict.UNKNOWN
        if abs(ratio) < SAME_RATIO or not self.told_apart:
            return Verdict.SAME
        direction = better(self.figure)
        if direction is Better.NEITHER:
            return Verdict.DIFFERENT
        return Verdict.BETTER if (ratio > 0) == (direction is Better.HIGHER) else Verdict.WORSE


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything about A and B. ``figures`` by contestant; the one of two runs has an empty name.

    ``doubts`` are sentences about why the figures may not be comparable. ``only_a`` and ``only_b`` are
    contestants that the other race does not have.
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
    """Return ``(b - a) / a``: 0 when nothing changed, infinite from zero up, None when one is not known."""
    if a is None or b is None:
        return None
    if a == b:
        return 0.0
    return (b - a) / abs(a) if a else math.copysign(math.inf, b - a)


def compare(a: Side, b: Side) -> Comparison:
    """Return the comparison of two runs or of two races; raises ValueError for other pairs."""
    if a.kind != b.kind:
        raise ValueError(f"a {a.kind} and a {b.kind} have no figures in common")
    if a.kind == "race":
        return _compare_races(a, b)
    if a.kind != "run":
        raise ValueError(f"a {a.kind} has no figures to compare")
    figures = tuple(_figure_change(name, a.report, b.report) for name in _figure_names())
    return Comparison(
        a, b, _changed_fields(a, b), _changed_environment(a, b), {"": figures}, tuple(_doubts_of_runs(a, b))
    )


# Figures of runs.


def _figure_names() -> Iterator[str]:
    for section, names in FIGURES.items():
        yield from (f"{section}.{name}" for name in names)
        if section == "resources":
            yield CPU_PER_REQUEST


def _figure_change(figure: str, a: Report, b: Report) -> FigureChange:
    before, after = _value(a, figure), _value(b, figure)
    if figure in COUNTS:
        return FigureChange(figure, before, after, relative_change(_share(a, before), _share(b, after)))
    return FigureChange(figure, before, after, relative_change(before, after))


def _value(report: Report, figure: str) -> float | None:
    if figure == CPU_PER_REQUEST:
        cpu_s, answered = _cpu_s(report), known(report, f"{_main(report)}.responses")
        return cpu_s / answered if cpu_s is not None and answered else None
    value: float | None = known(report, figure)
    return value


def _cpu_s(report: Report) -> float | None:
    """Return the processor time of all processes of a run, wherever its roles were placed."""
    # A report of one process only has no list of them.
    uses = [use.get("cpu_s") for use in report.get("processes") or [report.get("resources") or {}]]
    return sum(uses) if None not in uses else None


def _share(report: Report, count: float | None) -> float | None:
    """Return a count per request of the run; without requests only nothing has a share."""
    requests = known(report, f"{_main(report)}.requests")
    if count is None or requests is None:
        return None
    if requests:
        share: float = count / requests
        return share
    return 0.0 if count == 0 else None


def _main(report: Report) -> str:
    return "server" if known(report, "experiment.role") == "server" else "totals"


# What ran.


def _changed_fields(a: Side, b: Side) -> tuple[FieldChange, ...]:
    """Return the fields that both know and that differ, in the order in which they are described."""
    before, after = (side.report.get(_RAN[side.kind]) or {} for side in (a, b))
    changes = (FieldChange(name, before.get(name), after.get(name)) for name in FIELDS_BY_ATTRIBUTE)
    return tuple(one for one in changes if one.a is not None and one.b is not None and one.a != one.b)


def _changed_environment(a: Side, b: Side) -> tuple[FieldChange, ...]:
    before, after = a.report.get("environment") or {}, b.report.get("environment") or {}
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


# Doubts.


def _doubts_of_runs(a: Side, b: Side) -> Iterator[str]:
    for side in (a, b):
        yield from _doubts_of(side)
    lasted = [known(side.report, "duration_s") or 0.0 for side in (a, b)]
    if max(lasted) > UNEQUAL * min(lasted):
        yield f"A lasted {format_duration(lasted[0])} and B {format_duration(lasted[1])}"
    yield from _doubts_of_pair(a, b)


def _doubts_of(side: Side) -> Iterator[str]:
    report, name = side.report, side.name
    if known(report, "state") == "failed":
        yield f"{name} failed: {known(report, 'error')}"
    if side.cut_short:
        yield f"{name} was cut short"
    if known(report, "warming_up"):
        yield f"{name} ended while it was warming up"
    elif (known(report, "duration_s") or 0.0) < SHORT_S:
        yield f"{name} measured only {format_duration(known(report, 'duration_s'))}"
    if times := known(report, "tunings"):
        turned = "once" if times == 1 else f"{times:,} times"
        yield f"{name} was tuned {turned} while it went on: its figures mix what was before and after"


def _doubts_of_pair(a: Side, b: Side) -> Iterator[str]:
    roles = [known(side.report, "experiment.role") for side in (a, b)]
    if roles[0] != roles[1]:
        yield f"other roles ran ({roles[0]} → {roles[1]}): some figures are of one side only"
    fields = _changed_fields(a, b)
    of = {subject: _about(fields, subject) for subject in Subject}
    asked, places = of[Subject.WORKLOAD], of[Subject.PLACEMENT]
    if asked:
        named = ", ".join(one.label for one in asked)
        yield f"what is asked of the server differs ({named}): that alone changes the figures"
    others = [*of[Subject.SETUP], *places]
    if len(others) > 1 or (asked and others):
        yield "several settings differ: the figures do not tell which of them made the difference"
    if places:
        yield f"the roles ran elsewhere ({_listed(places)}): resources are not of the same processes"
    warm_up = [one for one in fields if one.name == "warmup_s"]
    if warm_up:
        yield f"the figures leave out another start ({_listed(warm_up)})"
    environment = _changed_environment(a, b)
    if environment:
        yield f"they ran elsewhere or on other versions ({_listed(environment)})"


def _about(changes: Iterable[FieldChange], subject: Subject) -> list[FieldChange]:
    return [one for one in changes if FIELDS_BY_ATTRIBUTE[one.name].spec.subject is subject]


def _listed(changes: Iterable[FieldChange]) -> str:
    return ", ".join(map(str, changes))


# Races.


def _compare_races(a: Side, b: Side) -> Comparison:
    before, after = _contestants(a.report), _contestants(b.report)
    both = [name for name in before if name in after]
    kind = str(known(a.report, "kind"))
    return Comparison(
        a,
        b,
        _changed_fields(a, b),
        _changed_environment(a, b),
        {name: tuple(_spread_changes(before[name], after[name], _FIXED.get(kind))) for name in both},
        tuple(_doubts_of_races(a, b)),
        only_a=tuple(name for name in before if name not in after),
        only_b=tuple(name for name in after if name not in before),
    )


def _doubts_of_races(a: Side, b: Side) -> Iterator[str]:
    for side in (a, b):
        if side.cut_short:
            yield f"{side.name} was cut short"
        if known(side.report, "valid") is False:
            yield f"in {side.name} the clients were the limit of most: it does not compare servers"
    kinds = [known(side.report, "kind") for side in (a, b)]
    if kinds[0] != kinds[1]:
        yield f"other kinds of race ({kinds[0]} → {kinds[1]}): rates against the time of a batch"
    yield from _doubts_of_pair(a, b)


def _contestants(race: Report) -> dict[str, Report]:
    """Return the contestants of a race by their names."""
    return {str(one["name"]): one for one in race["contestants"]}


def _spread_changes(a: Report, b: Report, fixed: str | None) -> Iterator[FigureChange]:
    """Yield each figure that is given as a spread on both sides, without the one that is ``fixed``."""
    for name, spread in a.items():
        if name == fixed:
            continue
        if not isinstance(spread, Mapping) or "median" not in spread or not isinstance(b.get(name), Mapping):
            continue
        other = b[name]
        before, after = spread["median"], other.get("median")
        yield FigureChange(name, before, after, relative_change(before, after), _told_apart(spread, other))


def _told_apart(a: Report, b: Report) -> bool:
    """Tell whether the intervals of two medians do not overlap."""
    (low, high), (other_low, other_high) = _interval(a), _interval(b)
    if low is None or high is None or other_low is None or other_high is None:
        return True
    return high < other_low or other_high < low


def _interval(spread: Report) -> tuple[float | None, float | None]:
    """Return the interval of the median, or the extremes where it is not given."""
    low, high = spread.get("interval") or (spread.get("min"), spread.get("max"))
    return low, high


# Conditions.


def names_of(comparison: Comparison) -> Mapping[str, str]:
    """Return the names by which conditions may call the figures of a comparison."""
    if comparison.a.kind == "run":
        return NAMES
    return short_names(dict.fromkeys(one.figure for group in comparison.figures.values() for one in group))


def exceeded(threshold: ChangeThreshold, comparison: Comparison) -> list[str]:
    """Return in words where the condition holds; a change that is not known counts as one that does."""
    found = []
    for contestant, changes in comparison.figures.items():
        of = f" of {contestant}" if contestant else ""
        for one in changes:
            if one.figure != threshold.figure:
                continue
            if one.change_ratio is None:
                found.append(f"{threshold.text}: the change of {one.figure}{of} is not known")
            elif threshold.holds(one.change_ratio):
                how = "rose" if math.isinf(one.change_ratio) else "changed by"
                change = format_change_ratio(one.change_ratio)
                found.append(f"{threshold.text}: {one.figure}{of} {how} {change}")
    return found


def format_change_ratio(ratio: float | None) -> str:
    """Return a relative change for people: ``+152 %``, ``−4.8 %``, ``from 0``; a dash for None."""
    if ratio is None:
        return DASH
    if math.isinf(ratio):
        return "from 0"
    percent = ratio * 100
    if abs(percent) < 0.05:
        return "0 %"
    text = f"{abs(percent):,.1f}" if abs(percent) < 9.95 else f"{abs(percent):,.0f}"
    return f"{'+' if percent > 0 else '−'}{text} %"
