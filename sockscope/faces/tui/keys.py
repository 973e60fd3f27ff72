"""Keys that run what they are bound to as soon as they arrive."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from textual import events
from textual.app import App

R = TypeVar("R")


@runtime_checkable
class PromptScreen(Protocol):
    """A screen on which keys need not travel."""

    @property
    def runs_keys_at_once(self) -> bool:
        """Whether a key may run its binding where it arrives at the moment."""


class PromptApp(App[R]):
    """An app that looks a key's binding up where the key arrives, while a :class:`PromptScreen` allows it.

    Textual does so at the end of the key's way from the widget in focus up to the app, and at each container
    the key waits for a turn of the loop.
    """

    async def on_event(self, event: events.Event) -> None:
        """Run what a key is bound to, unless it may be text; leave everything else to Textual."""
        if not (isinstance(event, events.Key) and not event.is_forwarded and await self._runs(event.key)):
            await super().on_event(event)

    async def _runs(self, key: str) -> bool:
        """Run what a key is bound to; False when it is not, or may be text."""
        screen = self.screen
        if not (self.app_focus and isinstance(screen, PromptScreen) and screen.runs_keys_at_once):
            return False
        found = screen.active_bindings.get(key)
        return found is not None and found.enabled and await self.run_action(found.binding.action, found.node)
