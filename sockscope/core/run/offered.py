"""Rules of the verdict for an open loop: whether its rate is reached, and whether its generator keeps it."""

from __future__ import annotations

import math

from sockscope.core import units
from sockscope.core.run.evidence import HALF, RECORDER, TUNING, Finding, Seen, first, share
from sockscope.core.run.kinds import Kind
from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.core.run.used_up import cpu, held_up, machine, stuck

SHORT_RATIO = 0.95
"""A rate of which fewer are answered, beside what arrivals at random scatter by, is not reached."""
LATE_S, LATE_RATIO = 0.002, 0.1
"""A generator whose p99 of lateness is above both, the latter of the median service time, is the limit. The
response time would not do: what a generator is late by is in it."""
QUEUED_RATIO = 0.05
"""More than this share of what was due still waits in the queue: answers do not keep up, or did not."""


def most_late_s(service_p50_s: float | None) -> float:
    """Return the lateness that the p99 of a generator may have; beyond, it is the limit itself."""
    return max(LATE_S, LATE_RATIO * (service_p50_s or 0.0))


def lateness_of(swarm: RoleSnapshot) -> tuple[float | None, float]:
    """Return the p99 of the lateness of a generator, and what it may be: by the median of the answers."""
    return swarm.schedule_lateness.percentile(0.99), most_late_s(swarm.service_time.percentile(0.5))


def least_answered(due: float) -> float:
    """Return how many of so many requests that were due have to be answered for their rate to be reached."""
    return SHORT_RATIO * due - 4 * math.sqrt(due)


def generator(seen: Seen) -> Finding | None:
    """The generator of an open loop is late itself: the requests do not go out when they are due."""
    swarm, rate = seen.window.swarm, seen.window.tuning.rate
    if swarm is None or not rate or not swarm.schedule_lateness.total:
        return None
    late_s, most_s = lateness_of(swarm)
    seen.note("rate asked for", rate, "per_s", TUNING)
    if not seen.at_least("schedule lateness, p99", late_s, "s", most_s, f"{RECORDER}, due against sent"):
        return None
    told = (
        f"the generator itself is late: p99 {units.format_duration(late_s)} behind the schedule, more than "
        f"{units.format_duration(most_s)}; rate and response times are not those of {rate:,}/s"
    )
    # What holds up the loop of a server now and then holds up a generator that is in the same process.
    now_and_then = (held_up,) if len(seen.serving) == 1 else ()
    cause = first(seen, (cpu, stuck, machine, *now_and_then))
    return Finding(Kind.GENERATOR_BOUND, "; ".join([told, *([cause.sentence] if cause else [])]))


def rate_reached(seen: Seen) -> Finding | None:
    """All that is offered is answered: nothing limits but the rate."""
    swarm, rate = seen.window.swarm, seen.window.tuning.rate
    if swarm is None or not rate or not swarm.totals.requests_due:
        return None
    due, answered = swarm.totals.requests_due, swarm.totals.responses
    seen.note("rate asked for", rate, "per_s", TUNING)
    # Of few, the scatter alone would allow for none.
    least = max(least_answered(due), HALF * due)
    if not seen.at_least("requests answered, of those due", answered, "count", least, RECORDER):
        return None
    if not seen.below(
        "requests dropped by the generator", swarm.totals.requests_dropped, "count", 1, RECORDER
    ):
        return None
    most = max(QUEUED_RATIO * due, 1.0) + 1
    if not seen.below("requests due that wait to be sent", swarm.queued, "count", most, RECORDER):
        return None
    busiest = max(seen.serving, key=lambda process: process.wanted_ratio or 0.0, default=None)
    per_s = units.format_count(seen.figures.requests_per_s)
    told = [f"the offered rate of {rate:,} per second is reached: {per_s} are answered"]
    least = least_answered(rate * seen.window.measured_s)
    if not seen.at_least("requests due, of those of the rate and the time", due, "count", least, RECORDER):
        told = [
            f"what was due is answered, {per_s} per second: less than the rate of {rate:,} per second, which "
            "was not offered all the time"
        ]
    told += [share(busiest)] if busiest is not None else []
    return Finding(Kind.OFFERED_RATE, "; ".join([*told, "a higher rate (--rate) would find a limit"]))
