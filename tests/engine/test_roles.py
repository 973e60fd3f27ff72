"""The table of roles: a third one runs wherever the others do, with nothing but an entry."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.snapshot import Cursors, RoleSnapshot
from sockscope.engine.engine import Engine
from sockscope.engine.placement.placed_role import NOTHING
from sockscope.engine.placement.placement import Placement
from sockscope.engine.role import ASKED, TOLD
from tests.engine import third_role
from tests.engine.runs import EVERYTHING, experiment
from tests.engine.third_role import PASSAGE
from tests.waiting import until
from tests.warm_children import children


@pytest.fixture
def a_third_role(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A passage is between server and clients, here and in children."""
    third_role.register()
    monkeypatch.setattr("sockscope.engine.placement.hosts.child_process.WORKER", third_role.__name__)
    yield
    third_role.unregister()


class Running:
    """A placement that runs, and what it told by itself."""

    def __init__(self, **values: Any) -> None:
        self.experiment = experiment(**values)
        self.tuning: Tuning = self.experiment.tuning
        self.troubles: list[tuple[str, bool]] = []
        self.placement = Placement(self.experiment, lambda *trouble: self.troubles.append(trouble))
        self._generation = 0

    async def start(self) -> None:
        await self.placement.start(self.tuning, ("127.0.0.1", self.experiment.port))

    async def tune(self, **changes: Any) -> None:
        self.tuning = replace(self.tuning, **changes)
        self._generation += 1
        await self.placement.apply(self.tuning, self._generation, ("127.0.0.1", self.experiment.port))

    async def read(self, name: str, cursors: Cursors = NOTHING) -> RoleSnapshot:
        await self.placement.settle()
        return self.placement.read(name, cursors)

    def swarm(self) -> RoleSnapshot:
        return self.placement.read(SWARM, NOTHING)

    async def answered(self, more: int = 50) -> None:
        """Wait for so many answers, and until every client has its connection, none of them an old one."""
        before = self.swarm().totals.responses
        await until(lambda: self.swarm().totals.responses >= before + more, what=f"{more} more answers")
        await until(lambda: (self.swarm().connections_open, self.swarm().rolling) == (self.tuning.clients, 0))

    async def both_ends_agree(self) -> None:
        """What clients and server count is the same, and it all went through the passage."""
        swarm, passage, server = [(await self.read(name)).totals for name in (SWARM, PASSAGE, SERVER)]
        assert swarm.requests == swarm.responses == server.requests == server.responses >= 100
        assert (swarm.errors, swarm.timeouts, server.errors) == (0, 0, 0)
        assert swarm.bytes_out == passage.bytes_in == server.bytes_in
        assert server.bytes_out == passage.bytes_out == swarm.bytes_in
        assert swarm.connections_opened == passage.connections_opened == server.connections_opened


@pytest.fixture
async def run(a_third_role: None) -> AsyncIterator[Running]:
    run = Running(clients=6)
    await run.start()
    yield run
    await run.placement.stop(10.0)
    assert children() == []


PROCESSES = {
    "loop": [],
    "child": ["server and passage and clients"],
    "server": ["server"],
    "apart": ["server", "passage", "clients"],
}


@pytest.mark.parametrize("place", PROCESSES)
async def test_a_third_role_runs_with_the_others_wherever_they_do(a_third_role: None, place: str) -> None:
    run = Running(clients=6, place=place)
    await run.start()
    await run.answered()
    await run.tune(clients=9)
    await run.answered()
    passage, swarm = await run.read(PASSAGE), await run.read(SWARM)
    assert (passage.role, passage.totals.writes) == (PASSAGE, 2)
    assert passage.address == swarm.address != (await run.read(SERVER)).address
    assert [use.name for use in run.placement.processes()] == PROCESSES[place]
    here = {"loop": ("server", "passage", "swarm"), "server": ("passage", "swarm")}
    assert run.placement.roles_here() == here.get(place, ())
    await run.placement.stop(10.0)
    await run.both_ends_agree()
    assert run.troubles == []


async def test_what_a_third_role_counts_and_tells_goes_along_from_place_to_place(run: Running) -> None:
    for number, place in enumerate(("child", "apart", "loop", "server", "child"), 1):
        await run.answered()
        await run.tune(place=place)
        await run.tune(clients=6 + number)
    await run.answered()
    assert (await run.read(PASSAGE)).totals.writes == 1 + 2 * 5
    await run.placement.stop(10.0)
    told = Counter(event.text for event in (await run.read(PASSAGE, EVERYTHING)).events)
    await run.both_ends_agree()
    # From the loop to a server in a process of its own is no change of place for it.
    assert told == {
        "the passage opens": 5,
        "the passage closes: replaced": 4,
        "the passage closes: stopped": 1,
    }
    assert run.troubles == []


async def test_a_third_role_is_told_what_all_are_told_and_answers_what_it_can(run: Running) -> None:
    for place in ("loop", "child"):
        await run.tune(place=place, clients=run.tuning.clients + 1)
        run.placement.pause(True)
        run.placement.hold(True)
        run.placement.hold(False)
        run.placement.pause(False)
        await run.answered()
        assert not await run.placement.close_connection(PASSAGE, 1)
        assert not run.placement.exhausted
        await until(lambda: run.placement.read(SWARM, EVERYTHING).exchanges)
        swarm = await run.read(SWARM, EVERYTHING)
        capture = await run.placement.capture(swarm.exchanges[-1].record_id)
        assert capture is not None
        assert capture.response == capture.request
        # The server saw it come from the passage.
        assert capture.server is None


async def test_an_engine_with_a_third_role_starts_pauses_and_stops(a_third_role: None) -> None:
    async with Engine(experiment(place="child", requests=200)) as engine:
        await engine.wait()
        await engine.settle()
        snapshot = engine.snapshot()
        assert list(snapshot.roles) == [SERVER, PASSAGE, SWARM]
        assert snapshot.main.totals.responses == snapshot.roles[SERVER].totals.responses == 200
        assert snapshot.roles[PASSAGE].totals.bytes_in == snapshot.main.totals.bytes_out
        assert snapshot.processes[1].roles == (SERVER, PASSAGE, SWARM)


async def test_a_third_role_that_is_killed_is_told_and_the_next_change_starts_it_anew(run: Running) -> None:
    await run.tune(place="apart")
    await run.answered()
    before = next(use for use in run.placement.processes() if use.name == PASSAGE)
    os.kill(before.pid, signal.SIGKILL)
    await until(lambda: run.troubles)
    assert run.troubles == [(f"passage process {before.pid} was killed (SIGKILL)", False)]
    await run.tune(clients=7)
    await until(lambda: {use.name: use.pid for use in run.placement.processes() if use.alive}.get(PASSAGE))
    assert (await run.read(PASSAGE)).totals.writes == 3
    await run.answered()
    assert run.swarm().address == (await run.read(PASSAGE)).address


def test_a_call_of_a_role_is_either_asked_or_told() -> None:
    assert not ASKED & TOLD
    assert {"start", "apply", "stop", "drain", "capture", "find_answer", "close_connection"} <= ASKED
    assert {"pause", "refill", "hold", "stall"} == TOLD
