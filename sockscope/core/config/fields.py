"""What a configuration field is: its words, unit, range and steps, and every other fact about it.

Each field of an :class:`~sockscope.core.config.experiment.Experiment` carries one :class:`FieldSpec`. The
command line, the TOML reader, the environment, validation, the knobs on the screen, races, comparisons, and
the division of a role among processes are all made from it, so a field is described once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field
from enum import Enum
from typing import Any, Concatenate, ParamSpec

from sockscope.core import units
from sockscope.core.config.arguments import format_arguments, read_arguments
from sockscope.core.impairment.fault import read_faults, shown, text_of
from sockscope.core.wire.octets import format_octets, parse_octets

Value = int | float | bool | str


class Kind(Enum):
    """How a field's value is read and written."""

    COUNT = "count"
    BYTES = "bytes"
    DURATION = "duration"
    CHOICE = "choice"
    FLAG = "flag"
    TEXT = "text"
    OCTETS = "octets"
    """Bytes, written as :mod:`sockscope.core.wire.octets` reads them."""
    ARGUMENTS = "arguments"
    """Arguments by name, a line each, as :mod:`sockscope.core.config.arguments` reads them."""
    FAULTS = "faults"
    """Faults on demand in one text, as :mod:`sockscope.core.impairment.fault` reads them."""


class Subject(Enum):
    """What a field is about, which is what a difference in it means to a comparison of two runs."""

    WORKLOAD = "workload"
    """What is asked of the server: another workload has other figures, whoever serves it."""
    SETUP = "setup"
    """How it is asked and served: what comparisons are made for."""
    PLACEMENT = "placement"
    """Where the roles run, which is part of the setup and decides whose resources are measured."""
    CIRCUMSTANCE = "circumstance"
    """What makes no difference to the figures by itself, or is compared in a way of its own."""


