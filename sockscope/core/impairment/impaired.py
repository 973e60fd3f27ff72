"""What has become of the data that faults were made of."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.run.adding import Cumulative


@dataclass(slots=True)
class Impaired:
    """What an impairer has done since it was made; the counts only grow.

    ``admitted`` are the datagrams, or the pieces of a stream as they were read. Of those some are ``lost``,
    ``full`` of them because they would have waited too long for their turn at the rate; all others pass,
    some with a second copy (``duplicated``). So copies = admitted - lost + duplicated. ``delayed`` are those
    that were due later than they came, by ``delayed_s`` seconds together (a piece is as late as the last one
    that is made of it). ``sliced`` counts the pieces that a stream was cut into, beyond those that came.
    """

    admitted: Cumulative[int] = 0
    lost: Cumulative[int] = 0
    full: Cumulative[int] = 0
    duplicated: Cumulative[int] = 0
    reordered: Cumulative[int] = 0
    corrupted: Cumulative[int] = 0
    delayed: Cumulative[int] = 0
    sliced: Cumulative[int] = 0
    stalled: Cumulative[int] = 0
    delayed_s: Cumulative[float] = 0.0

    @property
    def mean_delay_s(self) -> float:
        """By how much later than it came what passes is due, on average."""
        passed = self.admitted - self.lost
        return self.delayed_s / passed if passed else 0.0
