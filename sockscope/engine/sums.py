"""The counters of many connections, summed.

This runs once or twice per snapshot, on the loop that it observes, over as many connections as there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import add, attrgetter, mul

from sockscope.core.connection import ConnectionRecord

_EXCHANGES = attrgetter("exchanges")
_SINCE = attrgetter("same_since")
_ODD_COUNTERS = ("frames_in", "frames_out", "reads", "writes", "bytes_in", "bytes_out")
_ODD = [attrgetter(f"odd_{name}") for name in _ODD_COUNTERS]


class StillSums:
    """The sums over connections of which nothing changes but the number of their whole exchanges.

    With thousands of connections on the loop that is observed, a few operations of the interpreter on all of
    them take a fifth of the time of looking at every counter of each.
    """

    def __init__(self, records: list[ConnectionRecord]) -> None:
        self._records = records
        self._size_in_of = _factor([record.same_bytes_in for record in records])
        self._size_out_of = _factor([record.same_bytes_out for record in records])
        self._datagrams_of = _factor([int(record.transport == "udp") for record in records])
        columns = [list(map(get, records)) for get in _ODD]
        since = list(map(_SINCE, records))
        since_in, since_out = self._size_in_of(since), self._size_out_of(since)
        frames_in, frames_out, reads, writes, bytes_in, bytes_out = map(sum, columns)
        datagrams_in, datagrams_out = self._datagrams_of(columns[2]), self._datagrams_of(columns[3])
        # Not from the exchanges, of which threads make more meanwhile.
        self._rest = [frames_in, frames_out, reads, writes, bytes_in - since_in, bytes_out - since_out,
                      datagrams_in, datagrams_out]  # fmt: skip

    def now(self) -> list[int]:
        """Return what :func:`sums_of` would."""
        return list(map(add, self._rest, self._of_exchanges()))

    def _of_exchanges(self) -> list[int]:
        """Return the part of the sums that the whole exchanges of each connection make up."""
        exchanges = list(map(_EXCHANGES, self._records))
        count, datagrams = sum(exchanges), self._datagrams_of(exchanges)
        size_in, size_out = self._size_in_of(exchanges), self._size_out_of(exchanges)
        return [count, count, count, count, size_in, size_out, datagrams, datagrams]


def _factor(factors: list[int]) -> Callable[[list[int]], int]:
    """Return what multiplies a list of as many numbers by ``factors`` and adds them up."""
    if len(set(factors)) == 1:  # as a rule all clients ask for the same
        (factor,) = set(factors)
        return lambda numbers: factor * sum(numbers)
    return lambda numbers: sum(map(mul, numbers, factors))


def sums_of(records: Iterable[ConnectionRecord]) -> list[int]:
    """Return frames, calls and bytes (in, out each), and datagrams (in, out), summed over ``records``."""
    frames_in = frames_out = reads = writes = bytes_in = bytes_out = datagrams_in = datagrams_out = 0
    for r in records:
        # Written out instead of using the record's properties: with 10,000 connections it runs 20,000
        # times per snapshot, on the loop that it observes.
        exchanges = r.exchanges
        same = exchanges - r.same_since
        frames_in += exchanges + r.odd_frames_in
        frames_out += exchanges + r.odd_frames_out
        reads += exchanges + r.odd_reads
        writes += exchanges + r.odd_writes
        bytes_in += same * r.same_bytes_in + r.odd_bytes_in
        bytes_out += same * r.same_bytes_out + r.odd_bytes_out
        if r.transport == "udp":
            datagrams_in += exchanges + r.odd_reads
            datagrams_out += exchanges + r.odd_writes
    return [frames_in, frames_out, reads, writes, bytes_in, bytes_out, datagrams_in, datagrams_out]
