"""How old the requests of a swarm are that have no answer yet.

To go through thousands of clients, which lie all over the memory, takes a loop milliseconds: of a large swarm
a part is looked at, another one each time, and stands for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from operator import add

from sockscope.core.histogram import Histogram
from sockscope.engine.stopwatch import PausedTime
from sockscope.engine.swarm.client import Client
from sockscope.engine.swarm.pacing.open import Arrivals
from sockscope.engine.swarm.pool import Pool

LOOKED_AT_ONCE = 512
"""Clients, and requests in the queue, that are looked at for one snapshot."""


class AwaitedLooks:
    """The ages of what is under way, of what is queued and of who waits, each time somebody asks."""

    def __init__(self) -> None:
        self._next = 0

    def ages(
        self, clients: Mapping[int, Client], pool: Pool, arrivals: Arrivals, clock: PausedTime, now_s: float
    ) -> tuple[Histogram, Histogram]:
        """Return the ages since requests were sent, and those since they were due or their client wanted
        to ask, with what is queued and with clients that still wait: for a permit, a place, or in the pool.

        ``clock`` is the one by which clients wait.
        """
        count = len(clients)
        start = self._next if self._next < count else 0
        self._next = start + LOOKED_AT_ONCE
        looked = list(islice(clients.values(), start, self._next))
        under_way = [request for client in looked for request in client.link.awaited()]
        each = count / max(len(looked), 1)
        # A thread may have sent one since.
        ages_s = [max(now_s - sent_s, 0.0) for sent_s, _ in under_way]
        waits_s = [waited_s for _, waited_s in under_way]
        sent = since_wanted = _counted(ages_s, each)
        if any(waits_s):
            since_wanted = _counted(map(add, ages_s, waits_s), each)
        clock_s = clock.at(now_s)
        waiting = [since_s for client in looked if (since_s := client.pacer.wanted_since_s)]
        if waiting:
            since_wanted += _counted((max(clock_s - since_s, 0.0) for since_s in waiting), each)
        if pool.waiting:
            since_wanted += _counted(*pool.ages_s(clock_s, LOOKED_AT_ONCE))
        return sent, since_wanted + _counted(*arrivals.ages_s(LOOKED_AT_ONCE))


def _counted(ages_s: Iterable[float], each: float) -> Histogram:
    """Return durations of which each stands for so many."""
    found = Histogram()
    found.add_all(ages_s)
    if each > 1:
        return Histogram({bucket: round(number * each) for bucket, number in found.counts.items()})
    return found
