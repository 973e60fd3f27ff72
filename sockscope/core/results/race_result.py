"""The result of a race: the object of ``sockscope race --json``, and the rows of its ``--csv``.

``docs/json.md`` tells what each field means. A figure that is not known is None, never 0; the fields that are
there do not depend on the race.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sockscope.core.results import kind_names
from sockscope.core.results.contest import FIGURES, Contestant, Published
from sockscope.core.results.lap_figures import (
    LAP_FIGURES,
    SPREAD_SHAPE,
    estimates_of,
    figure_names,
    write_spread,
)
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
from sockscope.core.results.shape import FLAG, NAME, NUMBER, TEXT, Shape, list_of, one_of, record
from sockscope.core.results.standing import (
    RATIO,
    Standing,
    StandingRow,
    baseline_of,
    is_valid,
    overall_limit,
    rows,
)

_FIGURES = {RATIO: Figure(RATIO, Better.HIGHER), **LAP_FIGURES}
NAMES: Mapping[str, str] = figure_names((*FIGURES, RATIO))
"""Names by which a figure of a race may be called, with its full one."""


# A contestant.


@dataclass(frozen=True, slots=True)
class _Entrant:
    """What a contestant is written from."""

    standing: Standing
    row: StandingRow


def _figure(name: str) -> ResultField[_Entrant]:
    return ResultField(name, SPREAD_SHAPE, lambda entrant: write_spread(entrant.row.spreads[name]))


def _model(contestant: Contestant) -> str:
    return contestant.experiment.own_server or contestant.experiment.tuning.server_model


def _loop(contestant: Contestant) -> str | None:
    return contestant.experiment.loop if contestant.uses_loop else None


_WHO: tuple[ResultField[Contestant], ...] = (
    ResultField("name", NAME, lambda contestant: contestant.name),
    ResultField("model", TEXT, _model),
    ResultField("loop", TEXT, _loop),
    ResultField("client", TEXT, lambda contestant: contestant.experiment.tuning.client),
)
_PLACE: tuple[ResultField[_Entrant], ...] = (
    ResultField("rank", NUMBER, lambda entrant: entrant.row.rank),
    ResultField("limit", TEXT, lambda entrant: entrant.row.limit),
    ResultField("fault", TEXT, lambda entrant: entrant.row.fault or None),
    ResultField(
        "differs",
        experiment_shape(),
        lambda entrant: entrant.standing.contest.differing(entrant.row.contestant),
    ),
    *map(_figure, _FIGURES),
)
_CONTESTANTS = list_of(record({**shapes(_WHO), **shapes(_PLACE)}))


def _contestants(path: str, value: object) -> Iterator[str]:
    faults = list(_CONTESTANTS.faults(path, value))
    yield from faults
    if not faults and isinstance(value, list):
        counted = Counter(one["name"] for one in value)
        yield from (f"{path} has {name} twice" for name, count in counted.items() if count > 1)


def _contestant(entrant: _Entrant) -> dict[str, Any]:
    return {**written(_WHO, entrant.row.contestant), **written(_PLACE, entrant)}


# The race.


@dataclass(frozen=True, slots=True)
class _Source:
    """What a result is written from."""

    standing: Standing
    table: tuple[StandingRow, ...]
    environment: Mapping[str, object]


_Field = ResultField[_Source]


def _of_rate(source: _Source, value: float) -> float | None:
    return None if source.standing.contest.requests else value


def _published(figures: Published) -> dict[str, Any]:
    return asdict(figures)


_LEFT_OUT = record({"name": TEXT, "why": TEXT})
_PUBLISHED = record({f.name: TEXT if f.name == "contestant" else NUMBER for f in fields(Published)})
_RACE: tuple[_Field, ...] = (
    *head("race"),
    ResultField("preset", TEXT, lambda source: source.standing.contest.preset or None),
    ResultField("note", TEXT, lambda source: source.standing.contest.note or None),
    ResultField("kind", one_of("rate", "batch"), lambda source: source.standing.contest.kind),
    ResultField("figure", TEXT, lambda source: source.standing.contest.figure),
    ResultField("baseline", TEXT, lambda source: baseline_of(source.standing)),
    ResultField("rounds", NUMBER, lambda source: source.standing.contest.rounds),
    ResultField("slice_s", NUMBER, lambda source: _of_rate(source, source.standing.contest.slice_s)),
    ResultField("warmup_s", NUMBER, lambda source: _of_rate(source, source.standing.contest.warmup_s)),
    ResultField("requests", NUMBER, lambda source: source.standing.contest.requests or None),
    ResultField("confidence", NUMBER, lambda source: source.standing.confidence),
    ResultField("duration_s", NUMBER, lambda source: source.standing.elapsed_s),
    ResultField("finished", FLAG, lambda source: not source.standing.cut_short),
    ResultField("limit", TEXT, lambda source: overall_limit(source.table)),
    ResultField("valid", FLAG, lambda source: is_valid(source.table)),
    ResultField("environment", ENVIRONMENT, lambda source: dict(source.environment)),
    ResultField("experiment", experiment_shape(), lambda source: source.standing.contest.workload()),
    ResultField(
        "contestants",
        Shape(_contestants, needed=True),
        lambda source: [_contestant(_Entrant(source.standing, row)) for row in source.table],
    ),
    ResultField(
        "left_out",
        list_of(_LEFT_OUT),
        lambda source: [{"name": name, "why": why} for name, why in source.standing.contest.left_out],
    ),
    ResultField(
        "published",
        list_of(_PUBLISHED),
        lambda source: [*map(_published, source.standing.contest.published)],
    ),
)


def race_report(standing: Standing, environment: Mapping[str, object]) -> dict[str, Any]:
    """Return the object of ``--json``: who raced under what load, where, and the figures so far."""
    return written(_RACE, _Source(standing, rows(standing), environment))


CSV_COLUMNS = (*(field.name for field in _WHO), "rank", "round", *FIGURES, "at_least")


def race_rows(standing: Standing) -> Iterator[dict[str, Any]]:
    """Yield what a row of ``--csv`` has: one contestant in one round, contestants by rank."""
    for row in rows(standing):
        for number, lap in enumerate(standing.laps.get(row.name, ()), start=1):
            figures = {name: getattr(lap, name) for name in FIGURES}
            who = {**written(_WHO, row.contestant), "rank": row.rank, "round": number}
            yield {**who, **figures, "at_least": " ".join(bounds(figures))}


# What lists and comparisons need.


def _columns(report: Report) -> dict[str, Any]:
    """Return what is listed; a race has many of each figure, and therefore none."""
    return {
        "transport": known(report, "experiment.transport"),
        "duration_s": known(report, "duration_s"),
    }


def _estimates(report: Report) -> dict[str, dict[str, Estimate]]:
    return {one["name"]: _of_contestant(report, one) for one in report["contestants"]}


def _of_contestant(report: Report, contestant: Report) -> dict[str, Estimate]:
    # Where rates are measured, slices last as long as asked: that is no result.
    return estimates_of(
        contestant,
        (name for name in _FIGURES if not (name == "duration_s" and report["kind"] == "rate")),
    )


def _doubts(name: str, report: Report) -> Iterator[str]:
    if known(report, "valid") is False:
        yield f"in {name} the clients were the limit of most: it does not compare servers"


def _pair_doubts(a: Report, b: Report) -> Iterator[str]:
    if a["kind"] != b["kind"]:
        yield f"other kinds of race ({a['kind']} → {b['kind']}): rates against the time of a batch"
    baselines = [known(one, "baseline") for one in (a, b)]
    if baselines[0] != baselines[1]:
        yield f"other baselines ({baselines[0]} → {baselines[1]}): ratios are of different contestants"


RACE = ResultKind(
    name=kind_names.RACE,
    type="race",
    shape=record(shapes(_RACE)),
    interval=None,
    figures=_FIGURES,
    names=NAMES,
    columns=_columns,
    estimates=_estimates,
    doubts=_doubts,
    pair_doubts=_pair_doubts,
)
