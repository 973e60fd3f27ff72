"""Regular expressions whose search takes a time in proportion to what is searched.

All ways of matching are followed at once, a byte at a time (K. Thompson, "Regular expression search
algorithm", 1968), and each set of places in the pattern that was reached once is remembered with what follows
it. That tells whether a pattern is found, not where. Which languages are known is what :mod:`re` parses, but
for what looks back or ahead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from importlib import import_module
from itertools import chain
from typing import Any, Final, NamedTuple

MAX_NODES = 256
"""Places in a pattern, its repeats written out."""
MOST_STATES = 1_024
"""Sets of places that are remembered."""
MANY = 32
"""From so many on, the times that something may repeat count as any number."""
_FACTOR_THAT_COUNTS = 1e9
_MANY_BYTES = 64 << 10
_UNKNOWN = "it can match in very many ways, and looks ahead or back, or is possessive"
_LAST_NEWLINE, _END = 256, 257
"""What follows the bytes of a text, besides bytes: a newline that is its last byte, and the end."""
_NEWLINE = ord("\n")

_sre: Any = import_module("re._parser")
"""What :mod:`re` reads patterns with."""
_WORD = frozenset(byte for byte in range(256) if re.match(rb"\w", bytes([byte])))


class UnsuitedError(Exception):
    """A pattern cannot be searched for in bounded time; the message says what is in its way."""


class Ways(NamedTuple):
    """In how many ways a pattern may match n bytes: at most ``factor`` * n ** ``degree``; none: 2 ** n."""

    degree: int
    factor: float

    def then(self, other: Ways) -> Ways:
        """Return the ways of a pattern that goes on with another."""
        return Ways(self.degree + other.degree, self.factor * other.factor)

    def times(self, least: int, most: int) -> Ways:
        """Return the ways of repeating it so often."""
        if most < MANY or least == most < _MANY_BYTES:
            factor = min(self.factor, _FACTOR_THAT_COUNTS) ** min(most, MANY)
            return Ways(min(self.degree * most, MANY), (most - least + 1) * factor)
        return Ways(1, 1.0) if self == ONCE and least < _MANY_BYTES else HOPELESS

    def most_bytes(self, ways: int) -> int:
        """Return in how many bytes there are no more than so many ways."""
        if self.degree >= MANY or self.factor > ways:
            return 0
        return int((ways / self.factor) ** (1 / max(self.degree, 1)))


ONCE: Final = Ways(0, 1.0)
HOPELESS: Final = Ways(MANY, 1.0)


def ways(pattern: re.Pattern[bytes]) -> Ways:
    """Return in how many ways a search tries to match."""
    items = list(_sre.parse(pattern.pattern, pattern.flags))
    anchors = (_sre.AT_BEGINNING, _sre.AT_BEGINNING_STRING)
    anchored = items and items[0][0] is _sre.AT and items[0][1] in anchors
    begins = ONCE if anchored and not pattern.flags & re.MULTILINE else Ways(1, 1.0)
    return begins.then(_ways_of(items))


def _ways_of(items: Sequence[tuple[Any, Any]]) -> Ways:
    return reduce(Ways.then, (_ways_of_one(operator, value) for operator, value in items), ONCE)


def _ways_of_one(operator: Any, value: Any) -> Ways:
    if operator is _sre.BRANCH:
        each = [_ways_of(branch) for branch in value[1]]
        return Ways(max(one.degree for one in each), sum(one.factor for one in each))
    if operator in _REPEATS:
        least, most, body = value
        return _ways_of(body).times(least, int(most))
    if operator is _sre.GROUPREF:
        return Ways(1, 1.0)
    if operator is _sre.GROUPREF_EXISTS:
        return _ways_of([(_sre.BRANCH, (None, [part for part in value[1:] if part is not None]))])
    inner = {_sre.SUBPATTERN: -1, _sre.ATOMIC_GROUP: None, _sre.ASSERT: 1, _sre.ASSERT_NOT: 1}
    if operator not in inner:
        return ONCE
    at = inner[operator]
    return _ways_of(value if at is None else value[at])


_REPEATS = (_sre.MAX_REPEAT, _sre.MIN_REPEAT, _sre.POSSESSIVE_REPEAT)


class _Node:
    """A place in the pattern: reached, it is passed with one of ``octets``, or where ``holds`` is true, or
    (without either) at once, to each of ``out``."""

    __slots__ = ("holds", "octets", "out")

    def __init__(
        self,
        out: list[_Node],
        octets: frozenset[int] | None = None,
        holds: Callable[[int, int], bool] | None = None,
    ) -> None:
        self.out = out
        self.octets = octets
        self.holds = holds


class _State:
    """Places that are reached behind the byte ``before`` (-1: the text begins), and what follows on which."""

    __slots__ = ("before", "following", "nodes")

    def __init__(self, before: int, nodes: frozenset[_Node]) -> None:
        self.before = before
        self.nodes = nodes
        self.following: dict[int, _State] = {}


_FOUND: Final = _State(-1, frozenset())


class Automaton:
    """What tells whether a pattern is found."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        """Raises UnsuitedError."""
        if pattern.flags & re.LOCALE:
            raise UnsuitedError("it depends on the locale")
        self._count = 0
        self._accepted = _Node([])
        tree = _sre.parse(pattern.pattern, pattern.flags)
        self._start = self._sequence(tree, pattern.flags, self._accepted)
        self._first = _State(-1, frozenset())
        self._states: dict[tuple[int, frozenset[_Node]], _State] = {}

    def is_in(self, data: bytes) -> bool:
        """Tell whether the pattern is found in ``data``."""
        ends = (_LAST_NEWLINE, _END) if data.endswith(b"\n") else (_END,)
        body = data[:-1] if len(ends) > 1 else data
        state = self._first
        for symbol in chain(body, ends):
            following = state.following.get(symbol)
            state = self._step(state, symbol) if following is None else following
            if state is _FOUND:
                return True
        return False

    def _step(self, state: _State, symbol: int) -> _State:
        """Follow every way from ``state`` past one byte, or to the end, and remember where that leads."""
        byte = _NEWLINE if symbol == _LAST_NEWLINE else symbol
        reached: set[_Node] = set()
        passed: set[_Node] = set()
        todo = [self._start, *state.nodes]
        while todo:
            node = todo.pop()
            if node in reached:
                continue
            reached.add(node)
            if node is self._accepted:
                state.following[symbol] = _FOUND
                return _FOUND
            if node.octets is not None:
                if byte in node.octets:
                    passed.update(node.out)
            elif node.holds is None or node.holds(state.before, symbol):
                todo += node.out
        following = state.following[symbol] = self._remembered(_kind_of(byte), frozenset(passed))
        return following

    def _remembered(self, before: int, nodes: frozenset[_Node]) -> _State:
        if (known := self._states.get((before, nodes))) is not None:
            return known
        if len(self._states) >= MOST_STATES:
            for state in (self._first, *self._states.values()):
                state.following = {}
            self._states.clear()
        state = self._states[before, nodes] = _State(before, nodes)
        return state

    # From what re has parsed, the last place first.

    def _node(self, *args: Any) -> _Node:
        self._count += 1
        if self._count > MAX_NODES:
            raise UnsuitedError(f"with its repeats written out it has more than {MAX_NODES} places")
        return _Node(*args)

    def _sequence(self, items: Any, flags: int, then: _Node) -> _Node:
        for operator, value in reversed(list(items)):
            then = self._one(operator, value, flags, then)
        return then

    def _one(self, operator: Any, value: Any, flags: int, then: _Node) -> _Node:
        if operator in (_sre.MAX_REPEAT, _sre.MIN_REPEAT):
            return self._repeat(value, flags, then)
        if operator is _sre.BRANCH:
            return self._node([self._sequence(branch, flags, then) for branch in value[1]])
        if operator is _sre.SUBPATTERN:
            _, added, removed, body = value
            return self._sequence(body, (flags | added) & ~removed, then)
        if operator is _sre.AT:
            return self._node([then], None, _condition(value, flags))
        return self._node([then], _octets(operator, value, flags))

    def _repeat(self, repeat: tuple[int, Any, Any], flags: int, then: _Node) -> _Node:
        least, most, body = repeat
        if most is _sre.MAXREPEAT:
            entry = self._node([then])
            entry.out.append(self._sequence(body, flags, entry))
        else:
            entry = then
            for _ in range(int(most) - least):
                entry = self._node([self._sequence(body, flags, entry), then])
        for _ in range(least):
            before = entry
            entry = self._sequence(body, flags, entry)
            if entry is before:  # nothing repeated is nothing
                break
        return entry


def _kind_of(byte: int) -> int:
    """Return a byte that stands for all those that a place behind cannot tell apart."""
    return ord("w") if byte in _WORD else _NEWLINE if byte == _NEWLINE else 0


def _condition(where: Any, flags: int) -> Callable[[int, int], bool]:
    """Return what tells whether a place is where an anchor wants it: behind one byte and before another."""
    lines = bool(flags & re.MULTILINE)
    match where:
        case _sre.AT_BEGINNING:
            return lambda before, after: before < 0 or (lines and before == _NEWLINE)
        case _sre.AT_BEGINNING_STRING:
            return lambda before, after: before < 0
        case _sre.AT_END:
            return lambda before, after: after >= _LAST_NEWLINE or (lines and after == _NEWLINE)
        case _sre.AT_END_STRING:
            return lambda before, after: after == _END
        case _sre.AT_BOUNDARY:
            return lambda before, after: (before in _WORD) != (after in _WORD)
        case _sre.AT_NON_BOUNDARY:
            return lambda before, after: (before in _WORD) == (after in _WORD)
    raise UnsuitedError(_UNKNOWN)


def _octets(operator: Any, value: Any, flags: int) -> frozenset[int]:
    """Return the bytes that one place matches."""
    if operator is _sre.ANY:
        return frozenset(byte for byte in range(256) if flags & re.DOTALL or byte != _NEWLINE)
    if operator in (_sre.LITERAL, _sre.NOT_LITERAL):
        wanted, negated = {value}, operator is _sre.NOT_LITERAL
    elif operator is _sre.IN:
        negated = value[0][0] is _sre.NEGATE
        wanted = set(chain.from_iterable(_in_class(*item) for item in value[negated:]))
    else:
        raise UnsuitedError(_UNKNOWN)
    folded: Callable[[int], int] = _lowered if flags & re.IGNORECASE else int
    wanted = set(map(folded, wanted))
    return frozenset(byte for byte in range(256) if (folded(byte) in wanted) != negated)


def _in_class(operator: Any, value: Any) -> Iterator[int]:
    """Yield the bytes of one part of a class."""
    if operator is _sre.LITERAL:
        yield value
    elif operator is _sre.RANGE:
        yield from range(value[0], value[1] + 1)
    else:
        yield from (byte for byte in range(256) if re.match(_CATEGORIES[value], bytes([byte])))


_CATEGORIES = {
    _sre.CATEGORY_DIGIT: rb"\d",
    _sre.CATEGORY_NOT_DIGIT: rb"\D",
    _sre.CATEGORY_SPACE: rb"\s",
    _sre.CATEGORY_NOT_SPACE: rb"\S",
    _sre.CATEGORY_WORD: rb"\w",
    _sre.CATEGORY_NOT_WORD: rb"\W",
}


def _lowered(byte: int) -> int:
    return bytes([byte]).lower()[0]
