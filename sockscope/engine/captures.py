"""Captures: the first bytes of the last exchanges, as readers may ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from sockscope.core.connection import ConnectionRecord
from sockscope.core.ring import RingPage
from sockscope.core.run.lens import HELD_UP_S, Hold
from sockscope.core.run.snapshot import Payload

CAPTURES = 10_000
"""Exchanges that are kept."""
CAPTURE_BYTES = 256
"""First bytes of a payload that are kept."""

Clip = bytes | Payload
"""Captured bytes: as they are when they are few and came in one read, else a Payload."""


class Unfinished(NamedTuple):
    """What came instead of a whole answer: the word for it (``timeout``), and the bytes if there were any."""

    outcome: str
    came: Clip = b""


Exchanged = tuple[float, float, ConnectionRecord, Clip, Clip | Unfinished]
"""One exchange: begin, end, connection, request, and the answer or the word for what came instead
(``timeout``). A client's exchange begins when the request is written and ends when the answer is read (0 =
never); a server's begins when the request is read and ends when it is answered. Seconds on
``time.perf_counter``."""
COLUMNS = 5
"""Items of one exchange in a flat list of exchanges."""


def clip(data: bytes, reads: tuple[int, ...] = (), merged: bool = False) -> Clip:
    """Return what the capture keeps of ``data``."""
    if len(data) <= CAPTURE_BYTES and not (reads or merged):
        return data
    kept = tuple(r for r in reads if r < CAPTURE_BYTES)
    return Payload(data[:CAPTURE_BYTES], len(data), kept, len(reads) + 1, merged)


def real_length(kept: Clip) -> int:
    """Return how many bytes there were of what was captured."""
    return len(kept) if isinstance(kept, bytes) else kept.real_length


def payload_of(kept: Clip) -> Payload:
    """Return a capture's bytes with their real length."""
    return kept if isinstance(kept, Payload) else Payload(kept, len(kept))


class CaptureRing:
    """The last exchanges, numbered like the items of a :class:`Ring`.

    They are kept in the batches in which they were folded, as flat lists. Only whole batches are let go of,
    but no more than the last ``capacity`` exchanges are shown.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._batches: deque[_Batch] = deque()
        self.first = 0
        self.count = 0

    def extend(self, flat: list[Any]) -> None:
        """Store exchanges given as a list of five items each, which is the ring's from then on."""
        self._batches.append(_Batch(self.count, flat))
        self.count += len(flat) // COLUMNS
        while self.count - self._batches[0].end >= self._capacity:
            self._batches.popleft()

    def begin_at(self, number: int) -> None:
        """Give the first exchange this number, before there is one."""
        self.first = self.count = number

    @property
    def oldest(self) -> int:
        """Number of the oldest exchange that is still here."""
        return max(self._batches[0].first, self.count - self._capacity) if self._batches else self.count

    @property
    def recorded(self) -> int:
        """How many exchanges were stored here so far."""
        return self.count - self.first

    @property
    def overwritten(self) -> int:
        """How many of them are no longer here."""
        return self.oldest - self.first

    def get(self, number: int) -> Exchanged | None:
        """Return the exchange with this number, or None when it is gone or not there yet."""
        if number < self.oldest:
            return None
        for batch in self._batches:
            if batch.first <= number < batch.end:
                return batch.exchange(number - batch.first)
        return None

    def since(self, cursor: int, most: int | None = None) -> RingPage[Exchanged]:
        """Return the exchanges from number ``cursor`` on, at most the newest ``most`` of them."""
        wanted = max(0, self.count - max(cursor, self.oldest))
        if most is not None:
            wanted = min(wanted, most)
        items = list(islice(self.newest_first(), wanted))
        items.reverse()
        return RingPage(items, max(0, self.count - wanted - cursor), self.count)

    def newest_first(self) -> Iterator[Exchanged]:
        """Yield everything that is here, the newest first."""
        for batch in reversed(self._batches):
            for index in reversed(range(max(0, self.oldest - batch.first), batch.end - batch.first)):
                yield batch.exchange(index)

    def count_held_up(self, hold: Hold) -> int:
        """Return how many exchanges waited for the end of a hold, of those that are here."""
        found, least_s = 0, hold.end_s - HELD_UP_S
        for batch in reversed(self._batches):
            sent, ends = batch.flat[0::COLUMNS], batch.flat[1::COLUMNS]
            if min(sent) >= hold.end_s:
                continue
            if max(ends) < hold.begin_s and any(ends):
                break
            # Few are left for the rule itself, which takes longer.
            near = [
                (s, e) for s, e in zip(sent, ends, strict=True) if s < hold.end_s and (e >= least_s or not e)
            ]
            found += sum(hold.held_up(*one) for one in near)
        return found

    def copy(self) -> CaptureRing:
        """Return a ring that later exchanges do not change."""
        twin = CaptureRing(self._capacity)
        twin._batches, twin.count, twin.first = self._batches.copy(), self.count, self.first
        return twin


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Exchanges that were folded together, five items each; ``first`` is the number of the first."""

    first: int
    flat: list[Any]

    @property
    def end(self) -> int:
        """Number of the exchange behind the last."""
        return self.first + len(self.flat) // COLUMNS

    def exchange(self, index: int) -> Exchanged:
        """Return one exchange by its place in the batch."""
        begin_s, end_s, record, request, answer = self.flat[index * COLUMNS : (index + 1) * COLUMNS]
        return begin_s, end_s, record, request, answer
