"""Whether the percentiles of one of two runs look better than its clients fared."""

from __future__ import annotations

from sockscope.core.results.schema import Report, known
from sockscope.core.run.fared import Fared, flatters

PERCENTILES = "service_time_s."
"""What the names of the percentiles begin with."""


def flattered(a: Report, b: Report) -> int:
    """Return in which direction the percentiles of two runs are not to be believed: -1 that B has fewer
    seconds, 1 that it has more, 0 where they may be."""
    one, other = _seen(a), _seen(b)
    return -1 if flatters(one, other) else 1 if flatters(other, one) else 0


def _seen(report: Report) -> Fared:
    clients, asked = known(report, "clients.running"), report["experiment"]
    length_s, answers = known(report, "duration_s"), known(report, "totals.responses")
    if not clients or not length_s:
        return Fared()
    lost_s = (known(report, "totals.timeouts") or 0) * asked["request_timeout_s"]
    each_s = clients * asked["depth"] * length_s / answers - asked["think_time_s"] if answers else None
    return Fared(each_s, lost_s / (clients * length_s))
