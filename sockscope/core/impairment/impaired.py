"""What has become of the data that faults were made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Impaired:
    """What an impairer has done since it was made; the counts only grow.

    ``admitted`` are the datagrams, or the pieces of a stream as they were read. Of those some are ``lost``,
    ``full`` of them because they would have waited too long for their turn at the rate; all others pass,
    some with a second copy (``duplicated``). So copies = admitted - lost + duplicated. ``delayed`` are those
    that were due later than they came. ``sliced`` counts the pieces that a stream was cut into, beyond
    those that came.
    """

    admitted: int = 0
    lost: int = 0
    full: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    delayed: int = 0
    sliced: int = 0
    stalled: int = 0
