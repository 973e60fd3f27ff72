"""``--fail-if 'p99>20ms'``: a condition on one figure of the report under which the run counts as failed,
and ``--fail-if 'p99>+10%'``: one on how a figure has changed between two runs.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sockscope.core import units
from sockscope.core.censoring import AtLeast, AtMost
from sockscope.core.results.run_figures import NAMES
from sockscope.core.results.schema import Report, known
from sockscope.errors import shortened

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq,
}  # fmt: skip
_BEYOND: Mapping[type, Collection[str]] = {AtLeast: (">", ">="), AtMost: ("<", "<=")}
"""Comparisons that whatever is beyond a bound meets as well as the bound itself."""
_CONDITION = re.compile(r"\s*([A-Za-z0-9_.]+)\s*(>=|<=|==|>|<)\s*(\S.*?)\s*")
_SHARE = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)\s*%")


@dataclass(frozen=True, slots=True)
class _Condition:
    """A comparison with a limit that must not hold."""

    text: str
    figure: str
    comparison: str
    limit: float

    def holds(self, value: float) -> bool:
        """Tell whether a value meets the condition."""
        return _COMPARISONS[self.comparison](value, self.limit)

    def certain(self, value: float | None) -> bool:
        """Tell whether a value meets the condition for sure: a bound by whatever lies beyond it, too."""
        if value is None:
            return False
        return self.holds(value) and self.comparison in _BEYOND.get(type(value), _COMPARISONS)

    def may_hold(self, value: float) -> bool:
        """Tell whether the condition is met, or could be: of a bound, by whatever lies beyond it."""
        beyond = _BEYOND.get(type(value), ())
        if self.holds(value) or self.comparison in beyond:
            return True
        return self.comparison == "==" and any(_COMPARISONS[way](self.limit, value) for way in beyond)

    def told_of(self, value: float) -> str:
        """Return in words that the condition is met, or could be (see :meth:`may_hold`)."""
        return f"{self.text} {'holds' if self.certain(value) else 'may hold'}"


@dataclass(frozen=True, slots=True)
class Threshold(_Condition):
    """A condition that must not hold at the end of the run. ``limit`` is in the figure's own unit."""

    @classmethod
    def parse(cls, text: str, names: Mapping[str, str] = NAMES) -> Threshold:
        """Return the threshold that ``text`` (``p99>20ms``) stands for; raise ValueError with the reason.

        ``names`` are what figures may be called, with the name of each; by default those of a run's report.
        """
        figure, comparison, value = _parts(text, names, "p99>20ms")
        try:
            limit = _unit_of(figure).parse(value)
        except ValueError as error:
            raise ValueError(f"the value {shortened(value)} {error}") from None
        return cls(text.strip(), figure, comparison, limit)

    def missed(self, report: Report) -> str | None:
        """Return in words why ``report`` misses this threshold, or None when it holds.

        A figure that is not known, or not well enough, counts as missed: what was not measured
        was not shown to be good.
        """
        value = known(report, self.figure)
        if value is None:
            return f"{self.text} cannot be judged: there is no {self.figure} in this run"
        if not self.may_hold(value):
            return None
        return f"{self.told_of(value)}: {self.figure} is {format_figure(self.figure, value)}"


def missed(thresholds: Iterable[Threshold], report: Report) -> list[str]:
    """Return in words each threshold that ``report`` misses."""
    return [why for threshold in thresholds if (why := threshold.missed(report)) is not None]


@dataclass(frozen=True, slots=True)
class ChangeThreshold(_Condition):
    """A condition on the relative change of a figure that must not hold. ``limit``: -0.05 is -5 %."""

    @classmethod
    def parse(cls, text: str, names: Mapping[str, str] = NAMES) -> ChangeThreshold:
        """Return the threshold that ``text`` (``requests_per_s<-5%``) stands for.

        ``names`` are what figures may be called, with the name of each; by default those of a run's report.
        Raises ValueError with the reason.
        """
        figure, comparison, value = _parts(text, names, "requests_per_s<-5%")
        share = _SHARE.fullmatch(value)
        if share is None:
            raise ValueError(
                f"the value {shortened(value)} is not a change in per cent (for example -5% or +10%)"
            )
        limit = float(share[2]) / 100
        return cls(text.strip(), figure, comparison, -limit if share[1] == "-" else limit)


def _parts(text: str, names: Mapping[str, str], example: str) -> tuple[str, str, str]:
    """Return figure, comparison and value of a condition; raise ValueError with the reason."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"is not FIGURE, one of > >= < <= ==, and a value, such as {example}")
    name, comparison, value = match.groups()
    figure = names.get(name.lower())
    if figure is None:
        near = get_close_matches(name.lower(), names, n=1)
        raise ValueError(
            f"there is no figure {shortened(name)}" + (f"; did you mean {near[0]}?" if near else "")
        )
    return figure, comparison, value


def format_figure(figure: str, value: float | None) -> str:
    """Return the value of a figure, named with its section (``rates.bytes_per_s``), with its unit."""
    return units.DASH if value is None else _unit_of(figure).format(value)


@dataclass(frozen=True, slots=True)
class _Unit:
    parse: Callable[[str], float]
    format: Callable[[float], str]


def _parse_number(text: str) -> float:
    try:
        return units.parse_count(text)
    except ValueError:
        if not re.fullmatch(r"[0-9]*\.?[0-9]+", text):
            raise
        return float(text)


def _parse_ratio(text: str) -> float:
    number = text.removesuffix("%").strip()
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", number):
        raise ValueError("is not a share (for example 80% or 0.8)")
    return float(number) / (100 if text.endswith("%") else 1)


_SECONDS = _Unit(units.parse_duration, units.format_duration)
_BYTES = _Unit(units.parse_bytes, units.format_bytes)
_RATIO = _Unit(_parse_ratio, lambda value: f"{value * 100:.1f} %")
_NUMBER = _Unit(_parse_number, lambda value: f"{value:,.6g}" if value % 1 else f"{value:,.0f}")


def _unit_of(figure: str) -> _Unit:
    section, _, name = figure.rpartition(".")
    if name.endswith("_s_per_request"):
        return _SECONDS
    if name.endswith(("bytes_per_s", "_bytes")) or name.startswith("bytes_"):
        return _BYTES
    if name.endswith("_ratio"):
        return _RATIO
    if name.endswith("_per_s") or name in ("count", "unanswered"):
        return _NUMBER
    if section.endswith("_s") or name.endswith("_s"):
        return _SECONDS
    return _NUMBER
