"""The palette: Textual's own, which takes one choice."""

from __future__ import annotations

from textual.command import CommandPalette
from textual.message import Message
from textual.widgets import Input, OptionList


class Palette(CommandPalette):
    """A palette that takes no choice any more once something has been chosen.

    Textual's takes the second click of a double one, or a second Enter, for another choice: it would run the
    command again, and close the screen below.
    """

    async def _on_message(self, message: Message) -> None:
        is_choice = isinstance(message, Input.Submitted | OptionList.OptionSelected)
        if not is_choice or self in self.app.screen_stack:
            await super()._on_message(message)
