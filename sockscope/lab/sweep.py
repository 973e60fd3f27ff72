"""A sweep: one server and its clients, whose knobs are turned from step to step, round after round."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sockscope.core.config.fields import Subject
from sockscope.core.config.tuning import SPECS, Tuning
from sockscope.core.results.contest import Lap
from sockscope.core.results.design import Design
from sockscope.engine.limits import check_descriptors
from sockscope.errors import SockscopeError
from sockscope.lab.lane import Lane
from sockscope.lab.rounds import Rounds


class Sweep(Rounds):
    """Measures the steps of a design and tells how it stands.

    ::

        sweep = Sweep(design)
        async with aclosing(sweep.run()) as standings:
            async for standing in standings:
                print(curves(design, standing))

    There is one server, and one swarm. Odd rounds go from the first step to the last, even ones back, so that
    a machine that drifts drifts for all of them, and from step to step little is turned. What a change of
    tuning does not reach on open sockets begins anew for its step, and so does all where an open loop has
    left requests that wait: they are none of the next step's.
    """

    def __init__(self, design: Design) -> None:
        super().__init__(design.contest)
        self.design = design
        self._lane: Lane | None = None
        self._in_force: Tuning | None = None

    def _check(self) -> None:
        self.design.validated()

    def _check_limits(self) -> None:
        for one in self.contest.contestants:
            check_descriptors(one.experiment, one.experiment.tuning)

    async def _start(self) -> None:
        """Nothing is up before the first step."""

    def _turns(self) -> Iterator[tuple[int, str]]:
        names = [one.name for one in self.contest.contestants]
        for number in range(1, self.contest.rounds + 1):
            yield from itertools.product([number], names if number % 2 else reversed(names))

    async def _measure(self, name: str) -> Lap:
        try:
            lane = await self._lane_of(name)
            return await lane.measure()
        except SockscopeError:
            await self._close()
            raise

    async def _lane_of(self, name: str) -> Lane:
        """Return the lane, tuned to a step."""
        one = next(one for one in self.contest.contestants if one.name == name)
        tuning = one.experiment.tuning
        lane, before = self._lane, self._in_force
        if lane is not None and before is not None and lane.is_drained and not _begins_anew(before, tuning):
            await lane.turn(tuning)
            self._in_force = tuning
            return lane
        await self._close()
        self._lane = Lane(one, self.contest)
        await self._lane.start()
        self._in_force = tuning
        return self._lane

    def _partial(self, name: str) -> Lap | None:
        return None if self._lane is None else self._lane.partial()

    async def _close(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            await lane.stop()


def _begins_anew(before: Tuning, after: Tuning) -> bool:
    """Tell whether a change takes new sockets, or other processes."""
    placed = any(SPECS[name].subject is Subject.PLACEMENT for name in before.changes_to(after))
    return placed or before.needs_new_sockets(after)
