"""``check = "p99 > 5 * step.baseline.p99"``: what a step of a lesson has to show, as a comparison of figures.

::

    check   = sum ( ">" | ">=" | "<" | "<=" | "==" ) sum
    sum     = product { ( "+" | "-" ) product }
    product = value { ( "*" | "/" ) value }
    value   = NUMBER | FIGURE | "step." NAME "." FIGURE | "(" sum ")"

A number may have a unit (``20ms``, ``64KiB``, ``80%``, ``10k``). A figure is one of this step, or of an
earlier one. What is known of a figure is a pair of bounds, alike where it was measured: a percentile among
requests that got no answer has no upper one (:mod:`sockscope.core.censoring`). A check holds when it holds
whatever the figures are within their bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sockscope.core import units
from sockscope.core.censoring import AtLeast, AtMost
from sockscope.core.results.thresholds import format_figure
from sockscope.errors import shortened

MOST_TOKENS = 100
"""The most that a check is made of."""
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)\s*(?:%|[A-Za-zµ]+)?)|(?P<name>[A-Za-z_][\w.]*)"
    r"|(?P<sign>>=|<=|==|[<>+\-*/()]))"
)

Bounds = tuple[float, float]
"""What a figure is at least, and at most."""
Read = Callable[["Name"], Bounds | None]


@dataclass(frozen=True, slots=True)
class Name:
    """A figure by its full name, of this step (``step`` is empty) or an earlier one; ``text`` as written."""

    step: str
    figure: str
    text: str


@dataclass(frozen=True, slots=True)
class _Operation:
    sign: str
    left: _Term
    right: _Term


_Term = float | Name | _Operation


@dataclass(frozen=True, slots=True)
class Judged:
    """What has become of a check: whether it holds, and in words the figures that decided it.

    ``brief`` is the check with its figures in it: ``p99 31.2 ms > 2 * alone 10.4 ms``.
    """

    text: str
    holds: bool
    figures: str
    brief: str

    @property
    def sentence(self) -> str:
        """Whether it holds, with the figures."""
        return f"{self.text} {'holds' if self.holds else 'does not hold'}: {self.figures}"


@dataclass(frozen=True, slots=True)
class Check:
    """A comparison of figures that has to hold."""

    text: str
    comparison: str
    left: _Term
    right: _Term

    @classmethod
    def parse(cls, text: str, names: Mapping[str, str] | None, steps: Iterable[str] = ()) -> Check:
        """Return the check that ``text`` stands for; raise ValueError with the reason.

        ``names`` are what figures may be called, with the name of each; None: they are known when they come.
        ``steps`` are the names of the earlier steps.
        """
        return _Parser(text, names, tuple(steps)).check()

    @property
    def names(self) -> tuple[Name, ...]:
        """The figures that it compares, each once, as they come."""
        return tuple(dict.fromkeys((*_names(self.left), *_names(self.right))))

    def judged(self, figures: Mapping[str, Callable[[str], float | None]]) -> Judged:
        """Judge it; ``figures`` has for each step (this one is ``""``) what reads a figure by its name."""

        def value(name: Name) -> float | None:
            return figures[name.step](name.figure)

        left, right = (_bounds(term, lambda name: _known(value(name))) for term in (self.left, self.right))
        holds = left is not None and right is not None and _holds(self.comparison, left, right)
        shown = {name: _shown(name.figure, value(name)) for name in self.names}
        told = (f"{name.text} is {figure}" for name, figure in shown.items())
        brief = self.text
        for name, figure in shown.items():
            whole_name = rf"(?<![\w.]){re.escape(name.text)}(?![\w.])"
            brief = re.sub(whole_name, f"{name.step or name.text} {figure}", brief)
        return Judged(self.text, holds, ", ".join(told), brief)


class _Parser:
    """Reads a check from left to right, a token ahead."""

    def __init__(self, text: str, names: Mapping[str, str] | None, steps: tuple[str, ...]) -> None:
        self._text = text.strip()
        self._tokens = _tokens(self._text)
        self._names, self._steps = names, steps
        self._at = 0

    def check(self) -> Check:
        left = self._sum()
        comparison = self._take()[1]
        if comparison not in (">", ">=", "<", "<=", "=="):
            raise ValueError("has no comparison (one of > >= < <= ==), such as p99 > 5 * step.baseline.p99")
        right = self._sum()
        if self._next[1]:
            raise ValueError(f"goes on after the comparison, with {shortened(self._next[1])}")
        return Check(self._text, comparison, left, right)

    @property
    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _take(self) -> tuple[str, str]:
        token = self._next
        self._at += 1
        return token

    def _sum(self) -> _Term:
        return self._row("+-", lambda: self._row("*/", self._value))

    def _row(self, signs: str, part: Callable[[], _Term]) -> _Term:
        term = part()
        while self._next[1] and self._next[1] in signs:
            sign = self._take()[1]
            term = _Operation(sign, term, part())
        return term

    def _value(self) -> _Term:
        kind, text = self._take()
        if kind == "number":
            return _number(text)
        if kind == "name":
            return self._name(text)
        if text != "(":
            raise ValueError(f"lacks a figure or a number {f'before {text}' if text else 'at its end'}")
        inner = self._sum()
        if self._take()[1] != ")":
            raise ValueError("lacks a )")
        return inner

    def _name(self, text: str) -> Name:
        step, figure = "", text
        if text.startswith("step."):
            _, step, figure = (*text.split(".", 2), "", "")[:3]
            if step not in self._steps:
                known = f"; there is {', '.join(self._steps)}" if self._steps else ""
                raise ValueError(f"names {shortened(step) or 'no step'}, which is no earlier step{known}")
        if self._names is None:
            return Name(step, figure, text)
        found = self._names.get(figure.lower())
        if found is None:
            near = get_close_matches(figure.lower(), self._names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"names {shortened(figure) or 'nothing'}, which is no figure{hint}")
        return Name(step, found, text)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"is no comparison of figures from {shortened(text[at:].strip())} on")
        found.append((match.lastgroup, match[match.lastgroup].strip()))
        at = match.end()
        if len(found) > MOST_TOKENS:
            raise ValueError(f"has more than {MOST_TOKENS} parts")
    return found


def _number(text: str) -> float:
    """Return a number with its unit, if it has one; raise ValueError with the reason."""
    if text.endswith("%"):
        return float(text.removesuffix("%").strip()) / 100
    if not text[-1].isalpha():
        return float(text)
    for read in (units.parse_duration, units.parse_count, units.parse_bytes):
        try:
            return float(read(text))
        except ValueError:
            continue
    raise ValueError(f"has a number that is none: {shortened(text)} (for example 20ms, 64KiB, 80%, 10k)")


def _names(term: _Term) -> Iterator[Name]:
    if isinstance(term, Name):
        yield term
    elif isinstance(term, _Operation):
        yield from _names(term.left)
        yield from _names(term.right)


def _known(value: float | None) -> Bounds | None:
    if value is None:
        return None
    low, high = float(value), float(value)
    return -math.inf if isinstance(value, AtMost) else low, math.inf if isinstance(value, AtLeast) else high


def _bounds(term: _Term, read: Read) -> Bounds | None:
    """Return the bounds of a term; None where a figure in it is not known, or it divides by what may be 0."""
    if isinstance(term, Name):
        return read(term)
    if not isinstance(term, _Operation):
        return term, term
    left, right = _bounds(term.left, read), _bounds(term.right, read)
    if left is None or right is None:
        return None
    if term.sign == "+":
        return left[0] + right[0], left[1] + right[1]
    if term.sign == "-":
        return left[0] - right[1], left[1] - right[0]
    if term.sign == "/":
        if right[0] <= 0 <= right[1]:
            return None
        right = 1 / right[1], 1 / right[0]
    products = [0.0 if 0 in (one, other) else one * other for one in left for other in right]
    return min(products), max(products)


def _holds(comparison: str, left: Bounds, right: Bounds) -> bool:
    """Tell whether the comparison holds for all values within the bounds."""
    match comparison:
        case ">":
            return left[0] > right[1]
        case ">=":
            return left[0] >= right[1]
        case "<":
            return left[1] < right[0]
        case "<=":
            return left[1] <= right[0]
    return left == right and left[0] == left[1]


def _shown(figure: str, value: float | None) -> str:
    if value is None:
        return "not known"
    whole = round(value) if abs(value) >= 100 else float(f"{value:.3g}")
    has_unit = not format_figure(figure, 1.0).isdigit()
    return units.bounded(value, format_figure(figure, float(value) if has_unit else whole))
