"""What becomes of each datagram on its way: lost, late, twice, overtaken, damaged."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from random import Random

from sockscope.core.impairment.impaired import Impaired
from sockscope.core.impairment.line import Line, travel_s
from sockscope.core.impairment.link import LinkFaults

Copies = Sequence[tuple[float, bytes]]
"""When each copy is due (s, on the clock of who asks), and what it carries."""
QUEUE_S = 0.2
"""Longest that a datagram waits for its turn at the rate; one that would wait longer is lost."""
HOLD_S = 0.1
"""Longest that a datagram is held for the next one to overtake it."""


class BurstLoss:
    """Loss by the model of Gilbert (1960): everything is lost in the bad state, nothing in the good one.

    The mean stay in the bad state is ``burst`` datagrams, and the share of time in it is ``ratio``; a burst
    below 1 is loss at random, each datagram for itself.
    """

    def __init__(self, ratio: float, burst: float, random: Random) -> None:
        self._random = random
        self._is_bad = False
        if burst < 1 or ratio >= 1:
            self._enter = self._stay = ratio
        else:
            self._enter = min(1.0, ratio / ((1 - ratio) * burst))
            self._stay = 1 - 1 / burst
        if ratio:
            # In its long-run share from the first datagram on.
            self._is_bad = random.random() < ratio

    def loses(self) -> bool:
        """Tell whether the next datagram is lost."""
        lost = self._is_bad
        self._is_bad = self._random.random() < (self._stay if lost else self._enter)
        return lost


def with_bit_flipped(data: bytes, bit: int) -> bytes:
    """Return ``data`` with one bit (from 0, the lowest of the first byte) turned over."""
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


class DatagramImpairer:
    """What one direction of a link does to the datagrams of all its flows; the same seed does the same.

    Whoever asks has the clock: its times must not decrease. A copy is to be handed on when it is due, those
    that are due at once in the order in which they were returned.
    """

    def __init__(self, faults: LinkFaults, seed: int) -> None:
        self.counts = Impaired()
        self._random = Random(seed)
        self._line = Line()
        # By flow, the oldest first: until when it waits for a successor, and its copies.
        self._held: dict[Hashable, tuple[float, list[tuple[float, bytes]]]] = {}
        self.turn(faults)

    def turn(self, faults: LinkFaults) -> None:
        """Go on with other faults; the counts go on, and what is held is let go as it was to be."""
        self._faults = faults
        self._line.rate_bytes_per_s = faults.rate_bytes_per_s
        self._loss = BurstLoss(faults.loss_ratio, faults.loss_burst, self._random)
        # Neither the one that is held nor the one that overtakes it can be held next.
        self._hold_ratio = faults.reorder_ratio / (1 - faults.reorder_ratio)

    def admit(self, now_s: float, data: bytes, flow: Hashable = 0) -> Copies:
        """Return the copies of a datagram that are on their way; none where it is lost, or held for a while.

        ``flow`` is whose datagram it is: one is overtaken by the next of its own flow. What has been held
        comes behind the one that overtakes it, or else from :meth:`release`.
        """
        faults, counts = self._faults, self.counts
        counts.admitted += 1
        if faults.loss_ratio and self._loss.loses():
            counts.lost += 1
            return ()
        if self._line.wait_s(now_s) > QUEUE_S:
            counts.lost += 1
            counts.full += 1
            return ()
        copies = self._sent(now_s, data)
        if flow in self._held:
            _, behind = self._held.pop(flow)
            counts.reordered += 1
            last = copies[-1][0]
            return [*copies, *((max(due, last), held) for due, held in behind)]
        if self._hold_ratio and self._random.random() < self._hold_ratio:
            self._held[flow] = (now_s + HOLD_S, copies)
            return ()
        return copies

    def _sent(self, now_s: float, data: bytes) -> list[tuple[float, bytes]]:
        faults, counts, random = self._faults, self.counts, self._random
        if faults.corrupt_ratio and data and random.random() < faults.corrupt_ratio:
            data = with_bit_flipped(data, random.randrange(8 * len(data)))
            counts.corrupted += 1
        due = self._line.leave_s(now_s, len(data)) + travel_s(faults, random)
        if due > now_s:
            counts.delayed += 1
            counts.delayed_s += due - now_s
        if faults.duplicate_ratio and random.random() < faults.duplicate_ratio:
            counts.duplicated += 1
            return [(due, data), (due, data)]
        return [(due, data)]

    @property
    def release_at_s(self) -> float:
        """When :meth:`release` has something to return that nothing has overtaken; infinite: never."""
        return next(iter(self._held.values()))[0] if self._held else math.inf

    def release(self, now_s: float) -> list[tuple[Hashable, Copies]]:
        """Return, by flow, what has been held long enough: no successor came in :data:`HOLD_S`."""
        found: list[tuple[Hashable, Copies]] = []
        while self._held and self.release_at_s <= now_s:
            flow = next(iter(self._held))
            _, copies = self._held.pop(flow)
            found.append((flow, copies))
        return found
