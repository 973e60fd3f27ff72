"""A bounded memory of the most recent items that knows what it has overwritten."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class RingPage(NamedTuple, Generic[T]):
    """What a reader gets: the items, how many it missed before them, and the cursor for its next call."""

    items: list[T]
    missed: int
    cursor: int


class Ring(Generic[T]):
    """The last ``capacity`` items, numbered from 0 for ever.

    ``slots`` and ``count`` are public because the hot path writes them in place; item number ``n`` lives
    in ``slots[n % capacity]`` while ``count - capacity <= n < count``.
    """

    __slots__ = ("capacity", "count", "slots")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.count = 0
        self.slots: list[T | None] = [None] * capacity

    def append(self, item: T) -> int:
        """Store ``item`` in place of the oldest and return its number."""
        number = self.count
        self.slots[number % self.capacity] = item
        self.count = number + 1
        return number

    @property
    def oldest(self) -> int:
        """Number of the oldest item that is still here (also: how many were overwritten)."""
        return max(0, self.count - self.capacity)

    def get(self, number: int) -> T | None:
        """Return the item with this number, or None when it is gone or not there yet."""
        if not self.oldest <= number < self.count:
            return None
        return self.slots[number % self.capacity]

    def since(self, cursor: int, most: int | None = None) -> RingPage[T]:
        """Return the items from number ``cursor`` on, at most the newest ``most`` of them."""
        first = max(cursor, self.oldest)
        if most is not None:
            first = max(first, self.count - most)
        items = [self.slots[n % self.capacity] for n in range(first, self.count)]
        return RingPage([item for item in items if item is not None], first - cursor, self.count)

    def copy(self) -> Ring[T]:
        """Return a ring that later appends to this one do not change."""
        twin: Ring[T] = Ring(0)
        twin.capacity, twin.count, twin.slots = self.capacity, self.count, self.slots.copy()
        return twin
