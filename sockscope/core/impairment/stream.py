"""What becomes of the bytes of a connection on their way: late, slow, in pieces, or cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from sockscope.core.impairment.impaired import Impaired
from sockscope.core.impairment.line import Line, travel_s
from sockscope.core.impairment.link import LinkFaults

PACED_S = 0.01
"""At a rate, data is cut into pieces that take this long at the most."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a connection as a whole; one that nothing becomes of is false.

    Ages are in seconds, counted from when the connection was opened, or from when the fault was switched on
    where that was later; None: it does not happen.
    """

    refused: bool = False
    reset_after_s: float | None = None
    half_close_after_s: float | None = None
    black_hole_after_s: float | None = None

    def __bool__(self) -> bool:
        return self != NONE


NONE = Fate()


class StreamImpairer:
    """What one direction does to the data of one connection; the same seed does the same.

    Nothing is lost, doubled or changed, and the order stays: due times do not decrease. Whoever asks has the
    clock, whose times must not decrease. ``line`` is the line of the rate, where connections share one.
    """

    def __init__(self, faults: LinkFaults, seed: int, line: Line | None = None) -> None:
        self.counts = Impaired()
        self._seed = seed
        self._random = Random(seed)
        self._is_shared = line is not None
        self._line = line or Line()
        self._last_due_s = 0.0
        self._faults = LinkFaults()
        self._has_stalled = False
        self.turn(faults)

    def turn(self, faults: LinkFaults) -> None:
        """Go on with other faults; the counts go on, and so does what is on its way."""
        if not faults.stall_s or faults.stall_s != self._faults.stall_s:
            self._has_stalled = False
        self._faults = faults
        if not self._is_shared:
            self._line.rate_bytes_per_s = faults.rate_bytes_per_s

    def let_go(self) -> None:
        """Whatever is on its way is handed on at once: what comes now need not wait for it."""
        self._last_due_s = 0.0

    def behind_s(self, now_s: float) -> float:
        """Return how long what comes now has to wait for what came before it."""
        return max(self._last_due_s - now_s, 0.0)

    def admit(self, now_s: float, data: bytes) -> Sequence[tuple[float, bytes]]:
        """Return the pieces of ``data``, each with when it is due (s); none where there is no data."""
        if not data:
            return ()
        faults, counts = self._faults, self.counts
        counts.admitted += 1
        travel = travel_s(faults, self._random)
        if faults.stall_s and not self._has_stalled:
            self._has_stalled = True
            counts.stalled += 1
            travel += faults.stall_s
        pieces = list(self._pieces(data))
        counts.sliced += len(pieces) - 1 if faults.slice_bytes else 0
        sent: list[tuple[float, bytes]] = []
        due = self._last_due_s
        for place, piece in enumerate(pieces):
            apart = faults.slice_gap_s if place else 0.0
            due = max(due + apart, self._line.leave_s(now_s, len(piece)) + travel)
            sent.append((due, piece))
        self._last_due_s = due
        if due > now_s:
            counts.delayed += 1
            counts.delayed_s += due - now_s
        return sent

    def close_due_s(self, now_s: float) -> float:
        """Return when an end (EOF) that comes now is to be passed on: behind all data."""
        return max(self._last_due_s, now_s + self._faults.delay_s) + self._faults.slow_close_s

    def fate(self, conn_number: int) -> Fate:
        """Return what becomes of connection ``conn_number``: the same for both directions of one seed."""
        faults = self._faults
        drawn = Random(f"{self._seed} {conn_number}").random() if faults.refuse_ratio else 1.0
        return Fate(
            drawn < faults.refuse_ratio,
            faults.reset_after_s,
            faults.half_close_after_s,
            faults.black_hole_after_s,
        )

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        size = self._faults.slice_bytes or len(data)
        if rate := self._line.rate_bytes_per_s:
            size = min(size, max(1, int(rate * PACED_S)))
        for start in range(0, len(data), size):
            yield data[start : start + size]
