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
    clients, length_s = known(report, "clients.running"), known(report, "duration_s")
    if not clients or not length_s:
        return Fared()
    answers, depth = known(report, "totals.responses"), known(report, "experiment.depth") or 1
    think_s, timeout_s = (
        known(report, f"experiment.{name}_s") or 0.0 for name in ("think_time", "request_timeout")
    )
    lost_s = (known(report, "totals.timeouts") or 0) * timeout_s
    each_s = clients * depth * length_s / answers - think_s if answers else None
    return Fared(each_s, lost_s / (clients * depth * length_s))
