"""What came from other processes, kept for readers here: a ring with gaps for items that were lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Generic, TypeVar

from sockscope.core.ring import RingPage

T = TypeVar("T")


class SparseRing(Generic[T]):
    """The last ``capacity`` items, numbered like those of a :class:`Ring`.

    Numbers that were missed stay empty, so that every item has its number for ever and no reader gets one
    twice.
    """

    def __init__(self, capacity: int, first: int = 0) -> None:
        self._items: deque[tuple[int, T]] = deque(maxlen=capacity)
        self.count = first

    def extend(self, items: Sequence[T], missed: int = 0) -> None:
        """Store ``items``, before which ``missed`` others were lost."""
        first = self.count + missed
        self._items.extend(enumerate(items, first))
        self.count = first + len(items)

    def copy(self) -> SparseRing[T]:
        """Return a ring that later items of this one do not change."""
        twin: SparseRing[T] = SparseRing(0)
        twin._items, twin.count = self._items.copy(), self.count
        return twin

    def get(self, number: int) -> T | None:
        """Return the item with this number, or None when it is gone, was missed, or is not there yet."""
        for found, item in reversed(self._items):
            if found <= number:
                return item if found == number else None
        return None

    def since(self, cursor: int, most: int | None = None) -> RingPage[tuple[int, T]]:
        """Return the items from number ``cursor`` on with their numbers, at most the newest ``most``."""
        newest = list(takewhile(lambda entry: entry[0] >= cursor, reversed(self._items)))[:most]
        newest.reverse()
        return RingPage(newest, max(0, self.count - cursor - len(newest)), self.count)
