"""A bounded memory of the most recent items that knows what it has overwritten."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class RingPage(NamedTuple, Generic[T]):
    """What a reader gets: the items, how many it missed before them, and the cursor for its next call."""

    items: list[T]
    missed: int
    cursor: int


class Ring(Generic[T]):
    """The last ``capacity`` items, numbered from 0 for ever; ``count`` is the number of the next one."""

    __slots__ = ("_items", "count")

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque(maxlen=capacity)
        self.count = 0

    def append(self, item: T) -> int:
        """Store ``item``, if need be in place of the oldest, and return its number."""
        self._items.append(item)
        self.count += 1
        return self.count - 1

    def extend(self, items: Collection[T]) -> None:
        """Store several items."""
        self._items.extend(items)
        self.count += len(items)

    @property
    def oldest(self) -> int:
        """Number of the oldest item that is still here (also: how many were overwritten)."""
        return self.count - len(self._items)

    def get(self, number: int) -> T | None:
        """Return the item with this number, or None when it is gone or not there yet."""
        if not self.oldest <= number < self.count:
            return None
        return self._items[number - self.oldest]

    def since(self, cursor: int, most: int | None = None) -> RingPage[T]:
        """Return the items from number ``cursor`` on, at most the newest ``most`` of them."""
        wanted = min(max(0, self.count - cursor), len(self._items))
        if most is not None:
            wanted = min(wanted, most)
        items = list(islice(reversed(self._items), wanted))
        items.reverse()
        return RingPage(items, max(0, self.count - wanted - cursor), self.count)

    def newest_first(self) -> list[T]:
        """Return everything that is here, the newest first."""
        return list(reversed(self._items))

    def copy(self) -> Ring[T]:
        """Return a ring that later items of this one do not change."""
        twin: Ring[T] = Ring(0)
        twin._items, twin.count = self._items.copy(), self.count
        return twin
