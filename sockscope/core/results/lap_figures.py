"""The figures of a slice: which direction is better, what they may be called, and their spread as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sockscope.core.censoring import AtLeast
from sockscope.core.results.contest import FIGURES
from sockscope.core.results.schema import (
    Better,
    Estimate,
    Figure,
    Report,
    ResultField,
    shapes,
    short_names,
    written,
)
from sockscope.core.results.shape import FLAG, NUMBER, list_of, optional, record
from sockscope.core.results.spread import Spread

_BETTER = {
    "connections_per_s": Better.HIGHER,
    "requests_per_s": Better.HIGHER,
    "duration_s": Better.LOWER,
    "service_time_p50_s": Better.LOWER,
    "service_time_p99_s": Better.LOWER,
    "response_time_p50_s": Better.LOWER,
    "response_time_p99_s": Better.LOWER,
    "schedule_lateness_p99_s": Better.LOWER,
    "requests_dropped": Better.LOWER,
    "cpu_s_per_request": Better.LOWER,
    "rss_bytes": Better.LOWER,
    "timeouts": Better.LOWER,
    "errors": Better.LOWER,
    "failed": Better.LOWER,
    "answers_rejected": Better.LOWER,
    "connects_failed": Better.LOWER,
}
LAP_FIGURES: Mapping[str, Figure] = {
    name: Figure(name, _BETTER.get(name, Better.NEITHER)) for name in FIGURES
}
"""Every figure of a lap by its name."""
_CALLED = {"response": "response_time", "lateness": "schedule_lateness"}

_SPREAD: tuple[ResultField[Spread], ...] = (
    ResultField("median", NUMBER, lambda spread: spread.median),
    ResultField("min", NUMBER, lambda spread: spread.min),
    ResultField("max", NUMBER, lambda spread: spread.max),
    ResultField("low", NUMBER, lambda spread: spread.low),
    ResultField("high", NUMBER, lambda spread: spread.high),
    ResultField("at_least", FLAG, lambda spread: spread.at_least),
    ResultField("rounds", list_of(NUMBER), lambda spread: list(spread.rounds)),
)
SPREAD_SHAPE = optional(record(shapes(_SPREAD)))
"""The shape of a spread that may not be there."""


def figure_names(figures: Iterable[str]) -> dict[str, str]:
    """Return the names by which figures may be called, as in a run (``response_p99``), with the full ones."""
    full = list(figures)
    found = short_names(full)
    for short, long in _CALLED.items():
        for figure in full:
            if figure.startswith(long):
                name = figure.replace(long, short)
                found |= {name: figure, name.removesuffix("_s"): figure}
    return found | ({"dropped": "requests_dropped"} if "requests_dropped" in full else {})


NAMES: Mapping[str, str] = figure_names(FIGURES)
"""Names by which a figure of a lap may be called, with its full one."""


def write_spread(spread: Spread) -> dict[str, Any]:
    """Return the object that a spread is written to."""
    return written(_SPREAD, spread)


def read_spread(value: Report) -> Spread:
    """Return the spread that was written to ``value``."""
    told = {name: value.get(name) for name in ("median", "min", "max", "low", "high")}
    if value.get("at_least"):
        told = {name: one if one is None else AtLeast(one) for name, one in told.items()}
    return Spread(rounds=tuple(value["rounds"]), **told)


def estimates_of(value: Report, names: Iterable[str]) -> dict[str, Estimate]:
    """Return the figures of ``names`` that an object has the spreads of."""
    spreads = {name: read_spread(value[name]) for name in names if value.get(name)}
    return {name: Estimate(one.median, one.median, one) for name, one in spreads.items()}