@dataclass(frozen=True, slots=True)
class Knob:
    """How a field is shown among the knobs of the dashboard.

    ``rank`` orders them from top to bottom; the numbers have gaps for those to come. ``keys`` is the hint
    beside the knob, the keys that turn it without going there. ``compact`` knobs are all that a small
    terminal shows.
    """

    rank: int
    keys: str = ""
    compact: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """How the command line spells a field; its long spelling is made from the key (``--service-time``).

    ``short`` is a short spelling (``-c``), ``off`` what switches a flag off again (``--delay``), ``metavar``
    what stands for the value in the help where the kind does not tell it, ``called`` the name in messages
    where that is not the long spelling, and ``long`` that one where the key does not make it.
    ``argument_of`` is the command that takes it as an argument instead.
    ``in_race`` tells whether ``sockscope race`` has the flag.

    ``only_typed`` tells of a value whether it must be typed: whoever reads a file or a variable of somebody
    else shall not open this machine, nor aim at another one, by that.
    """

    short: str = ""
    off: str = ""
    metavar: str = ""
    called: str = ""
    long: str = ""
    argument_of: str = ""
    in_race: bool = True
    only_typed: Callable[[Value], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Every fact of one field.

    How its values are read and written: ``low`` and ``high`` bound a number (inclusive); ``each`` bounds what
    one process of the role has of it (:mod:`sockscope.core.config.bounds`). ``smallest_step`` is
    the first value above zero that an arrow key reaches. ``zero_word`` is what 0 means on the screen ("off").
    ``words`` are other ways to write a value (``request`` for a lifetime of 1), in the range or not.

    Where it means something: ``role`` is the only role that knows it (empty: the run or several roles do),
    ``transport`` the only transport. ``of_ip`` fields mean nothing to Unix sockets, and to a relay alone only
    those that are ``of_tap`` mean something. ``of_model`` fields are
    known to server models, but not to the user's own server; ``of_loop`` fields only to server models on the
    event loop. What a single model ignores is told in :mod:`sockscope.core.config.models`.

    What a change of it does: ``new_sockets`` tells that it takes new connections, ``divided`` that several
    processes of its role share the value, which is a limit or a number of clients. ``socket_option`` names
    the option that it sets, whose value in force the kernel tells.

    ``reads`` is what reads a text that is not empty, and raises ValueError with the reason where it cannot.
    A field of ``several`` octets holds a line for each of them, and is a list in TOML where it has many.

    Who shows it: ``subject`` to comparisons, ``varied`` to races (whether contestants may differ in it by
    ``--vary``), ``knob`` to the dashboard, ``flag`` to the command line (None: it has no flag).
    """

    key: str
    label: str
    kind: Kind
    doc: str
    low: float = 0
    high: float = math.inf
    each: float = math.inf
    choices: tuple[str, ...] = ()
    zero_word: str = ""
    words: tuple[tuple[str, Value], ...] = ()
    smallest_step: float = 1
    role: str = ""
    transport: str = ""
    of_ip: bool = False
    of_tap: bool = False
    of_model: bool = False
    of_loop: bool = False
    new_sockets: bool = False
    divided: bool = False
    socket_option: str = ""
    reads: Callable[[str], object] | None = None
    several: bool = False
    subject: Subject = field(kw_only=True)
    varied: bool = True
    knob: Knob | None = None
    flag: Flag | None = Flag()

    def parse(self, raw: object) -> Value:
        """Return the value that ``raw`` (typed text, or a TOML value) stands for.

        Raises ValueError with the reason. The range is checked by :meth:`check`, not here.
        """
        if self.kind is Kind.ARGUMENTS:
            return format_arguments(raw) if raw else ""
        if self.kind is Kind.FAULTS:
            return _written_faults(raw)
        if self.several and isinstance(raw, list | tuple):
            return "\n".join(str(self._parse_one_of(raw, place)) for place in range(len(raw)))
        if isinstance(raw, str):
            if self.kind is Kind.OCTETS:
                return format_octets(parse_octets(raw)) if raw else raw
            text = raw.strip()
            for word, value in self.words:
                if text.lower() == word:
                    return value
            if self.zero_word and text.lower() == self.zero_word:
                return 0
            return self._parse_text(text)
        if self.kind is Kind.FLAG and isinstance(raw, bool):
            return raw
        if self.kind is Kind.DURATION and isinstance(raw, int | float) and not isinstance(raw, bool):
            if abs(raw) > sys.float_info.max:
                raise ValueError("must be finite")
            return float(raw)
        if self.kind in (Kind.COUNT, Kind.BYTES) and isinstance(raw, int) and not isinstance(raw, bool):
            return raw
        raise ValueError(f"is not {self._wanted()}")

    def _parse_one_of(self, raw: Sequence[object], place: int) -> Value:
        try:
            return self.parse(raw[place])
        except ValueError as error:
            if len(raw) == 1:
                raise
            raise ValueError(f"{error} of the text that is number {place + 1}") from None

    def _parse_text(self, text: str) -> Value:
        match self.kind:
            case Kind.COUNT:
                return units.parse_count(text)
            case Kind.BYTES:
                return units.parse_bytes(text)
            case Kind.DURATION:
                return units.parse_duration(text)
            case Kind.CHOICE:
                if text.lower() not in self.choices:
                    raise ValueError(f"is not {self._wanted()}")
                return text.lower()
            case Kind.FLAG:
                if text.lower() in ("on", "yes", "true", "1"):
                    return True
                if text.lower() in ("off", "no", "false", "0"):
                    return False
                raise ValueError("is neither on nor off")
            case _:
                return text

    def _wanted(self) -> str:
        match self.kind:
            case Kind.CHOICE:
                return f"one of {', '.join(self.choices)}"
            case Kind.FLAG:
                return "true or false"
            case Kind.DURATION:
                return "a duration (for example 250ms)"
            case Kind.BYTES:
                return "a size (for example 64K)"
            case Kind.COUNT:
                return "a whole number"
            case Kind.TEXT | Kind.OCTETS | Kind.FAULTS:
                return "text"
            case Kind.ARGUMENTS:
                return "name=value, or a table of them"

    def check(self, value: Value) -> str | None:
        """Return why ``value`` is not allowed here, or None when it is."""
        if not self._fits(value):
            return f"must be {self._wanted()}"
        if reads := _READERS.get(self.kind, self.reads):
            whole = self.kind in (Kind.ARGUMENTS, Kind.FAULTS) or not self.several
            texts = [str(value)] if whole else str(value).split("\n")
            faults = (_fault_of(reads, text) for text in texts) if value else ()
            return next(filter(None, faults), None)
        if isinstance(value, str | bool):
            return None
        if isinstance(value, float) and not math.isfinite(value):
            return "must be finite"
        if self.kind is Kind.DURATION and 0 < value < units.SHORTEST_S / 2:
            return units.TOO_SHORT
        if any(value == meaning for _, meaning in self.words):
            return None
        if value < self.low:
            return f"must be at least {self.format(self.low) if self.low else 0}"
        if value > self.high:
            return f"must be at most {self.format(self.high)}"
        return None

    def _fits(self, value: Value) -> bool:
        match self.kind:
            case Kind.CHOICE:
                return value in self.choices
            case Kind.TEXT | Kind.OCTETS | Kind.ARGUMENTS | Kind.FAULTS:
                return isinstance(value, str)
            case Kind.FLAG:
                return isinstance(value, bool)
            case Kind.DURATION:
                return isinstance(value, int | float) and not isinstance(value, bool)
            case _:
                return isinstance(value, int) and not isinstance(value, bool)

    def format(self, value: Value) -> str:
        """Return ``value`` for people."""
        for word, meaning in self.words:
            if value == meaning and type(value) is type(meaning):
                return word
        if self.zero_word and not isinstance(value, bool | str) and value == 0:
            return self.zero_word
        match self.kind:
            case Kind.FLAG:
                return "on" if value else "off"
            case Kind.COUNT:
                return units.format_count(float(value))
            case Kind.BYTES:
                return units.tidy_bytes(int(value))
            case Kind.DURATION:
                return units.tidy_duration(float(value))
            case Kind.FAULTS:
                return shown(read_faults(str(value)))
            case _:
                return str(value)

    def exact(self, value: Value) -> Value | list[str]:
        """Return ``value`` as TOML would hold it, such that :meth:`parse` reads the same value back."""
        if self.kind is Kind.FAULTS:
            return [fault.text for fault in read_faults(str(value))]
        if self.several and "\n" in str(value):
            return str(value).split("\n")
        if self.kind is Kind.BYTES and not isinstance(value, str):
            return units.exact_bytes(int(value))
        if self.kind is Kind.DURATION and not isinstance(value, str):
            for word, meaning in self.words:
                if value == meaning:
                    return word
            return units.exact_duration(float(value))
        return value

    def step(self, value: Value, direction: int, *, coarse: bool = False, most: float = math.inf) -> Value:
        """Return the neighbour of ``value`` on the 1-2-5 scale (``direction`` +1 or -1).

        ``coarse`` goes a decade at once. Choices and flags go round. The result is inside the range,
        and not beyond ``most``.
        """
        if self.kind is Kind.CHOICE:
            return self.choices[(self.choices.index(str(value)) + direction) % len(self.choices)]
        if self.kind is Kind.FLAG:
            return not value
        if isinstance(value, str):
            return value
        stepped = float(value)
        for _ in range(3 if coarse else 1):
            stepped = units.next_step(stepped, direction, self.smallest_step)
        bounded = min(max(stepped, self.low), self.high, most)
        return bounded if self.kind is Kind.DURATION else round(bounded)


_READERS: Mapping[Kind, Callable[[str], object]] = {
    Kind.OCTETS: parse_octets,
    Kind.ARGUMENTS: read_arguments,
    Kind.FAULTS: read_faults,
}


def _written_faults(raw: object) -> str:
    """Return faults as a field holds them: those of a text, or of a list of them; raises ValueError."""
    given = raw if isinstance(raw, list | tuple) else [raw]
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given):
        raise ValueError("is not text, such as loss=2%")
    return text_of(read_faults(", ".join(texts)))


def _fault_of(reads: Callable[[str], object], text: str) -> str | None:
    try:
        reads(text)
    except ValueError as error:
        return str(error)
    return None


def spec_of(field: Field[Any]) -> FieldSpec:
    """Return the description that a dataclass field carries."""
    spec = field.metadata["spec"]
    assert isinstance(spec, FieldSpec)
    return spec


_P = ParamSpec("_P")


def _declaring(described: Callable[_P, FieldSpec]) -> Callable[Concatenate[Value, _P], Any]:
    """Return what declares a dataclass field: its default, then the arguments of its description."""

    def declare(default: Value, /, *args: _P.args, **facts: _P.kwargs) -> Any:
        return field(default=default, metadata={"spec": described(*args, **facts)})

    return declare


declared = _declaring(FieldSpec)
"""Declares a field of a dataclass: its default, then what :class:`FieldSpec` takes."""
