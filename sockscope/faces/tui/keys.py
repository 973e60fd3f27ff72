"""Keys that run what they are bound to as soon as they arrive."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from textual import events
from textual.app import App
from textual.binding import Binding
from textual.widgets import Input

R = TypeVar("R")


@runtime_checkable
class PromptScreen(Protocol):
    """A screen on which keys need not travel."""

    @property
    def runs_keys_at_once(self) -> bool:
        """Whether a key may run its binding where it arrives at the moment."""

    @property
    def is_typing(self) -> bool:
        """Whether keys are text at the moment."""


class PromptApp(App[R]):
    """An app that looks a key's binding up where the key arrives, while a :class:`PromptScreen` allows it.

    Textual does so at the end of the key's way from the widget in focus up to the app, and at each container
    the key waits for a turn of the loop.
    """

    @property
    def shows_keys(self) -> bool:
        """Whether :meth:`show_key` is to hear of the keys that are pressed."""
        return False

    def show_key(self, binding: Binding) -> None:
        """Show that a key has run what it is bound to."""

    def takes_key(self, key: str) -> bool:
        """Tell whether a key means something else than what it is bound to, which has been done then."""
        return False

    async def on_event(self, event: events.Event) -> None:
        """Run what a key is bound to, unless it may be text; leave everything else to Textual."""
        if not (isinstance(event, events.Key) and not event.is_forwarded and await self._takes(event.key)):
            await super().on_event(event)

    async def _takes(self, key: str) -> bool:
        return self.takes_key(key) or await self._runs(key)

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        shown = self._shown(key)
        ran = await super()._check_bindings(key, priority)
        if ran and shown is not None:
            self.show_key(shown)
        return ran

    def _shown(self, key: str) -> Binding | None:
        """Return what a key is bound to, if that is to be shown: what may be text never is."""
        screen = self.screen
        is_text = isinstance(self.focused, Input) or (isinstance(screen, PromptScreen) and screen.is_typing)
        found = screen.active_bindings.get(key) if self.shows_keys and not is_text else None
        return found.binding if found is not None and found.enabled else None

    async def _runs(self, key: str) -> bool:
        """Run what a key is bound to; False when it is not, or may be text."""
        screen = self.screen
        if not (self.app_focus and isinstance(screen, PromptScreen) and screen.runs_keys_at_once):
            return False
        found = screen.active_bindings.get(key)
        if found is None or not found.enabled or not await self.run_action(found.binding.action, found.node):
            return False
        if self.shows_keys:
            self.show_key(found.binding)
        return True
