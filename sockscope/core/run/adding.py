"""How figures add, declared once per field: ``requests: Cumulative[int]``, ``clients: Gauge[int]``.

Every field of a dataclass of figures names its :class:`Kind`, and the functions here follow from that:
:func:`total` of several processes, :func:`difference` of two moments, two windows :func:`joined`, the
:func:`origin` of a run, and what stays of a part that has :func:`ended`. A new figure is one field. A field
without a kind raises TypeError as soon as its class is used with any of these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import attrgetter
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from sockscope.core.histogram import Histogram

T = TypeVar("T")


def total(parts: Sequence[T]) -> T:
    """Return what several parts of one thing are together, at least one: the processes of a role, say."""
    plan = _PLANS[type(parts[0])]
    columns = zip(*map(plan.values, parts), strict=True)
    made: T = plan.make(*[of_all(column) for of_all, column in zip(plan.totals, columns, strict=True)])
    return made


def difference(before: T, after: T) -> T:
    """Return ``after`` with its cumulative figures counted from ``before`` on."""
    plan = _PLANS[type(after)]
    earlier, values = plan.values(before), list(plan.values(after))
    for index, between in plan.differences:
        values[index] = between(earlier[index], values[index])
    if plan.clock is not None:
        since, moment = plan.clock
        values[since] = earlier[moment]
    made: T = plan.make(*values)
    return made


def joined(first: T, second: T) -> T:
    """Return the window that is as long as two, one after the other, together.

    Cumulative figures add up exactly; what is of a moment is that of the second. Time between the two that
    neither covers (the figures were cleared in it) is not counted.
    """
    plan = _PLANS[type(second)]
    earlier, values = plan.values(first), list(plan.values(second))
    for index, both in plan.joins:
        values[index] = both(earlier[index], values[index])
    if plan.clock is not None:
        since, moment = plan.clock
        values[since] -= earlier[moment] - earlier[since]
    made: T = plan.make(*values)
    return made


def origin(figures: T) -> T:
    """Return the moment with which ``figures`` began: nothing is counted yet."""
    plan = _PLANS[type(figures)]
    values = list(plan.values(figures))
    for index, at_first in plan.origins:
        values[index] = at_first(values[index])
    if plan.clock is not None:
        since, moment = plan.clock
        values[moment] = values[since]
    made: T = plan.make(*values)
    return made


def ended(part: T) -> T:
    """Return what stays of a part that has ended: its cumulative counts, but no gauges or rows."""
    plan = _PLANS[type(part)]
    values = list(plan.values(part))
    for index, left in plan.endings:
        values[index] = left(values[index])
    made: T = plan.make(*values)
    return made


@dataclass(frozen=True, slots=True)
class Kind:
    """What becomes of the values of a field; None leaves the (later) value as it is.

    ``total`` takes the values of all parts, ``difference`` the earlier and the later one, ``joined`` those
    of the first and the second window, ``origin`` and ``ended`` the only one there is. ``since`` is for
    :func:`since`.
    """

    total: Callable[[Sequence[Any]], Any] = lambda values: values[0]
    difference: Callable[[Any, Any], Any] | None = None
    joined: Callable[[Any, Any], Any] | None = None
    origin: Callable[[Any], Any] | None = None
    ended: Callable[[Any], Any] | None = None
    since: str = ""


# Numbers and histograms; what is not known of one (None) is not known of both.


def _plus(first: Any, second: Any) -> Any:
    return None if first is None or second is None else first + second


def _minus(before: Any, after: Any) -> Any:
    return None if before is None or after is None else after - before


def _sum(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Histogram) and len(values) > 2 and None not in values:
        return Histogram.together(values)
    return reduce(_plus, values)


def _zero(_: object) -> int:
    return 0


def _none_of(value: Any) -> Any:
    return 0 if value is None else type(value)()


def _nothing(value: Any) -> Any:
    return None if value is None else type(value)()


_CUMULATIVE = Kind(_sum, _minus, _plus, origin=_nothing)
Cumulative = Annotated[T, _CUMULATIVE]
"""Counted since the figures began (numbers, histograms): readers subtract."""

_LASTING = Kind(_sum)
Lasting = Annotated[T, _LASTING]
"""Counted, but in every window the same: clearing the figures does not touch it."""

_GAUGE = Kind(_sum, ended=_none_of)
Gauge = Annotated[T, _GAUGE]
"""How many there are at the moment: parts add up, and a part that has ended has none."""

_MAXIMUM = Kind(max)
Maximum = Annotated[T, _MAXIMUM]
"""The highest so far, of all parts."""

_HIGHEST = Kind(max, ended=_zero)
Highest = Annotated[T, _HIGHEST]
"""The highest at the moment, of the parts that are there."""

_EARLIEST = Kind(lambda values: min(filter(None, values), default=0.0), ended=lambda _: 0.0)
Earliest = Annotated[T, _EARLIEST]
"""The earliest moment of the parts that are there; 0 = not yet."""

_WHEN_ALL = Kind(lambda values: max(values) if all(values) else 0.0)
WhenAll = Annotated[T, _WHEN_ALL]
"""The moment at which the last of the parts got there; 0 = not all have."""

_EVERY = Kind(all)
Every = Annotated[T, _EVERY]
"""True when it is true of every part."""

_CURRENT = Kind()
Current = Annotated[T, _CURRENT]
"""A value of this moment that does not add up: of several parts that of the first is taken."""

_FIRST_KNOWN = Kind(lambda values: next(filter(None, values), values[0]))
FirstKnown = Annotated[T, _FIRST_KNOWN]
"""A text, empty where there is none: that of the first part that has one."""

_ROWS = Kind(lambda values: sum(values, ()), ended=lambda _: ())
Rows = Annotated[T, _ROWS]
"""A tuple of rows of this moment: those of all parts in turn."""

_TIMELINE = Kind(lambda values: tuple(sorted(sum(values, ()), key=attrgetter("time_s"))), ended=lambda _: ())
Timeline = Annotated[T, _TIMELINE]
"""A tuple of rows of this moment, in order of their ``time_s`` over all parts."""


def _begun_since(before: Any, after: Any) -> Any:
    last_s = before[-1].begin_s if before else float("-inf")
    return tuple([one for one in after if one.begin_s > last_s])


_HAPPENED = Kind(
    lambda values: tuple(sorted(sum(values, ()), key=attrgetter("begin_s"))),
    _begun_since,
    lambda first, second: (*first, *_begun_since(first, second)),
    origin=lambda _: (),
)
Happened = Annotated[T, _HAPPENED]
"""A tuple of what has happened, in order of its ``begin_s``: in a window, what began after the one before."""


def since(moment: str) -> Kind:
    """Return the kind of a field that tells when the figures beside it began to count.

    ``moment`` is the field of the same class that tells until when they have counted.
    """
    return Kind(since=moment)


# Figures in figures.


def _nested_total(values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    return total(known) if known else None


def _nested_difference(before: Any, after: Any) -> Any:
    return after if before is None or after is None else difference(before, after)


def _nested_joined(first: Any, second: Any) -> Any:
    return second if first is None or second is None else joined(first, second)


def _nested_origin(value: Any) -> Any:
    return None if value is None else origin(value)


def _nested_ended(value: Any) -> Any:
    return None if value is None else ended(value)


_NESTED = Kind(_nested_total, _nested_difference, _nested_joined, _nested_origin, _nested_ended)
Nested = Annotated[T, _NESTED]
"""Figures of their own, or None; those without earlier ones are counted from their own beginning."""


def _grouped(values: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    keys = dict.fromkeys(key for value in values for key in value)
    return {key: total([value[key] for value in values if key in value]) for key in keys}


_BY_NAME = Kind(
    _grouped,
    lambda before, after: {key: _nested_difference(before.get(key), one) for key, one in after.items()},
    lambda first, second: {key: _nested_joined(first.get(key), one) for key, one in second.items()},
    origin=lambda value: {key: origin(one) for key, one in value.items()},
    ended=lambda value: {key: ended(one) for key, one in value.items()},
)
ByName = Annotated[T, _BY_NAME]
"""A mapping of figures: each with the one of the same name, or alone."""


def listed(by: str) -> Kind:
    """Return the kind of a tuple of figures: each goes with the one whose attribute ``by`` is the same."""
    key = attrgetter(by)

    def indexed(figures: Sequence[Any]) -> dict[Any, Any]:
        return {key(one): one for one in figures}

    def of_two(combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def combined(before: Any, after: Any) -> Any:
            earlier = indexed(before)
            return tuple([combine(earlier.get(key(one)), one) for one in after])

        return combined

    return Kind(
        lambda values: tuple(_grouped([indexed(value) for value in values]).values()),
        of_two(_nested_difference),
        of_two(_nested_joined),
        origin=lambda value: tuple([origin(one) for one in value]),
        ended=lambda value: tuple([ended(one) for one in value]),
    )


# What is made of the declarations, once per class.


@dataclass(frozen=True, slots=True)
class _Plan:
    """The fields of one class, and for each operation those that it changes, by their place.

    ``clock`` are the places of a ``since`` and of its moment.
    """

    make: Callable[..., Any]
    values: Callable[[Any], tuple[Any, ...]]
    totals: tuple[Callable[[Sequence[Any]], Any], ...]
    differences: tuple[tuple[int, Callable[[Any, Any], Any]], ...]
    joins: tuple[tuple[int, Callable[[Any, Any], Any]], ...]
    origins: tuple[tuple[int, Callable[[Any], Any]], ...]
    endings: tuple[tuple[int, Callable[[Any], Any]], ...]
    clock: tuple[int, int] | None


class _Plans(dict[type[Any], _Plan]):
    """The plans of all classes, each made when it is first asked for."""

    def __missing__(self, cls: type[Any]) -> _Plan:
        self[cls] = plan = _planned(cls)
        return plan


_PLANS = _Plans()


def _planned(cls: type[Any]) -> _Plan:
    names = tuple(f.name for f in fields(cls))
    hints = get_type_hints(cls, include_extras=True)
    kinds = list(enumerate(_kind_of(cls, name, hints[name]) for name in names))
    clocks = [(index, names.index(kind.since)) for index, kind in kinds if kind.since]
    return _Plan(
        make=cls,
        values=attrgetter(*names) if len(names) > 1 else lambda figures: (getattr(figures, names[0]),),
        totals=tuple(kind.total for _, kind in kinds),
        differences=tuple((index, kind.difference) for index, kind in kinds if kind.difference),
        joins=tuple((index, kind.joined) for index, kind in kinds if kind.joined),
        origins=tuple((index, kind.origin) for index, kind in kinds if kind.origin),
        endings=tuple((index, kind.ended) for index, kind in kinds if kind.ended),
        clock=clocks[0] if clocks else None,
    )


def _kind_of(cls: type[Any], name: str, hint: object) -> Kind:
    kinds = [argument for argument in get_args(hint) if isinstance(argument, Kind)]
    if len(kinds) != 1:
        raise TypeError(f"{cls.__name__}.{name} does not declare how it adds (sockscope.core.run.adding)")
    return kinds[0]
