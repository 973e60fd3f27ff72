"""Whether percentiles look better than clients fare.

They have the requests that were answered, from their write on. But a client waits before that, too, and one
of many that is answered at once makes more requests than all that wait for a timeout.
"""

from __future__ import annotations

from typing import NamedTuple

UNANSWERED_RATIO = 0.5
"""From this share of their time on, requests without an answer are what clients do."""
LONGER_RATIO = 1.05
"""From this ratio on, clients wait longer."""


class Fared(NamedTuple):
    """How clients fare; None is not known, infinite that nobody was answered.

    ``response_s`` is how long a client waits for an answer on average, all waits included, by the response
    time law (clients / rate - time to think; Lazowska et al., *Quantitative System Performance*, 3.5),
    ``unanswered_ratio`` the share of the clients' time that went to requests without an answer; those of one
    turn (pipelining) are under way at the same time.
    """

    response_s: float | None = None
    unanswered_ratio: float | None = None


def flatters(before: Fared, after: Fared) -> bool:
    """Tell whether percentiles of the service time may have fallen although clients fare no better."""
    lost = after.unanswered_ratio or 0.0
    if lost >= max(UNANSWERED_RATIO, before.unanswered_ratio or 0.0):
        return True
    if before.response_s is None or after.response_s is None:
        return False
    return after.response_s > LONGER_RATIO * before.response_s
