"""The running loop as a host: its roles are called directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.run.snapshot import Cursors, ProcessUse
from sockscope.core.run.tasks import Cancelled, CancelOutcome
from sockscope.engine.placement.hosts.host import ANSWER_S, DeathHandler, ReportHandler, TroubleHandler
from sockscope.engine.role import Role
from sockscope.engine.roles import ROLE_KINDS


class LoopHost:
    """Hosts roles on the loop that it is made on. It cannot fail by itself, and has nothing to report:
    its roles are read where they are."""

    alive = True
    machine = ""
    clock_offset_s = clock_error_s = 0.0

    def __init__(
        self,
        experiment: Experiment,
        roles: tuple[str, ...],
        index: int,
        on_trouble: TroubleHandler,
        on_death: DeathHandler,
    ) -> None:
        self._experiment = experiment
        self._names = roles
        self._roles: dict[str, Role] = {}

    async def start(self) -> None:
        """Make the roles."""
        self._roles = {name: ROLE_KINDS[name].make(self._experiment) for name in self._names}

    def local(self, role: str) -> Role | None:
        """Return the role."""
        return self._roles[role]

    async def ask(self, role: str, method: str, *arguments: Any, within_s: float = ANSWER_S) -> Any:
        """Await the method, however long it takes: a loop that is held up cannot tell."""
        return await getattr(self._roles[role], method)(*arguments)

    def tell(self, role: str, method: str, *arguments: Any) -> None:
        """Call the method."""
        getattr(self._roles[role], method)(*arguments)

    def attend(self, role: str, cursors_of: Callable[[], Cursors], on_report: ReportHandler) -> None:
        """Nothing to do: see :meth:`local`."""

    def note_reader(self) -> None:
        """Nothing to do: see :meth:`local`."""

    async def refresh(self) -> None:
        """Nothing to do: see :meth:`local`."""

    def exhausted(self, role: str) -> bool:
        """Ask the role."""
        return self._roles[role].exhausted

    def rest(self, resting: bool) -> None:
        """Nothing to do: it does nothing that is not asked for."""

    def beat(self, beating: bool) -> None:
        """Nothing to do: whose loop this is measures it."""

    def look(self, lens: bool) -> None:
        """Nothing to do: whose loop this is looks into it."""

    async def cancel_task(self, task: int) -> Cancelled:
        """Nothing to do: whose loop this is does it."""
        return Cancelled(CancelOutcome.GONE, f"task {task}")

    async def release(self, role: str) -> None:
        """Nothing to do: the loop goes on."""

    async def end(self) -> None:
        """Nothing to do: the loop goes on."""

    def kill(self) -> None:
        """Nothing to do: the loop goes on."""

    def use(self) -> ProcessUse | None:
        """Return None: the engine tells of its own process."""
        return None
