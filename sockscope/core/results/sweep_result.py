"""The result of a sweep: the object of ``sockscope sweep --json``, and the rows of its ``--csv``.

``docs/json.md`` tells what each field means. A figure that is not known is None, never 0; the fields that are
there do not depend on the sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sockscope.core.config.experiment import FIELDS
from sockscope.core.results import kind_names
from sockscope.core.results.axis import Axis, Number
from sockscope.core.results.contest import FIGURES
from sockscope.core.results.design import Design
from sockscope.core.results.lap_figures import (
    LAP_FIGURES,
    SPREAD_SHAPE,
    estimates_of,
    figure_names,
    write_spread,
)
from sockscope.core.results.scaling import THROUGHPUT, Curve, Fit, Knee, Measured, curves, is_of_the_load
from sockscope.core.results.schema import (
    ENVIRONMENT,
    Better,
    Estimate,
    Figure,
    Report,
    ResultField,
    ResultKind,
    bounds,
    experiment_shape,
    head,
    known,
    shapes,
    written,
)
from sockscope.core.results.search import Found
from sockscope.core.results.shape import (
    ANYTHING,
    FLAG,
    NAME,
    NUMBER,
    SCALAR,
    TEXT,
    Shape,
    list_of,
    optional,
    record,
)
from sockscope.core.results.spread import Spread
from sockscope.core.results.standing import Standing

KNEE, MOST, ONE, SIGMA, KAPPA, PEAK = (
    "knee", "most_requests_per_s", "one_requests_per_s", "sigma", "kappa", "peak"
)  # fmt: skip
FOUND = "found"
_OF_CURVES = {
    KNEE: Figure(KNEE),
    MOST: Figure(MOST, Better.HIGHER),
    ONE: Figure(ONE, Better.HIGHER),
    SIGMA: Figure(SIGMA, Better.LOWER),
    KAPPA: Figure(KAPPA, Better.LOWER),
    PEAK: Figure(PEAK, Better.HIGHER),
    FOUND: Figure(FOUND, Better.HIGHER),
}
_OF_STEPS = {name: figure for name, figure in LAP_FIGURES.items() if name != "duration_s"}
"""Slices last as long as asked: that is no result."""
_FIGURES = {**_OF_STEPS, **_OF_CURVES}
NAMES: Mapping[str, str] = figure_names(_FIGURES)
"""Names by which a figure of a sweep may be called, with its full one."""
CURVE = "curve"
"""What the only curve is called; of several, the name of each stands behind it."""


def curve_name(curve: Curve) -> str:
    """Return what a curve is called: ``curve``, or ``curve permits=10``."""
    return f"{CURVE} {curve.name}".strip()


def curve_spreads(curve: Curve) -> dict[str, Spread]:
    """Return the figures of a curve by name: its knee, its most, and the numbers of its law, if it has them.

    Those that it has but nobody may rely on are not known.
    """
    unknown, best, fit = Spread.of(()), curve.best, curve.fit
    found = {MOST: best.figures[THROUGHPUT] if best is not None else unknown}
    if curve.knee is not None:
        found[KNEE] = curve.knee.at if curve.knee.value is not None else unknown
    if curve.found is not None:
        found[FOUND] = Spread.of([curve.found.value])
    if fit is not None:
        numbers = {ONE: fit.one_per_s, SIGMA: fit.sigma, KAPPA: fit.kappa, PEAK: fit.peak}
        believed = {ONE, SIGMA, KAPPA, *([PEAK] if fit.has_peak else [])} if not fit.doubts else set()
        found |= {name: spread if name in believed else unknown for name, spread in numbers.items()}
    return found


def subjects(found: Iterable[Curve]) -> Iterator[tuple[str, Mapping[str, Spread]]]:
    """Yield everything that has figures, by its name: the steps of each curve, and the curve."""
    for curve in found:
        for one in curve.steps:
            yield one.step.name, {name: one.figures[name] for name in _OF_STEPS}
        yield curve_name(curve), curve_spreads(curve)


# A step, a curve.


def _values(values: Iterable[tuple[str, Number]]) -> dict[str, Number]:
    return {FIELDS[key].attribute: value for key, value in values}


def _verdict(step: Measured) -> dict[str, str] | None:
    found = step.verdict
    return None if found is None else {"kind": str(found.kind), "sentence": found.sentence}


def _spread_of(name: str) -> ResultField[Measured]:
    return ResultField(name, SPREAD_SHAPE, lambda step: write_spread(step.figures[name]))


_VALUES = record({}, SCALAR)
_STEP: tuple[ResultField[Measured], ...] = (
    ResultField("name", NAME, lambda step: step.step.name),
    ResultField("values", _VALUES, lambda step: _values(step.step.values)),
    ResultField("limit", TEXT, lambda step: step.limit),
    ResultField("verdict", optional(record({"kind": TEXT, "sentence": TEXT})), _verdict),
    ResultField("fault", TEXT, lambda step: step.fault or None),
    ResultField("generator_late", FLAG, lambda step: step.generator_late),
    *map(_spread_of, _OF_STEPS),
)
_KNEE: tuple[ResultField[Knee], ...] = (
    ResultField("value", NUMBER, lambda knee: knee.value),
    ResultField("why_not", TEXT, lambda knee: knee.why_not or None),
    ResultField("rounds", SPREAD_SHAPE, lambda knee: write_spread(knee.at)),
)
_LAW: tuple[ResultField[Fit], ...] = (
    ResultField("lambda_per_s", NUMBER, lambda fit: fit.law.one_per_s),
    ResultField("sigma", NUMBER, lambda fit: fit.law.sigma),
    ResultField("kappa", NUMBER, lambda fit: fit.law.kappa),
    ResultField("peak", NUMBER, lambda fit: fit.law.peak if fit.has_peak else None),
    ResultField(
        "peak_requests_per_s",
        NUMBER,
        lambda fit: fit.law.per_s(fit.law.peak) if fit.law.peak is not None and fit.has_peak else None,
    ),
    ResultField("explained_ratio", NUMBER, lambda fit: fit.explained_ratio),
    ResultField("off_ratio", NUMBER, lambda fit: fit.off_ratio),
    ResultField("believed", FLAG, lambda fit: not fit.doubts),
    ResultField("doubts", list_of(TEXT), lambda fit: list(fit.doubts)),
    ResultField("lambda_per_s_rounds", SPREAD_SHAPE, lambda fit: write_spread(fit.one_per_s)),
    ResultField("sigma_rounds", SPREAD_SHAPE, lambda fit: write_spread(fit.sigma)),
    ResultField("kappa_rounds", SPREAD_SHAPE, lambda fit: write_spread(fit.kappa)),
    ResultField("peak_rounds", SPREAD_SHAPE, lambda fit: write_spread(fit.peak)),
)


_FOUND: tuple[ResultField[Found], ...] = (
    ResultField("condition", TEXT, lambda found: found.search.condition.text),
    ResultField("range", list_of(NUMBER), lambda found: list(found.search.axis.values)),
    ResultField("value", NUMBER, lambda found: found.value),
    ResultField("not_kept_at", NUMBER, lambda found: found.broken),
    ResultField("why_not", TEXT, lambda found: found.why_not or None),
    ResultField("complete", FLAG, lambda found: found.complete),
)


def _figure_of_curve(name: str) -> ResultField[Curve]:
    def write(curve: Curve) -> dict[str, Any] | None:
        spread = curve_spreads(curve).get(name)
        return None if spread is None else write_spread(spread)

    return ResultField(name, SPREAD_SHAPE, write)


_CURVE: tuple[ResultField[Curve], ...] = (
    ResultField("name", NAME, curve_name),
    ResultField("values", _VALUES, lambda curve: _values(curve.of)),
    *map(_figure_of_curve, _OF_CURVES),
    ResultField(
        "bend",
        optional(record(shapes(_KNEE))),
        lambda curve: None if curve.knee is None else written(_KNEE, curve.knee),
    ),
    ResultField(
        "law",
        optional(record(shapes(_LAW))),
        lambda curve: None if curve.fit is None else written(_LAW, curve.fit),
    ),
    ResultField(
        "search",
        optional(record(shapes(_FOUND))),
        lambda curve: None if curve.found is None else written(_FOUND, curve.found),
    ),
)
_AXIS: tuple[ResultField[Axis], ...] = (
    ResultField("field", NAME, lambda axis: FIELDS[axis.key].attribute),
    ResultField("values", list_of(NUMBER), lambda axis: list(axis.values)),
)


# The sweep.


@dataclass(frozen=True, slots=True)
class _Source:
    """What a result is written from."""

    design: Design
    standing: Standing
    curves: tuple[Curve, ...]
    environment: Mapping[str, object]


def is_valid(found: Iterable[Curve]) -> bool:
    """Tell whether the server was measured: not when the load itself was the limit of most steps."""
    known = [one for curve in found for one in curve.steps if one.figures[THROUGHPUT].median]
    bound = [one for one in known if is_of_the_load(one)]
    return 2 * len(bound) <= len(known)


def _several(shape: Shape) -> Shape:
    """Return the shape of a list of objects, no two of which have the same name."""
    listed = list_of(shape)

    def faults(path: str, value: object) -> Iterator[str]:
        found = list(listed.faults(path, value))
        yield from found
        if not found and isinstance(value, list):
            names = [one["name"] for one in value]
            yield from (f"{path} has {name} twice" for name in dict.fromkeys(names) if names.count(name) > 1)

    return Shape(faults, needed=True)


def _curves(source: _Source) -> list[dict[str, Any]]:
    return [written(_CURVE, curve) for curve in source.curves]


_SWEEP: tuple[ResultField[_Source], ...] = (
    *head("sweep"),
    ResultField("axes", list_of(record(shapes(_AXIS))),
                lambda source: [written(_AXIS, axis) for axis in source.design.axes]),
    ResultField("rounds", NUMBER, lambda source: source.design.rounds),
    ResultField("slice_s", NUMBER, lambda source: source.design.slice_s),
    ResultField("warmup_s", NUMBER, lambda source: source.design.warmup_s),
    ResultField("confidence", NUMBER, lambda source: source.standing.confidence),
    ResultField("duration_s", NUMBER, lambda source: source.standing.elapsed_s),
    ResultField("finished", FLAG, lambda source: not source.standing.cut_short),
    ResultField("valid", FLAG, lambda source: is_valid(source.curves)),
    ResultField("environment", ENVIRONMENT, lambda source: dict(source.environment)),
    ResultField("experiment", experiment_shape(), lambda source: source.standing.contest.workload()),
    ResultField("steps", _several(record(shapes(_STEP))),
                lambda source: [written(_STEP, one) for curve in source.curves for one in curve.steps]),
    ResultField("curves", _several(record(shapes(_CURVE))), _curves),
)  # fmt: skip


def sweep_report(design: Design, standing: Standing, environment: Mapping[str, object]) -> dict[str, Any]:
    """Return the object of ``--json``: what was swept, where, and the figures so far."""
    return written(_SWEEP, _Source(design, standing, curves(design, standing), environment))


def csv_columns(design: Design) -> tuple[str, ...]:
    """Return the columns of ``--csv``."""
    return (*(FIELDS[axis.key].attribute for axis in design.axes), "round", *FIGURES, "at_least")


def sweep_rows(design: Design, standing: Standing) -> Iterator[dict[str, Any]]:
    """Yield what a row of ``--csv`` has: one step in one round, the steps in order."""
    for step in design.steps:
        for number, lap in enumerate(standing.laps.get(step.name, ()), start=1):
            figures = {name: getattr(lap, name) for name in FIGURES}
            row = {**_values(step.values), "round": number, **figures}
            yield {**row, "at_least": " ".join(bounds(figures))}


# What lists and comparisons need.


def _columns(report: Report) -> dict[str, Any]:
    """Return what is listed; of each figure a sweep has many, and therefore none."""
    return {
        **{name: known(report, f"experiment.{name}") for name in ("transport", "server", "client")},
        "duration_s": known(report, "duration_s"),
    }


def _estimates(report: Report) -> dict[str, dict[str, Estimate]]:
    steps = {one["name"]: estimates_of(one, _OF_STEPS) for one in report["steps"]}
    return {**steps, **{one["name"]: estimates_of(one, _OF_CURVES) for one in report["curves"]}}


def _doubts(name: str, report: Report) -> Iterator[str]:
    if known(report, "valid") is False:
        yield f"in {name} the clients were the limit of most steps: it does not tell of the server"


def _pair_doubts(a: Report, b: Report) -> Iterator[str]:
    fields = [[one["field"] for one in side["axes"]] for side in (a, b)]
    if fields[0] != fields[1]:
        yield f"other axes ({', '.join(fields[0])} → {', '.join(fields[1])}): they have no step in common"
    elif any(one["values"] != other["values"] for one, other in zip(a["axes"], b["axes"], strict=True)):
        yield "other steps: knees and laws are those of the steps that each has"


SWEEP = ResultKind(
    name=kind_names.SWEEP,
    type="sweep",
    shape=record(shapes(_SWEEP), ANYTHING),
    interval=None,
    figures=_FIGURES,
    names=NAMES,
    columns=_columns,
    estimates=_estimates,
    doubts=_doubts,
    pair_doubts=_pair_doubts,
)
