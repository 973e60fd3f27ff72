"""Requests of tunings, with undo and redo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sockscope.core.config.bounds import most_of
from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.fields import Value
from sockscope.core.config.models import SERVERS_OF
from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.fault import text_of
from sockscope.core.impairment.turning import for_transport
from sockscope.core.run.source import RunSource
from sockscope.errors import ConfigError, EngineError, SockscopeError

UNDO_STEPS = 100
"""Changes that can be undone."""


@dataclass(frozen=True, slots=True)
class History:
    """A tuning, and those that undo and redo lead to; the next one is the last of each."""

    tuning: Tuning
    earlier: tuple[Tuning, ...] = ()
    later: tuple[Tuning, ...] = ()

    def changed(self, tuning: Tuning) -> History:
        """Return the history after a change to ``tuning``: nothing is left to redo."""
        return History(tuning, (*self.earlier[1 - UNDO_STEPS :], self.tuning))

    def undone(self) -> History | None:
        """Return the history after an undo; None when there is nothing to undo."""
        if not self.earlier:
            return None
        return History(self.earlier[-1], self.earlier[:-1], (*self.later, self.tuning))

    def redone(self) -> History | None:
        """Return the history after a redo; None when there is nothing to redo."""
        if not self.later:
            return None
        return History(self.later[-1], (*self.earlier, self.tuning), self.later[:-1])


class Tuner:
    """Requests tunings of a run; one is applied at a time, those requested meanwhile are applied together.

    ``on_requested`` is called when a tuning has been requested, ``on_applied`` when one is in force, and
    ``on_refused`` with the reason when one is refused. The run then goes on as before, and so does the
    history of changes; what was changed while the refused tuning was being applied is requested once more.
    """

    def __init__(
        self,
        source: RunSource,
        *,
        on_requested: Callable[[], None],
        on_applied: Callable[[], None],
        on_refused: Callable[[SockscopeError], None],
    ) -> None:
        self._source = source
        self._on_requested = on_requested
        self._on_applied = on_applied
        self._on_refused = on_refused
        self._history = self._in_force = History(source.tuning)
        self._applier: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def requested(self) -> Tuning:
        """The tuning that was requested last; the run has it as soon as it is applied."""
        return self._history.tuning

    @property
    def is_applying(self) -> bool:
        """Whether a tuning is being applied at the moment."""
        return self._applier is not None and not self._applier.done()

    def set(self, values: Mapping[str, Value]) -> None:
        """Request new values, by field key."""
        changes: dict[str, Any] = {FIELDS[key].attribute: value for key, value in values.items()}
        changed = replace(self.requested, **changes)
        if changed != self.requested:
            self._request(self._history.changed(changed))

    def step(self, key: str, direction: int) -> None:
        """Turn one field a step up (1) or down (-1); a choice goes round."""
        entry, requested = FIELDS[key], self.requested
        most = most_of(entry.spec, requested)
        self.set({key: entry.spec.step(getattr(requested, entry.attribute), direction, most=most)})

    def toggle_transport(self) -> None:
        """TCP to UDP and back; a server model or a fault that is not for the other one is left behind."""
        requested = self.requested
        transport = str(FIELDS["transport"].spec.step(requested.transport, 1))
        serves = requested.server == "default" or requested.server in SERVERS_OF[transport]
        fault = text_of(for_transport(requested.faults, transport))
        server = requested.server if serves else "default"
        self.set({"transport": transport, "server": server, "fault": fault})

    def undo(self) -> bool:
        """Go back to the tuning before the last change; False when there is none."""
        return self._go(self._history.undone())

    def redo(self) -> bool:
        """Make the change again that was undone last; False when there is none."""
        return self._go(self._history.redone())

    def _go(self, history: History | None) -> bool:
        if history is None:
            return False
        self._request(history)
        return True

    async def close(self) -> None:
        """Apply nothing more, whatever is requested; return when nothing is being applied any longer."""
        self._is_closed = True
        if self._applier is not None:
            self._applier.cancel()
            await asyncio.wait([self._applier])

    def _request(self, history: History) -> None:
        """Change to a tuning as soon as possible, unless it can be told at once that it is refused."""
        if self._is_closed or not self._is_valid(history.tuning):
            return
        self._history = history
        if not self.is_applying:
            self._applier = asyncio.create_task(self._apply())
        self._on_requested()

    def _is_valid(self, tuning: Tuning) -> bool:
        try:
            replace(self._source.experiment, tuning=tuning).validated()
        except ConfigError as error:
            self._on_refused(error)
            return False
        return True

    async def _apply(self) -> None:
        """Apply what is requested until it is in force."""
        while (history := self._history).tuning != self._source.tuning and not self._is_closed:
            try:
                await self._source.apply(history.tuning)
            except SockscopeError as error:
                self._take_back(history.tuning, error)
            except Exception as error:  # noqa: BLE001  # the boundary of this task: it is told, not lost
                self._take_back(history.tuning, EngineError(f"the change failed: internal error: {error!r}"))
            else:
                self._in_force = history
                self._on_applied()
        # Undone before it was applied: the tuning is the same, what undo and redo lead to is not.
        self._in_force = self._history

    def _take_back(self, refused: Tuning, error: SockscopeError) -> None:
        """Go back to what is in force, and make the changes that came after the refused one from there."""
        since: dict[str, Any] = {name: new for name, (_, new) in refused.changes_to(self.requested).items()}
        self._history = self._in_force
        self._on_refused(error)
        changed = replace(self.requested, **since)
        if changed != self.requested and self._is_valid(changed):
            self._history = self._history.changed(changed)
        self._on_requested()
