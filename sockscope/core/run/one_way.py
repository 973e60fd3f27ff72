"""Times between two processes, each of which has a clock of its own."""

from __future__ import annotations


def one_way_s(sent_s: float, received_s: float, clock_error_s: float) -> float | None:
    """Return how long something was on its way from one process to the other; None where that is not known.

    Both moments are on our clock, and may be off against each other by ``clock_error_s`` at most: what is
    below that may as well be nothing. On one clock, where that is 0, every time is known.
    """
    took_s = received_s - sent_s
    return None if clock_error_s and took_s < clock_error_s else took_s
