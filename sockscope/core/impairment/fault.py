"""Faults as people write them: ``loss=2%, delay=20ms up, jitter=5ms uniform``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from sockscope.core.impairment.kinds import FAULTS, SERVER, FaultKind
from sockscope.core.impairment.quantity import (
    Quantity,
    exact_quantity,
    example_of,
    format_quantity,
    read_quantity,
)
from sockscope.core.wire.octets import printable
from sockscope.errors import ConfigError

BOTH, UP, DOWN = "both", "up", "down"
DIRECTIONS = (BOTH, UP, DOWN)
"""``up`` is from the clients to the server, ``down`` from the server to the clients."""
MAX_TEXT_LENGTH = 2_000
NO_FAULT = "none"
_COMMA = re.compile(r",(?![0-9]{3}(?![0-9]))")
"""A comma that does not separate the thousands of a number."""
_ORDER = {name: place for place, name in enumerate(FAULTS)}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the name of its kind, its value (in the unit of its quantity), and which way it works.

    ``shape`` is empty for the default shape of its kind, and for kinds that have none.
    """

    kind: str
    value: float
    direction: str = BOTH
    shape: str = ""

    @property
    def about(self) -> FaultKind:
        """Every fact about its kind."""
        return FAULTS[self.kind]

    def works(self, direction: str) -> bool:
        """Tell whether it works in this direction, ``up`` or ``down``."""
        return self.direction in (BOTH, direction)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.shown_value, *self._words)))

    @property
    def shown_value(self) -> str:
        """Its value for people; empty for a switch."""
        return format_quantity(self.about.quantity, self.value)

    @property
    def text(self) -> str:
        """How it is written, such that it is read back as the same."""
        is_switch = self.about.quantity is Quantity.SWITCH
        value = "" if is_switch else f"={exact_quantity(self.about.quantity, self.value)}"
        return " ".join((self.kind + value, *self._words))

    @property
    def _words(self) -> list[str]:
        return [word for word in (self.shape, "" if self.direction == BOTH else self.direction) if word]


def default_of(kind: FaultKind, direction: str = BOTH) -> Fault:
    """Return the fault of a kind as one key press makes it."""
    return Fault(kind.name, kind.default, direction if kind.directed else BOTH)


def read_faults(text: str) -> tuple[Fault, ...]:
    """Return the faults in ``text``, separated by commas, in the order of the table of kinds.

    Raises ValueError with the reason, which names the faulty part.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"is longer than {MAX_TEXT_LENGTH:,} characters")
    return _read(text)


@lru_cache(maxsize=256)
def _read(text: str) -> tuple[Fault, ...]:
    parts = [part.strip() for part in _COMMA.split(text)]
    if text.strip() and not any(parts):
        raise ValueError("names no fault: nothing but commas")
    found = [_read_one(part) for part in parts if part and part.lower() != NO_FAULT]
    for place, fault in enumerate(found):
        if any(_meet(fault, other) for other in found[:place]):
            raise ValueError(f"names {fault.kind} twice for the same direction")
    return tuple(sorted(found, key=_place_of))


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Return the faults in ``text``; raises ConfigError, which names the faulty part."""
    try:
        return read_faults(text)
    except ValueError as error:
        raise ConfigError.of("fault", text, str(error)) from None


def text_of(faults: Iterable[Fault]) -> str:
    """Return faults as one text, from which :func:`read_faults` makes the same again."""
    return ", ".join(fault.text for fault in sorted(faults, key=_place_of))


def shown(faults: Sequence[Fault]) -> str:
    """Return faults for people: ``loss 2 %, delay 20 ms up``; ``none`` without any."""
    return ", ".join(map(str, faults)) or NO_FAULT


def _place_of(fault: Fault) -> tuple[int, int]:
    return _ORDER[fault.kind], DIRECTIONS.index(fault.direction)


def _meet(one: Fault, other: Fault) -> bool:
    same_way = one.direction == other.direction or BOTH in (one.direction, other.direction)
    return one.kind == other.kind and same_way


def _read_one(part: str) -> Fault:
    """Return the fault that is written ``loss=2% up``, or as people are shown it, ``loss 2 % up``."""
    named, _, rest = part.partition("=") if "=" in part else part.partition(" ")
    kind = _kind_of(named.strip().lower().replace("_", "-"))
    words = rest.split()
    direction = _only(kind, words, DIRECTIONS) or BOTH
    shape = _only(kind, words, kind.shapes)
    value = " ".join(word for word in words if word.lower() not in (*DIRECTIONS, *kind.shapes))
    return Fault(
        kind.name,
        _value_of(kind, value),
        _direction_of(kind, direction),
        "" if shape in kind.shapes[:1] else shape,
    )


def _only(kind: FaultKind, words: Iterable[str], choices: Sequence[str]) -> str:
    """Return the one of the ``choices`` that is among the words of a fault; empty without one."""
    found = list(dict.fromkeys(word.lower() for word in words if word.lower() in choices))
    if len(found) > 1:
        raise ValueError(f"has {kind.name} {' '.join(found)}, of which only one can be")
    return found[0] if found else ""


def _kind_of(name: str) -> FaultKind:
    if name in FAULTS:
        return FAULTS[name]
    near = get_close_matches(name[:40], FAULTS, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(FAULTS)}"
    raise ValueError(f"names no fault: {printable(name, 40) or 'nothing'}; {hint}")


def _direction_of(kind: FaultKind, direction: str) -> str:
    if direction == BOTH or kind.directed:
        return direction
    why = "is made in the server" if kind.where == SERVER else "is of the whole connection"
    raise ValueError(f"has {kind.name} {direction}, but {kind.name} {why}: leave {direction} out")


def _value_of(kind: FaultKind, text: str) -> float:
    example = f"{kind.name}={example_of(kind.quantity)}"
    if kind.quantity is Quantity.SWITCH:
        if text.lower() not in ("", "on"):
            raise ValueError(f"has {kind.name}={printable(text, 40)}, but {kind.name} takes no value")
        return kind.default
    if not text:
        raise ValueError(f"has {kind.name} without a value (for example {example})")
    try:
        value = read_quantity(kind.quantity, text)
    except ValueError as error:
        raise ValueError(f"has {kind.name}={printable(text, 40)}, which {error}") from None
    if why := kind.check(value):
        raise ValueError(f"has {kind.name}={printable(text, 40)}, which {why}")
    return value
