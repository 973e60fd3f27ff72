"""The shape that a JSON value must have before anything is made of it.

What comes back from a file or from the history may have been edited by hand, cut in two, or be something else
altogether. A :class:`Shape` tells each fault of a value in words, with its path (``totals.requests``).

A null is fine wherever a single value stands: it is not known. So is a single value that is missing, for
fields may come without a new version of the schema. Objects and lists must be there unless they are
:func:`optional`; a section or list that joins a kind of result later has to be, or older results are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

LARGEST = 1e30
"""No figure is as large; Python reads NaN and Infinity, and numbers of any length."""
DEEPEST = 32
"""No result is nested as deeply; writers and readers of JSON recurse."""

Faults = Callable[[str, object], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Shape:
    """``faults(path, value)`` yields what is wrong with a value; ``needed`` if it must not be missing."""

    faults: Faults
    needed: bool = False


def optional(shape: Shape) -> Shape:
    """Return the same shape for a value that may be null or missing."""

    def faults(path: str, value: object) -> Iterator[str]:
        if value is not None:
            yield from shape.faults(path, value)

    return Shape(faults)


def within(shape: Shape, most: int) -> Shape:
    """Return the shape of a text of at most ``most`` characters."""

    def faults(path: str, value: object) -> Iterator[str]:
        yield from shape.faults(path, value)
        if isinstance(value, str) and len(value) > most:
            yield f"{path} is longer than {most:,} characters"

    return Shape(faults, shape.needed)


def record(fields: Mapping[str, Shape], others: Shape | None = None) -> Shape:
    """Return the shape of an object with these fields; ``others`` is that of any further ones (anything)."""
    rest = others or ANYTHING

    def faults(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{path or 'it'} is not an object"
            return
        for name, shape in fields.items():
            if shape.needed and name not in value:
                yield f"{_joined(path, name)} is missing"
        for name, inner in value.items():
            yield from fields.get(name, rest).faults(_joined(path, name), inner)

    return Shape(faults, needed=True)


def list_of(shape: Shape) -> Shape:
    """Return the shape of a list of such values."""

    def faults(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path} is not a list"
            return
        for at, inner in enumerate(value):
            yield from shape.faults(_joined(path, at), inner)

    return Shape(faults, needed=True)


def one_of(*choices: str) -> Shape:
    """Return the shape of a text that must be there and be one of ``choices``."""

    def faults(path: str, value: object) -> Iterator[str]:
        if value not in choices:
            yield f"{path} is none of {', '.join(choices)}"

    return Shape(faults, needed=True)


def _joined(path: str, name: object) -> str:
    return f"{path}.{name}" if path else f"{name}"


def _number(path: str, value: object) -> Iterator[str]:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield f"{path} is not a number"
    elif not _bounded(value):
        yield f"{path} is out of range"


def _text(path: str, value: object) -> Iterator[str]:
    if not isinstance(value, str | None):
        yield f"{path} is not text"


def _name(path: str, value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} is not text"


def _flag(path: str, value: object) -> Iterator[str]:
    if not isinstance(value, bool | None):
        yield f"{path} is neither true nor false"


def _scalar(path: str, value: object) -> Iterator[str]:
    if not isinstance(value, str | int | float | None):
        yield f"{path} is not a single value"
    elif not _bounded(value):
        yield f"{path} is out of range"


def _anything(path: str, value: object) -> Iterator[str]:
    """Yield each number that is none, and what is nested too deeply; without recursion."""
    rest: list[tuple[str, object, int]] = [(path, value, 0)]
    while rest:
        here, inner, depth = rest.pop()
        if depth > DEEPEST:
            yield f"{path} is nested too deeply"
            return
        if isinstance(inner, Mapping):
            rest += ((_joined(here, name), each, depth + 1) for name, each in inner.items())
        elif isinstance(inner, list):
            rest += ((_joined(here, at), each, depth + 1) for at, each in enumerate(inner))
        else:
            yield from _scalar(here, inner)


def _bounded(value: object) -> bool:
    return not isinstance(value, int | float) or -LARGEST < value < LARGEST


NUMBER = Shape(_number)
TEXT = Shape(_text)
FLAG = Shape(_flag)
SCALAR = Shape(_scalar)
"""A number, a text, true or false."""
ANYTHING = Shape(_anything)
NAME = Shape(_name, needed=True)
"""A text that must be there."""
