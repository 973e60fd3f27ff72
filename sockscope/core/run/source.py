"""What a screen needs of a run, whatever stands behind it: an engine, a run replayed, a fake in a test."""

from __future__ import annotations

from typing import Protocol

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import Capture, Cursors, ProcessKey, RunState, Snapshot
from sockscope.core.run.tasks import Cancelled


class RunSource(Protocol):
    """One run, to be looked at and, while it ``is_live``, to be acted on.

    ``start`` comes first and once, ``stop`` last; between the two everything else may be called, in any order
    and from one event loop. Only ``start``, ``stop``, ``wait``, ``apply``, ``reload``, ``settle``,
    ``conclude``, ``capture``, ``close_connection`` and ``cancel_task`` may wait; the other calls return at
    once and never raise because of the state of the run, except where they say so. All times are seconds on
    one monotonic clock, that of ``Snapshot.time_s``.

    A source that is not live shows what happened earlier. ``pause`` and ``resume`` then hold up and continue
    the replay, while ``apply``, ``reload``, ``clear``, ``mark``, ``stall``, ``close_connection`` and
    ``cancel_task`` raise StateError.
    """

    @property
    def is_live(self) -> bool:
        """Whether the run takes place now, so that it can be tuned; it stays as it is from the beginning."""

    @property
    def lacking(self) -> frozenset[str]:
        """Mechanisms of server models that the platform of the run has not got; it stays as it is, too."""

    @property
    def experiment(self) -> Experiment:
        """What was fixed before the run began; known before ``start``."""

    @property
    def tuning(self) -> Tuning:
        """The tuning in force, which is that of the next snapshot; known before ``start``."""

    @property
    def state(self) -> RunState:
        """Where in its life the run is, IDLE before ``start``.

        ``apply`` is possible in RUNNING and PAUSED; nothing but ``stop`` leads out of STOPPED and FAILED.
        """

    @property
    def error(self) -> str:
        """Why the run is FAILED, in a sentence; empty in every other state."""

    async def start(self) -> None:
        """Begin. Raises SockscopeError when the run cannot start; nothing is left behind then."""

    async def stop(self, grace_s: float = 1.0) -> None:
        """End: let what is in flight finish for at most ``grace_s``, then close everything.

        The last figures stay readable. It may be called in any state, and again.
        """

    async def wait(self) -> None:
        """Return when there is nothing more to come: the run is over by itself, stopped, or failed."""

    async def apply(self, tuning: Tuning) -> None:
        """Change to ``tuning`` while the run goes on.

        Raises ConfigError, EngineError or StateError; the run then goes on as before.
        """

    async def reload(self) -> str:
        """Let the user's own code serve as it is in its files by now; return what was done, if anything.

        Raises ConfigError, EngineError or StateError; the run then goes on with what it has.
        """

    def pause(self) -> None:
        """Stop the traffic, connections stay open; without effect unless the run is RUNNING."""

    def resume(self) -> None:
        """Let the traffic go on; without effect unless the run is PAUSED."""

    def rest(self, resting: bool) -> None:
        """Stop measuring, or go on: a time in which the process is stopped is a gap, no loop lag."""

    def mark(self, text: str) -> None:
        """Write a marker into the log. Raises StateError when the run is not live."""

    def stall(self) -> None:
        """Let the server stand still for the experiment's ``stall_s``, and write a marker.

        Raises StateError when the run is not live, EngineError when its server cannot be stalled.
        """

    def clear(self) -> None:
        """Let the cumulative figures begin anew; connections, captures and the log stay.

        Raises StateError when the run is not live.
        """

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment readable, whatever is overwritten meanwhile; or let them go."""

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes; None when it is no longer there, or was never captured."""

    async def close_connection(self, role: str, conn_id: int) -> bool:
        """Close one connection of a role; False when there is none with this number.

        Raises StateError when the run is not live.
        """

    async def cancel_task(self, process: ProcessKey, task: int) -> Cancelled:
        """Cancel a task of own code in a process of the run; return what became of it within a second.

        ``task`` is its number in what the lens shows. Raises StateError when the run is not live, and
        EngineError when the process does not answer.
        """

    async def settle(self) -> None:
        """Bring what is known up to this moment, so that the next snapshot is exact."""

    async def conclude(self) -> None:
        """Ask nothing more, and settle: the next snapshot has everything that was ever asked."""

    def snapshot(self, cursors: Cursors | None = None) -> Snapshot:
        """Return everything at this moment, without waiting: therefore consistent.

        ``cursors`` tell how far the caller has read; without them no events, exchanges and connections are
        copied. Raises StateError before ``start``.
        """
