"""From the standing of a race to the objects that ``sockscope race --json`` and ``--csv`` write.

``docs/json.md`` tells what each field means. A figure that is not known is None, never 0; the fields that are
there do not depend on the race.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sockscope.core.results.contest import FIGURES, Contestant
from sockscope.core.results.report import SCHEMA_VERSION
from sockscope.core.results.spread import Spread
from sockscope.core.results.standing import Standing, StandingRow, baseline_of, is_valid, overall_limit, rows


def race_report(standing: Standing, environment: Mapping[str, object]) -> dict[str, Any]:
    """Return the object of ``--json``: who raced under what load, where, and the figures so far."""
    contest, table = standing.contest, rows(standing)
    return {
        "schema_version": SCHEMA_VERSION,
        "type": "race",
        "preset": contest.preset or None,
        "note": contest.note or None,
        "kind": contest.kind,
        "figure": contest.figure,
        "baseline": baseline_of(standing),
        "rounds": contest.rounds,
        "slice_s": None if contest.requests else contest.slice_s,
        "warmup_s": None if contest.requests else contest.warmup_s,
        "requests": contest.requests or None,
        "confidence": standing.confidence,
        "duration_s": standing.elapsed_s,
        "finished": not standing.cut_short,
        "limit": overall_limit(table),
        "valid": is_valid(table),
        "environment": dict(environment),
        "experiment": contest.workload(),
        "contestants": [_contestant(standing, row) for row in table],
        "left_out": [{"name": name, "why": why} for name, why in contest.left_out],
        "published": [asdict(figures) for figures in contest.published],
    }


def _contestant(standing: Standing, row: StandingRow) -> dict[str, Any]:
    return {
        **_who(row.contestant),
        "rank": row.rank,
        "limit": row.limit,
        "fault": row.fault or None,
        "differs": standing.contest.differing(row.contestant),
        "ratio": _spread(row.ratio),
        **{name: _spread(spread) for name, spread in row.figures.items()},
    }


def _who(contestant: Contestant) -> dict[str, Any]:
    tuning = contestant.experiment.tuning
    return {
        "name": contestant.name,
        "model": tuning.server_model,
        "loop": contestant.experiment.loop if contestant.uses_loop else None,
        "client": tuning.client,
    }


def _spread(spread: Spread) -> dict[str, Any]:
    return {
        "median": spread.median,
        "min": spread.min,
        "max": spread.max,
        "low": spread.low,
        "high": spread.high,
        "rounds": list(spread.rounds),
    }


CSV_COLUMNS = ("name", "model", "loop", "client", "rank", "round", *FIGURES)


def race_rows(standing: Standing) -> Iterator[dict[str, Any]]:
    """Yield what a row of ``--csv`` has: one contestant in one round, contestants by rank."""
    for row in rows(standing):
        for number, lap in enumerate(standing.laps.get(row.name, ()), start=1):
            figures = {name: getattr(lap, name) for name in FIGURES}
            yield {**_who(row.contestant), "rank": row.rank, "round": number, **figures}
