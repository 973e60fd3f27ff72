"""A check of the figures on themselves: does the time of the clients add up?

By Little's law clients / rate is the mean time from one request of a client to its next: its service time,
and what it waits and thinks. If what was recorded as that does not fill the time for which the connections
were there, requests have waited where no clock ran, and the latency that is told is too small.
"""

from __future__ import annotations

from sockscope.core.run.snapshot import Snapshot

UNEXPLAINED_RATIO = 0.85
"""Below this share the latency is told to be too small."""
CYCLES = 10
"""A window must be so many times as long as a request: at its edges requests are in it in part."""


def accounted_ratio(window: Snapshot) -> float | None:
    """Return the share of the time of all connections that service times and waits make up; 1 = all of it.

    None where that cannot be told: no request has ended, requests overlap on a connection (pipelining, an
    open loop over UDP), or the window is short against a request.
    """
    swarm = window.swarm
    tuning = window.tuning
    overlap = tuning.depth > 1 or (tuning.rate and tuning.transport == "udp")
    if swarm is None or not swarm.connected_s or overlap:
        return None
    ended = swarm.service_time.total + swarm.unanswered.total
    if not ended:
        return None
    service_s = (swarm.service_time.mean_s or 0.0) * swarm.service_time.total + swarm.unanswered.sum_s
    if service_s / ended * CYCLES > window.measured_s + window.paused_s:
        return None
    return (service_s + swarm.idle_s) / swarm.connected_s


def warning(window: Snapshot) -> str:
    """Return in words that the time of the clients does not add up, or nothing."""
    ratio = accounted_ratio(window)
    if ratio is None or ratio >= UNEXPLAINED_RATIO:
        return ""
    return f"! latency too small: service and waits are {ratio:.0%} of the clients' time".replace("%", " %")
