"""Keys that run what they are bound to as soon as they arrive."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from textual import events
from textual.app import App

R = TypeVar("R")


@runtime_checkable
class PromptScreen(Protocol):
    """A screen that tells whether keys may be text."""

    @property
    def is_typing(self) -> bool:
        """Whether keys are text at the moment."""


class PromptApp(App[R]):
    """An app that looks a key's binding up where the key arrives, on a :class:`PromptScreen`.

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
        if not self.app_focus or not isinstance(screen, PromptScreen) or screen.is_typing:
            return False
        found = screen.active_bindings.get(key)
        return found is not None and found.enabled and await self.run_action(found.binding.action, found.node)
