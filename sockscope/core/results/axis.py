"""A field that is swept, and the values that it takes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches

from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.fields import FieldSpec, Kind
from sockscope.core.config.tuning import SPECS
from sockscope.errors import shortened

MAX_STEPS = 256
DENSEST, MOST_BY_ITSELF = 2.0, 16
"""Steps that nobody counted lie a factor of two apart, or more where that would be more than 16."""
_NUMBERS = (Kind.COUNT, Kind.BYTES, Kind.DURATION)
SWEPT = tuple(spec.key for spec in SPECS.values() if spec.kind in _NUMBERS)
"""Keys of the fields that can be swept: numbers that can be turned while a run goes on."""
_RANGE = re.compile(r"(?P<low>.+?)\.\.(?P<high>.+?)(?:/(?P<count>[0-9]{1,9}))?")

Number = int | float


@dataclass(frozen=True, slots=True)
class Axis:
    """A field, by its key, and the values that it takes, in ascending order."""

    key: str
    values: tuple[Number, ...]

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Return the axis of ``clients=1..1000``, ``clients=1..1000/5`` or ``clients=1,10,100``.

        A range has geometric steps: so many as the number behind the slash, else a factor of two apart.
        Raises ValueError with the reason.
        """
        key, equals, listed = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not listed.strip():
            raise ValueError("is not FIELD=FROM..TO or FIELD=VALUE,VALUE,..., such as clients=1..1000")
        if key not in SWEPT:
            near = get_close_matches(key, SWEPT, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            if key in FIELDS:
                raise ValueError(f"{key} is no number that can be turned while a run goes on{hint}")
            raise ValueError(f"there is no field {shortened(key)} to sweep{hint}")
        spec = FIELDS[key].spec
        found = _RANGE.fullmatch(listed.strip())
        values = _ranged(spec, **found.groupdict()) if found else _listed(spec, listed)
        for value in values:
            if why := spec.check(value):
                raise ValueError(f"the value {spec.format(value)} {why}")
        return cls(key, values)

    @property
    def spec(self) -> FieldSpec:
        """What describes the field."""
        return FIELDS[self.key].spec

    def shown(self, value: Number) -> str:
        """Return a value for people."""
        return self.spec.format(value)

    def __str__(self) -> str:
        ends = self.shown(self.values[0]), self.shown(self.values[-1])
        return f"{self.spec.label} {ends[0]}" + (f" … {ends[1]}" if len(self.values) > 1 else "")


def _read(spec: FieldSpec, text: str) -> Number:
    try:
        value = spec.parse(text)
    except ValueError as error:
        raise ValueError(f"the value {shortened(text.strip())} {error}") from None
    assert isinstance(value, int | float)
    return value


def _listed(spec: FieldSpec, text: str) -> tuple[Number, ...]:
    return tuple(sorted({_read(spec, one) for one in text.split(",")}))


def _ranged(spec: FieldSpec, low: str, high: str, count: str | None) -> tuple[Number, ...]:
    first, last = _read(spec, low), _read(spec, high)
    if first <= 0:
        raise ValueError("a range has geometric steps and begins above 0; list the values instead: 0,1,10")
    if last < first:
        raise ValueError(f"ends below where it begins: {spec.format(first)} is more than {spec.format(last)}")
    if why := spec.check(last):
        raise ValueError(f"the value {spec.format(last)} {why}")
    if count is None:
        steps = min(MOST_BY_ITSELF, 1 + math.ceil(round(math.log(last / first, DENSEST), 9)))
    else:
        steps = int(count)
    if not (2 if last > first else 1) <= steps <= MAX_STEPS:
        raise ValueError(f"has {steps:,} steps; a range has 2 to {MAX_STEPS}")
    between = (first * (last / first) ** (at / max(1, steps - 1)) for at in range(steps))
    rounded = [_rounded(spec, value) for value in between]
    return tuple(sorted({first, last, *rounded[1:-1]}))


def _rounded(spec: FieldSpec, value: float) -> Number:
    """Return a value between the two that were asked for: a whole one, or one of three digits."""
    return float(f"{value:.3g}") if spec.kind is Kind.DURATION else round(value)
