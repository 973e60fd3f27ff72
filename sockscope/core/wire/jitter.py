"""The interarrival jitter of RFC 3550, sections 6.4.1 and A.8."""

from __future__ import annotations

GAIN = 1 / 16
"""How much of what is new goes into the estimate: noise is reduced, and changes are still followed."""


def jitter_after(jitter_s: float, transit_before_s: float, transit_s: float) -> float:
    """Return the estimate after one more datagram of a stream, in seconds.

    J(i) = J(i-1) + (|D(i-1,i)| - J(i-1)) / 16, where D is the difference of two transit times, arrival less
    sending: D(i,j) = (Rj - Sj) - (Ri - Si).
    """
    return jitter_s + (abs(transit_s - transit_before_s) - jitter_s) * GAIN
