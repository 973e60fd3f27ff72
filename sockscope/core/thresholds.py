"""``--fail-if 'p99>20ms'``: a condition on one figure of the report under which the run counts as failed."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sockscope.core import units
from sockscope.core.report import FIGURES

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq,
}  # fmt: skip
_CONDITION = re.compile(r"\s*([A-Za-z0-9_.]+)\s*(>=|<=|==|>|<)\s*(\S.*?)\s*")
_UNIT_SUFFIX = re.compile(r"(?<!_per)(_bytes|_ratio|_s)$")
_ALSO = {"p99.9": "service_time_s.p999"}


def _names() -> dict[str, str]:
    """Return each name that a figure may be called by, and its dotted name; the first section wins.

    The server's figures need their section, for the short names mean what the clients saw.
    """
    dotted = [(section, figure) for section, figures in FIGURES.items() for figure in figures]
    short = [(figure, f"{section}.{figure}") for section, figure in dotted if section != "server"]
    names = {**_ALSO, **{f"{section}.{figure}": f"{section}.{figure}" for section, figure in dotted}}
    for figure, name in short:
        names.setdefault(figure, name)
    for figure, name in short:
        names.setdefault(_UNIT_SUFFIX.sub("", figure), name)
    return names


_NAMES = _names()


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition that must not hold at the end of the run. ``limit`` is in the figure's own unit."""

    text: str
    figure: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Return the threshold that ``text`` (``p99>20ms``) stands for; raise ValueError with the reason."""
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ValueError("is not FIGURE, one of > >= < <= ==, and a value, such as p99>20ms")
        name, comparison, value = match.groups()
        figure = _NAMES.get(name.lower())
        if figure is None:
            near = get_close_matches(name.lower(), _NAMES, n=1)
            raise ValueError(f"there is no figure {name}" + (f"; did you mean {near[0]}?" if near else ""))
        try:
            limit = _unit_of(figure).parse(value)
        except ValueError as error:
            raise ValueError(f"the value {value} is {error}") from None
        return cls(text.strip(), figure, comparison, limit)

    def missed(self, report: Mapping[str, Any]) -> str | None:
        """Return in words why ``report`` misses this threshold, or None when it holds.

        A figure that is not known counts as missed: what was not measured was not shown to be good.
        """
        section, _, name = self.figure.partition(".")
        value = report[section][name]
        if value is None:
            return f"{self.text}: there is no {self.figure} in this run"
        if not _COMPARISONS[self.comparison](value, self.limit):
            return None
        return f"{self.text}: {self.figure} is {_unit_of(self.figure).format(value)}"


def missed(thresholds: Iterable[Threshold], report: Mapping[str, Any]) -> list[str]:
    """Return in words each threshold that ``report`` misses."""
    return [why for threshold in thresholds if (why := threshold.missed(report)) is not None]


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
        raise ValueError("not a share (for example 80% or 0.8)")
    return float(number) / (100 if text.endswith("%") else 1)


_SECONDS = _Unit(units.parse_duration, units.format_duration)
_BYTES = _Unit(units.parse_bytes, units.format_bytes)
_RATIO = _Unit(_parse_ratio, lambda value: f"{value * 100:.1f} %")
_NUMBER = _Unit(_parse_number, lambda value: f"{value:,.6g}" if value % 1 else f"{value:,.0f}")


def _unit_of(figure: str) -> _Unit:
    section, _, name = figure.partition(".")
    if name.endswith(("bytes_per_s", "_bytes")) or name.startswith("bytes_"):
        return _BYTES
    if name.endswith("_ratio"):
        return _RATIO
    if name.endswith("_per_s") or name == "count":
        return _NUMBER
    if section == "service_time_s" or name.endswith("_s"):
        return _SECONDS
    return _NUMBER
