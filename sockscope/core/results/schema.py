"""What a kind of result is described by: its fields, its figures, and what lists and comparisons need of it.

Each kind (:mod:`sockscope.core.results.run_result`, :mod:`sockscope.core.results.race_result`) is one table
of fields, from which it is written and by which it is checked when it is read; :class:`ResultKind` is what
everything else knows of it, and :mod:`sockscope.core.results.kinds` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from sockscope.core.censoring import AtLeast
from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.fields import Kind, Value
from sockscope.core.results.batch_means import FEWEST, FLOOR_RATIO, Batches, told_apart
from sockscope.core.results.shape import ANYTHING, FLAG, NUMBER, SCALAR, TEXT, Shape, one_of, record
from sockscope.core.results.spread import CONFIDENCE, Spread, confidence
from sockscope.core.units import DASH

SCHEMA_VERSION = 2

Report = Mapping[str, Any]
S = TypeVar("S")

_SPECS = {entry.attribute: entry.spec for entry in FIELDS.values()}
_UNIT_SUFFIX = re.compile(r"(?<!_per)(_bytes|_ratio|_s)$")
_SHAPES = {Kind.COUNT: NUMBER, Kind.BYTES: NUMBER, Kind.DURATION: NUMBER, Kind.FLAG: FLAG}


class Better(Enum):
    """Which direction of a figure is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is a result. The unit is in the name.

    ``per_request``: it grows with the requests, so that two are compared per request. ``extent``: it tells
    how much was done, so it grows with the length of a run. ``floor_ratio`` is how far two of them may lie
    apart from run to run alone.
    """

    name: str
    better: Better = Better.NEITHER
    per_request: bool = False
    extent: bool = False
    floor_ratio: float = FLOOR_RATIO


@dataclass(frozen=True, slots=True)
class ResultField(Generic[S]):
    """A field of a JSON object: its shape, and how it is written from ``S``."""

    name: str
    shape: Shape
    write: Callable[[S], Any]


def written(fields: Iterable[ResultField[S]], source: S) -> dict[str, Any]:
    """Return the object that these fields are written to."""
    return {field.name: field.write(source) for field in fields}


def shapes(fields: Iterable[ResultField[S]]) -> dict[str, Shape]:
    """Return the shape of each of these fields by its name."""
    return {field.name: field.shape for field in fields}


def experiment_shape(**others: Shape) -> Shape:
    """Return the shape of an object of fields of an experiment, ``others`` instead of a field's own shape.

    Fields that this version does not know may have any single value.
    """
    known_here = {name: _SHAPES.get(spec.kind, TEXT) for name, spec in _SPECS.items()}
    return record({**known_here, **others}, SCALAR)


ENVIRONMENT = record({}, ANYTHING)


def head(type_name: str) -> tuple[ResultField[Any], ResultField[Any]]:
    """Return the fields that every JSON object of SockScope begins with."""
    return (
        ResultField("schema_version", NUMBER, lambda _: SCHEMA_VERSION),
        ResultField("type", one_of(type_name), lambda _: type_name),
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure as a result has it; None is not known.

    ``basis`` is what its relative change is the change of: the figure itself, or its share per request.
    ``spread`` is that of the rounds where it was measured repeatedly, ``batches`` has ``basis`` in the parts
    of a run where it was measured once.
    """

    value: float | None
    basis: float | None
    spread: Spread | None = None
    batches: Batches | None = None

    def told_apart(
        self, other: Estimate, *, counts: bool = False, floor_ratio: float = FLOOR_RATIO
    ) -> bool | None:
        """Tell whether the two differ by more than chance explains; None where nothing tells.

        ``counts`` and ``floor_ratio`` are those of :func:`~sockscope.core.results.batch_means.told_apart`.
        """
        if self.spread is not None and other.spread is not None:
            return spreads_apart(self.spread, other.spread, floor_ratio)
        if self.batches is None or other.batches is None:
            return None
        return told_apart(self.batches, other.batches, counts=counts, floor_ratio=floor_ratio)


def spreads_apart(one: Spread, other: Spread, floor_ratio: float = FLOOR_RATIO) -> bool | None:
    """Tell whether the rounds of two results differ by more than chance explains; None where nothing tells.

    The intervals of their medians must not overlap. Where there are too few rounds for such an interval, and
    those lie apart by chance too often, their means have to differ like those of batches, too.
    """
    apart = not one.overlaps(other)
    known = [tuple(value for value in spread.rounds if value is not None) for spread in (one, other)]
    fewest = min(map(len, known))
    if not apart or confidence(fewest) >= CONFIDENCE:
        return apart
    if one.at_least or other.at_least:
        return apart if fewest > 1 else None
    if fewest < FEWEST:
        return None
    mine, theirs = (Batches(values, (0.0,) * len(values)) for values in known)
    return told_apart(mine, theirs, floor_ratio=floor_ratio)


@dataclass(frozen=True, slots=True)
class ResultKind:
    """A kind of result.

    ``name`` is what people and the history call it, ``type`` the type of its JSON object, which has an
    ``experiment`` and an ``environment`` in every kind. ``interval`` is the shape of the intervals that are
    kept with a result, None where there are none. ``figures`` are compared, by their full names; ``names``
    are what a condition may call them. The functions get an object whose shape has been checked:

    - ``columns`` returns the columns of the history's list, by name; those left out are empty;
    - ``estimates`` returns the figures of each subject by name: of each contestant of a race; a run is one
      subject, whose name is empty;
    - ``doubts`` yields sentences about why the figures of a result (its name comes first) are not to be
      relied on, ``pair_doubts`` about why those of two may not be comparable.
    """

    name: str
    type: str
    shape: Shape
    interval: Shape | None
    figures: Mapping[str, Figure]
    names: Mapping[str, str]
    columns: Callable[[Report], Mapping[str, Any]]
    estimates: Callable[[Report], Mapping[str, Mapping[str, Estimate]]]
    doubts: Callable[[str, Report], Iterator[str]]
    pair_doubts: Callable[[Report, Report], Iterator[str]]


def short_names(figures: Iterable[str]) -> dict[str, str]:
    """Return for each short name of a figure (``p99``, ``cpu``) its full one; the first figure wins."""
    full = list(figures)
    names = {figure: figure for figure in full}
    for figure in full:
        names.setdefault(figure.rpartition(".")[2], figure)
    for figure in full:
        name = _UNIT_SUFFIX.sub("", figure.rpartition(".")[2])
        names.setdefault(name, figure)
        names.setdefault(name.removeprefix("service_time_"), figure)
    return names


# Reading values out of JSON objects.


def flat(value: Report, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a nested mapping with its dotted name (``totals.requests``)."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def known(report: Report, name: str) -> Any:
    """Return the value with this dotted name, or None where it is not known or not there.

    A figure that ``at_least`` names is a lower bound, and comes as one.
    """
    value: Any = report
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, float | int) and name in (report.get("at_least") or ()):
        return AtLeast(value)
    return value


def bounds(report: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of those figures of an object that are lower bounds."""
    return [name for name, value in flat(report) if isinstance(value, AtLeast)]


def format_field(attribute: str, value: object) -> str:
    """Return the value of a field of ``experiment`` for people; one that cannot be is shown as it is."""
    spec = _SPECS.get(attribute)
    if value is None:
        return DASH
    if spec is None or not isinstance(value, Value) or spec.check(value) is not None:
        return str(value)
    return spec.format(value)
