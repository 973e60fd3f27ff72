"""What a closed loop leaves out: the requests that its clients would have made while they waited.

A client that waits asks nothing, so the longer an answer takes the fewer requests there are to take as long
(coordinated omission). HdrHistogram's correction for an expected interval puts them back
(``copyCorrectedForCoordinatedOmission``): a client that asks every ``interval_s`` seconds and waits for ``v``
would meanwhile have made requests that wait for ``v - interval_s``, ``v - 2 interval_s``, and so on, down to
the interval itself. It is an estimate: every client is taken to ask evenly, and that these requests would
have queued up at the server, each behind the others, is left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import floor

from sockscope.core.censoring import Ages
from sockscope.core.histogram import Histogram, bucket_of, lower_edge_s, upper_edge_s
from sockscope.core.run.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Omission:
    """Latencies as a closed loop has measured them and as an open loop would have, at the same rate.

    ``interval_s`` is the time from one request of a client to its next, ``rate_per_s`` how many all of them
    make in a second. ``omitted`` requests were not made.
    """

    interval_s: float
    rate_per_s: float
    measured: tuple[Histogram, Ages]
    estimated: tuple[Histogram, Ages]
    omitted: int


def omission(window: Snapshot, rate_per_s: float) -> Omission | None:
    """Return what the clients of a closed loop left out in a window; None where there were none.

    ``rate_per_s`` is how many requests they make when nothing keeps them from it. The mean of a window in
    which something did is less, and would leave out too few.
    """
    role = window.main
    if window.swarm is None or window.tuning.rate or rate_per_s <= 0 or not role.clients:
        return None
    interval_s = role.clients / rate_per_s
    answered, unanswered = role.response_time, role.response_unanswered
    more, older = _omitted(answered, interval_s), _omitted_ages(unanswered, interval_s)
    return Omission(
        interval_s,
        rate_per_s,
        (answered, unanswered),
        (answered + more, unanswered + older),
        more.total + older.total,
    )


def _omitted(answered: Histogram, interval_s: float) -> Histogram:
    found: Counter[int] = Counter()
    for bucket, count in answered.counts.items():
        # As the histogram answers: no latency is told to be shorter than it was.
        for reached, times in _multiples(upper_edge_s(bucket), interval_s).items():
            found[reached] += count * times
    return Histogram(found)


def _omitted_ages(unanswered: Ages, interval_s: float) -> Ages:
    found: Counter[float] = Counter()
    for age_s, count in unanswered.counts.items():
        for reached, times in _multiples(age_s, interval_s).items():
            found[lower_edge_s(reached)] += count * times
    return Ages(found)


def _multiples(seconds: float, interval_s: float) -> dict[int, int]:
    """Return how many of ``seconds - n interval_s`` (n = 1, 2, ...) are in which bucket, to the interval.

    Bucket by bucket, so that the time it takes does not grow with their number.
    """
    found: dict[int, int] = {}
    last = floor(seconds / interval_s + 1e-9) - 1
    done = 0
    while done < last:
        bucket = bucket_of(max(seconds - (done + 1) * interval_s, 0.0))
        # Those whose rest is not below the lower edge of the bucket.
        reached = min(last, floor((seconds - lower_edge_s(bucket)) / interval_s + 1e-9))
        reached = max(reached, done + 1)
        found[bucket] = found.get(bucket, 0) + reached - done
        done = reached
    return found
