"""Takes a run from one tuning to the next, and back again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sockscope.core.config.experiment import FIELDS, Tuning
from sockscope.core.config.fields import Value
from sockscope.core.config.models import SERVERS_OF
from sockscope.core.run.source import RunSource
from sockscope.errors import ConfigError, SockscopeError

UNDO_STEPS = 100


class Tuner:
    """Requests tunings of a run; one is applied at a time, those asked for meanwhile are taken together.

    ``on_requested`` is called when a tuning has been asked for, ``on_applied`` when one is in force, and
    ``on_refused`` with the reason when one is not to be had: the run then goes on as before.
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
        self._requested = source.tuning
        self._undo: list[Tuning] = []
        self._redo: list[Tuning] = []
        self._applier: asyncio.Task[None] | None = None

    @property
    def requested(self) -> Tuning:
        """The tuning that was asked for last; the run has it as soon as it is applied."""
        return self._requested

    @property
    def is_applying(self) -> bool:
        """Whether a tuning is being applied at the moment."""
        return self._applier is not None and not self._applier.done()

    def set(self, values: Mapping[str, Value]) -> None:
        """Request new values, by field key."""
        before = self._requested
        changes: dict[str, Any] = {FIELDS[key].attribute: value for key, value in values.items()}
        changed = replace(before, **changes)
        if changed != before and self._request(changed):
            self._undo = [*self._undo[1 - UNDO_STEPS :], before]
            self._redo.clear()

    def step(self, key: str, direction: int) -> None:
        """Turn one field a step up (1) or down (-1); a choice goes round."""
        entry = FIELDS[key]
        self.set({key: entry.spec.step(getattr(self._requested, entry.attribute), direction)})

    def toggle_transport(self) -> None:
        """TCP to UDP and back; a server model that does not serve the other one goes to the default."""
        requested = self._requested
        transport = str(FIELDS["transport"].spec.step(requested.transport, 1))
        serves = requested.server == "default" or requested.server in SERVERS_OF[transport]
        self.set({"transport": transport, "server": requested.server if serves else "default"})

    def undo(self) -> bool:
        """Go back to the tuning before the last change; False when there is none."""
        return self._go(self._undo, self._redo)

    def redo(self) -> bool:
        """Make the change again that was taken back; False when there is none."""
        return self._go(self._redo, self._undo)

    def _go(self, source: list[Tuning], target: list[Tuning]) -> bool:
        if not source:
            return False
        before = self._requested
        if self._request(source.pop()):
            target.append(before)
        return True

    def cancel(self) -> None:
        """Apply nothing more."""
        if self._applier is not None:
            self._applier.cancel()

    def _request(self, tuning: Tuning) -> bool:
        """Change to ``tuning`` as soon as possible; False when it can be told at once that it is refused."""
        try:
            replace(self._source.experiment, tuning=tuning).validated()
        except ConfigError as error:
            self._on_refused(error)
            return False
        self._requested = tuning
        if not self.is_applying:
            self._applier = asyncio.create_task(self._apply())
        self._on_requested()
        return True

    async def _apply(self) -> None:
        """Apply what is requested until it is in force."""
        while self._source.tuning != (requested := self._requested):
            try:
                await self._source.apply(requested)
            except SockscopeError as error:
                self._requested = self._source.tuning
                self._on_refused(error)
                self._on_requested()
                return
            self._on_applied()
