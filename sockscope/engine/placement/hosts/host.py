"""What a placement needs of a host, be it this loop or a child process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sockscope.core.config.experiment import Experiment
from sockscope.core.run.snapshot import Cursors, ProcessUse, RoleSnapshot
from sockscope.core.run.tasks import Cancelled
from sockscope.engine.role import Role

RUNNING = "running"
"""State of the process of a host that answers."""
SILENT_S = 1.0
"""A host that has not answered for so long is said to be silent: something holds up its loop."""
START_S = 20.0
"""How long a host may take until its first answer."""
ANSWER_S = 5.0
"""How long it may take for any other answer that the run depends on."""

ReportHandler = Callable[[Cursors, RoleSnapshot], None]
"""Gets what a host reports of a role, and what it was asked to report."""
TroubleHandler = Callable[[str, bool], None]
"""Gets a sentence about what went wrong by itself, and whether that ends the run."""


class Host(Protocol):
    """Where roles of a run, or parts of them, run.

    It makes its roles when it starts, and ends when the last of them is released. Roles are called by the
    names of their methods: ``ask`` waits for what the method returns, ``tell`` does not.
    """

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        ...

    @property
    def machine(self) -> str:
        """The machine that it is on, if that is another one."""
        ...

    @property
    def clock_offset_s(self) -> float:
        """Seconds to add to a time of its monotonic clock to get the time of ours."""
        ...

    @property
    def clock_error_s(self) -> float:
        """How far that may be off."""
        ...

    async def start(self) -> None:
        """Come up with its roles, which are yet to be started; raise EngineError when that cannot be."""
        ...

    def local(self, role: str) -> Role | None:
        """Return the role itself if it runs on this loop, where its figures can be read at once."""
        ...

    async def ask(self, role: str, method: str, *arguments: Any, within_s: float = ANSWER_S) -> Any:
        """Call a method of a role and return what it returned.

        Raises what the method raised, and EngineError when no answer comes within ``within_s`` or the host
        has ended.
        """
        ...

    def tell(self, role: str, method: str, *arguments: Any) -> None:
        """Call a method of a role that returns nothing."""
        ...

    def attend(self, role: str, cursors_of: Callable[[], Cursors], on_report: ReportHandler) -> None:
        """Ask for reports of a role from now on: for what ``cursors_of`` returns each time."""
        ...

    def note_reader(self) -> None:
        """Somebody has read what was reported: report more often for a while."""
        ...

    async def refresh(self) -> None:
        """Wait for a report of this moment; return without one when the host does not answer in time."""
        ...

    def exhausted(self, role: str) -> bool:
        """Tell whether a role has spent its budget of requests."""
        ...

    def rest(self, resting: bool) -> None:
        """Suspend or resume reports: nobody looks at the run while it rests."""
        ...

    def beat(self, beating: bool) -> None:
        """Measure how late the loop of its process is, or do without: it takes a hundredth of a core."""
        ...

    def look(self, lens: bool) -> None:
        """Switch the lens on the loop of its process on or off."""
        ...

    async def cancel_task(self, task: int) -> Cancelled:
        """Cancel a task of own code on the loop of its process and return what became of it.

        ``task`` is its number in what the lens there shows. Raises EngineError as :meth:`ask` does.
        """
        ...

    async def release(self, role: str) -> None:
        """A role has ended; with the last one the host ends."""
        ...

    async def end(self) -> None:
        """End, with whatever still runs here."""
        ...

    def kill(self) -> None:
        """End at once, even if it does not answer."""
        ...

    def use(self) -> ProcessUse | None:
        """Return what its process uses; None when that is not known, or is this process."""
        ...


DeathHandler = Callable[[Host, str], None]
"""Gets a host that ended although it should not have, and a sentence about it."""


class HostFactory(Protocol):
    """Makes a host of one sort: number ``index`` of those that ``roles`` run in.

    ``on_trouble`` gets what goes wrong without being asked for; ``on_death`` gets the host when it ended
    although it should not have, and what became of it in a sentence.
    """

    def __call__(
        self,
        experiment: Experiment,
        roles: tuple[str, ...],
        index: int,
        on_trouble: TroubleHandler,
        on_death: DeathHandler,
    ) -> Host:
        """Return a host that is yet to be started."""
        ...
