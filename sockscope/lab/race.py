"""A race: contestants under the same load, interleaved in short slices A B C A B C, round after round."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from time import perf_counter

from sockscope.core.results.contest import Contest, Lap
from sockscope.core.results.standing import Standing
from sockscope.engine.limits import descriptor_limit, descriptors_needed, raise_descriptor_limit
from sockscope.errors import ResourceLimitError, SockscopeError
from sockscope.lab.lane import Lane
from sockscope.lab.ports import check_ports

TICK_S = 0.25
"""How often a slice that is being measured is told of."""
STARTING_AT_ONCE = 2


class Race:
    """Runs a contest and tells how it stands.

    ::

        race = Race(contest)
        async with aclosing(race.run()) as standings:
            async for standing in standings:
                ...

    All contestants are up during the whole race; outside of their slices their clients are paused. A
    contestant that fails is recorded in ``Standing.faults``, and the others go on.
    """

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self._lanes: list[Lane] = []
        self._laps: dict[str, tuple[Lap, ...]] = {c.name: () for c in contest.contestants}
        self._took_s: dict[str, list[float]] = {c.name: [] for c in contest.contestants}
        self._faults: dict[str, str] = {}
        self._finishing = asyncio.Event()
        self._started_s = 0.0

    async def run(self) -> AsyncGenerator[Standing, None]:
        """Yield how the race stands, several times a second; the last one is the result.

        Raises ConfigError, or ResourceLimitError when this machine cannot hold all contestants. When the
        iterator is closed or its task cancelled, everything that the race opened is closed.
        """
        self.contest.validated()
        raise_descriptor_limit()
        check_descriptors(self.contest)
        check_ports(self.contest)
        self._started_s = perf_counter()
        loop = asyncio.get_running_loop()
        exception_handler = loop.get_exception_handler()
        try:
            yield self._standing()
            await self._start()
            for number in range(1, self.contest.rounds + 1):
                for lane in self._lanes:
                    if self._finishing.is_set():
                        break
                    if lane.contestant.name not in self._faults:
                        async for standing in self._slice(lane, number):
                            yield standing
        finally:
            await self._close()
            # Each engine puts back what it found, which may be another engine's.
            loop.set_exception_handler(exception_handler)
        yield self._standing(finished=True)

    async def result(self) -> Standing:
        """Run the race to its end, and return how it ended; raises what :meth:`run` raises."""
        async with aclosing(self.run()) as standings:
            return [standing async for standing in standings][-1]

    def finish(self) -> None:
        """End the race now, leaving out the slice that is being measured."""
        self._finishing.set()

    async def _start(self) -> None:
        """Start everybody, a few at a time."""
        self._lanes = [Lane(contestant, self.contest) for contestant in self.contest.contestants]
        turn = asyncio.Semaphore(STARTING_AT_ONCE)

        async def start(lane: Lane) -> None:
            async with turn:
                if self._finishing.is_set():
                    return
                try:
                    await lane.start()
                except SockscopeError as error:
                    self._faults[lane.contestant.name] = str(error)

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(start(lane))

    async def _slice(self, lane: Lane, number: int) -> AsyncGenerator[Standing, None]:
        """Measure one slice; yield how the race stands meanwhile and afterwards."""
        name, began_s = lane.contestant.name, perf_counter()
        measuring = asyncio.ensure_future(lane.measure())
        finishing = asyncio.ensure_future(self._finishing.wait())
        try:
            while not measuring.done() and not finishing.done():
                yield self._standing(name, number, lane.partial(), perf_counter() - began_s)
                await asyncio.wait(
                    {measuring, finishing}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED
                )
            if measuring.done():
                try:
                    self._laps[name] += (measuring.result(),)
                    self._took_s[name].append(perf_counter() - began_s)
                except SockscopeError as error:
                    self._faults[name] = str(error)
                yield self._standing(name, number)
        finally:
            for task in (measuring, finishing):
                task.cancel()
            await asyncio.wait({measuring, finishing})
            if not measuring.cancelled():
                # A failure after the race was ended has nobody to be told to.
                with suppress(SockscopeError):
                    measuring.result()

    async def _close(self) -> None:
        lanes, self._lanes = self._lanes, []
        # Those that one loop holds put its exception handler back in the reverse order.
        for lane in reversed(lanes):
            try:
                await lane.stop()
            except SockscopeError as error:
                self._faults.setdefault(lane.contestant.name, str(error))

    # Telling.

    def _standing(
        self,
        running: str = "",
        number: int = 0,
        partial: Lap | None = None,
        in_slice_s: float = 0.0,
        *,
        finished: bool = False,
    ) -> Standing:
        return Standing(
            contest=self.contest,
            laps=dict(self._laps),
            faults=dict(self._faults),
            running=running,
            round=number,
            partial=partial,
            elapsed_s=perf_counter() - self._started_s,
            time_left_s=0.0 if finished else self._time_left_s(in_slice_s),
            finished=finished,
            cut_short=finished and self._finishing.is_set(),
        )

    def _time_left_s(self, in_slice_s: float) -> float | None:
        """Return what the slices to come will take, as those so far did; None while that is not known."""
        left_s = -in_slice_s
        for name, laps in self._laps.items():
            slices = self.contest.rounds - len(laps)
            if name in self._faults or not slices:
                continue
            each_s = self._slice_s(name)
            if each_s is None:
                return None
            left_s += slices * each_s
        return max(0.0, left_s)

    def _slice_s(self, name: str) -> float | None:
        if took := self._took_s[name]:
            return sum(took) / len(took)
        return None if self.contest.requests else self.contest.warmup_s + self.contest.slice_s


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
