"""A race: contestants under the same load, interleaved in short slices A B C A B C, round after round."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from sockscope.core.config.experiment import OWN
from sockscope.core.results.contest import Contest, Lap
from sockscope.engine.limits import descriptor_limit, descriptors_needed
from sockscope.errors import ConfigError, ResourceLimitError, SockscopeError
from sockscope.lab.lane import Lane
from sockscope.lab.ports import check_ports
from sockscope.lab.rounds import Rounds

STARTING_AT_ONCE = 2
"""Contestants that are started at the same time."""


class Race(Rounds):
    """Runs a contest and tells how it stands.

    ::

        race = Race(contest)
        async with aclosing(race.run()) as standings:
            async for standing in standings:
                ...

    All contestants are up during the whole race; outside of their slices their clients are paused.
    """

    def __init__(self, contest: Contest) -> None:
        super().__init__(contest)
        self._lanes: dict[str, Lane] = {}

    def _check(self) -> None:
        self.contest.validated()

    def _check_limits(self) -> None:
        check_descriptors(self.contest)
        check_ports(self.contest)

    async def _start(self) -> None:
        """Start everybody, a few at a time."""
        self._lanes = {one.name: Lane(one, self.contest) for one in self.contest.contestants}
        turn = asyncio.Semaphore(STARTING_AT_ONCE)

        async def start(lane: Lane) -> None:
            async with turn:
                if self._finishing.is_set():
                    return
                try:
                    await lane.start()
                except SockscopeError as error:
                    self._faults[lane.contestant.name] = _told(error)

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes.values():
                group.create_task(start(lane))

    def _turns(self) -> Iterator[tuple[int, str]]:
        return itertools.product(range(1, self.contest.rounds + 1), self._lanes)

    async def _measure(self, name: str) -> Lap:
        return await self._lanes[name].measure()

    def _partial(self, name: str) -> Lap | None:
        return self._lanes[name].partial()

    async def _close(self) -> None:
        lanes, self._lanes = self._lanes, {}
        # Those that one loop holds put its exception handler back in the reverse order.
        for name, lane in reversed(lanes.items()):
            try:
                await lane.stop()
            except SockscopeError as error:
                self._faults.setdefault(name, str(error))


def _told(error: SockscopeError) -> str:
    """Return what went wrong, without what the contestant is called by already."""
    if not isinstance(error, ConfigError):
        return str(error)
    return "; ".join(fault.why if fault.field in OWN else str(fault) for fault in error.faults)


def check_descriptors(contest: Contest) -> None:
    """Raise ResourceLimitError when the contestants that share this process need too many descriptors."""
    here = [
        c.experiment for c in contest.contestants if c.experiment.tuning.layout in ("loop", "server")
    ]  # fmt: skip
    needed = sum(descriptors_needed("both", experiment.tuning) for experiment in here)
    if needed > (limit := descriptor_limit()):
        raise ResourceLimitError(
            "descriptors",
            limit,
            f"{len(here)} contestants in this process need {needed:,} descriptors, but it may open "
            f"{limit:,}; use fewer clients, --place apart, or raise the limit first: ulimit -n {needed}",
        )
