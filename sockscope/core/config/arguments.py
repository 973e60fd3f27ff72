"""Arguments of own code, written ``name=value``: a value is what it is in JSON, and text where it is none.

So ``limit=5`` is a number, ``verbose=true`` is true, ``root=/srv`` is text, and so is ``code="5"``. Several
stand on lines of their own.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterable, Mapping
from typing import Any

from sockscope.core.wire.octets import printable


def format_arguments(raw: object) -> str:
    """Return arguments as a field holds them: those of a mapping, of a list, or of text.

    Raises ValueError with the reason.
    """
    if isinstance(raw, Mapping):
        return "\n".join(f"{_name(name)}={_written(value)}" for name, value in raw.items())
    if isinstance(raw, str):
        given = [line.partition("=") for line in raw.split("\n")]
        return "\n".join(f"{_name(name, equals)}={_written(_read(text))}" for name, equals, text in given)
    if isinstance(raw, Iterable):
        return "\n".join(map(format_arguments, raw))
    raise ValueError("is neither name=value nor a table")


def read_arguments(text: str) -> dict[str, object]:
    """Return the arguments by name; raises ValueError with the reason."""
    found: dict[str, object] = {}
    for line in text.split("\n") if text else ():
        given, equals, value = line.partition("=")
        name = _name(given, equals)
        if name in found:
            raise ValueError(f"is not clear: {name} is given twice")
        found[name] = _read(value)
    return found


def _name(text: str, equals: str = "=") -> str:
    """Return the name of an argument; raises ValueError where it is none."""
    name = text.strip()
    if not equals:
        raise ValueError("is not name=value")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"is not name=value: {printable(name, 40)} is no name in Python")
    return name


def _read(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(constant: str) -> Any:
    raise ValueError(constant)


def _written(value: object) -> str:
    """Return what is read back as ``value``; raises ValueError where nothing is."""
    if isinstance(value, str) and value.isprintable() and value == value.strip() and _read(value) == value:
        return value
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"is not possible: JSON has no {printable(str(value), 40)}") from None
