"""A lesson in the dashboard: its steps act on the session's run, or ask for another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sockscope.core.config.experiment import FIELDS_BY_ATTRIBUTE, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import RunState, Snapshot
from sockscope.errors import EngineError, SockscopeError
from sockscope.faces.tui.session import Session
from sockscope.lab.lessons.telling import Telling

APPLYING_S = 0.02
"""How often it is looked whether a tuning is in force."""


class SessionStage:
    """The run of a session, as a step of a lesson acts on it: what it tunes, the knobs show."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def experiment(self) -> Experiment:
        """What was fixed before the run began."""
        return self._session.experiment

    @property
    def tuning(self) -> Tuning:
        """The tuning in force."""
        return self._session.source.tuning

    @property
    def state(self) -> RunState:
        """Where in its life the run is."""
        return self._session.source.state

    @property
    def error(self) -> str:
        """Why the run has failed; empty otherwise."""
        return self._session.source.error

    async def apply(self, tuning: Tuning) -> None:
        """Change to ``tuning`` as somebody at the knobs would; raises EngineError when it is refused."""
        tuner = self._session.tuner
        changed = tuner.requested.changes_to(tuning).items()
        tuner.set({FIELDS_BY_ATTRIBUTE[name].spec.key: value for name, (_, value) in changed})
        while tuner.is_applying:
            await asyncio.sleep(APPLYING_S)
        if self._session.source.tuning != tuning:
            raise EngineError("the change was refused")

    def stall(self) -> None:
        """Let the server stand still for a while."""
        self._session.source.stall()

    async def settle(self) -> None:
        """Bring what is known up to this moment."""
        await self._session.source.settle()

    def snapshot(self) -> Snapshot:
        """Return everything at this moment."""
        return self._session.source.snapshot()


class Teaching:
    """Carries out what a :class:`Telling` says; ``begin_run`` begins another run, in which it goes on."""

    def __init__(self, telling: Telling, session: Session, begin_run: Callable[[Experiment], None]) -> None:
        self.telling = telling
        self._session = session
        self._begin_run = begin_run

    async def perform(self) -> None:
        """Carry out the step, in the run that it needs; raises ConfigError where that is not possible."""
        telling = self.telling
        if telling.needs_run:
            experiment = telling.lesson.experiment_of(telling.lesson.run_of(telling.step))
            telling.begin()
            self._begin_run(experiment)
            return
        telling.begin()
        await self.carry_on()

    async def carry_on(self) -> None:
        """Carry out the step in this run, which begins for it or goes on; it is seen with its figures."""
        telling = self.telling
        if telling.lesson.experiment is None:
            telling.show(await telling.walk.take(telling.step, None))
            return
        await self._session.begun()
        seen = await telling.walk.take(telling.step, SessionStage(self._session))
        await self._session.caught_up()
        telling.show(seen)

    def say(self, error: SockscopeError) -> None:
        """Say what is not possible."""
        self._session.say(str(error), "error")
