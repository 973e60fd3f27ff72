"""What is measured in slices that take turns, round after round: a race, a sweep."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from time import perf_counter

from sockscope.core.config.cluster import CLUSTER
from sockscope.core.results.contest import Contest, Lap
from sockscope.core.results.standing import Standing
from sockscope.engine.limits import raise_descriptor_limit
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.engine.placement.cluster.joining import joined
from sockscope.errors import SockscopeError, TargetGoneError

TICK_S = 0.25
"""How often a slice that is being measured is told of."""


class Rounds(ABC):
    """Measures the contestants of a contest in turn, and tells how it stands.

    A contestant that fails is recorded in ``Standing.faults``, and the others go on; without a target none
    can (``Standing.failure``).
    """

    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self._laps: dict[str, tuple[Lap, ...]] = {}
        self._took_s: dict[str, list[float]] = {}
        self._take(contest)
        self._faults: dict[str, str] = {}
        self._failure = ""
        self._finishing = asyncio.Event()
        self._clusters: list[Cluster] = []
        self._started_s = 0.0

    async def run(self) -> AsyncGenerator[Standing, None]:
        """Yield how it stands, several times a second; the last one is the result.

        Raises ConfigError, ResourceLimitError when this machine cannot hold it, or EngineError when its
        cluster cannot be reached. When the iterator is closed or its task cancelled, everything that was
        opened is closed.
        """
        self._check()
        raise_descriptor_limit()
        self._check_limits()
        self._started_s = perf_counter()
        loop = asyncio.get_running_loop()
        exception_handler = loop.get_exception_handler()
        try:
            yield self._standing()
            await self._reach_clusters()
            await self._start()
            for number, name in self._turns():
                if self._finishing.is_set():
                    break
                if name not in self._faults:
                    async for standing in self._slice(name, number):
                        yield standing
        finally:
            try:
                await self._close()
            finally:
                for cluster in self._clusters:
                    await cluster.leave()
            # Each engine restores the handler that it found, which may be another engine's.
            loop.set_exception_handler(exception_handler)
        yield self._standing(finished=True)

    async def _reach_clusters(self) -> None:
        """Reach the cluster of the contestants once, for all of them; raises EngineError."""
        for one in self.contest.contestants:
            if one.experiment.tuning.layout == CLUSTER:
                self._clusters.append(await joined(one.experiment))

    def _take(self, contest: Contest) -> None:
        """Go on with a contest that has these contestants, and maybe more than before."""
        self.contest = contest
        for one in contest.contestants:
            self._laps.setdefault(one.name, ())
            self._took_s.setdefault(one.name, [])

    def _to_come(self) -> int | None:
        """Return how many slices there are to come where what has been measured decides it."""
        return None

    async def result(self) -> Standing:
        """Run it to its end, and return how it ended; raises what :meth:`run` raises."""
        async with aclosing(self.run()) as standings:
            return [standing async for standing in standings][-1]

    def finish(self) -> None:
        """End it now, leaving out the slice that is being measured."""
        self._finishing.set()

    # What a kind of it does in its own way.

    @abstractmethod
    def _check(self) -> None:
        """Raise ConfigError where something is wrong with what is asked."""

    @abstractmethod
    def _check_limits(self) -> None:
        """Raise ResourceLimitError where this machine cannot hold it."""

    @abstractmethod
    async def _start(self) -> None:
        """Start what is to be measured."""

    @abstractmethod
    def _turns(self) -> Iterator[tuple[int, str]]:
        """Yield the number of the round (from 1) and whose turn it is; asked when the one before is over."""

    @abstractmethod
    async def _measure(self, name: str) -> Lap:
        """Measure one slice; raises SockscopeError."""

    @abstractmethod
    def _partial(self, name: str) -> Lap | None:
        """Return the figures of the slice that is being measured, so far."""

    @abstractmethod
    async def _close(self) -> None:
        """Close everything."""

    async def _slice(self, name: str, number: int) -> AsyncGenerator[Standing, None]:
        """Measure one slice; yield how it stands meanwhile and afterwards."""
        began_s = perf_counter()
        measuring = asyncio.ensure_future(self._measure(name))
        finishing = asyncio.ensure_future(self._finishing.wait())
        try:
            while not measuring.done() and not finishing.done():
                yield self._standing(name, number, self._partial(name), perf_counter() - began_s)
                await asyncio.wait(
                    {measuring, finishing}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED
                )
            if measuring.done():
                try:
                    self._laps[name] += (measuring.result(),)
                    self._took_s[name].append(perf_counter() - began_s)
                except TargetGoneError as error:
                    self._failure = f"{name} could not be measured: {error}"
                    self.finish()
                except SockscopeError as error:
                    self._faults[name] = str(error)
                yield self._standing(name, number)
        finally:
            for task in (measuring, finishing):
                task.cancel()
            await asyncio.wait({measuring, finishing})
            if not measuring.cancelled():
                # A failure after the end was asked for has nobody to be told to.
                with suppress(SockscopeError):
                    measuring.result()

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
            failure=self._failure,
            running=running,
            round=number,
            partial=partial,
            elapsed_s=perf_counter() - self._started_s,
            time_left_s=0.0 if finished else self._time_left_s(in_slice_s),
            finished=finished,
            cut_short=finished and self._finishing.is_set(),
            to_come=self._to_come(),
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
