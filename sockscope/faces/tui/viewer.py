"""The screen, as a session needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from sockscope.core.run.snapshot import Cursors
from sockscope.errors import ConfigError
from sockscope.faces.tui.screen_state import ScreenState

Severity = Literal["information", "warning", "error"]


class Viewer(Protocol):
    """The screen, as a session needs it."""

    @property
    def is_covered(self) -> bool:
        """Whether nothing of it can be seen, so that drawing would be in vain."""

    @property
    def is_overlaid(self) -> bool:
        """Whether something else is drawn over it, or instead of it."""

    @property
    def is_behind(self) -> bool:
        """Whether the picture before has not left for the terminal yet."""

    def interest(self, cursors: Cursors, *, still: bool, hidden: bool) -> Cursors:
        """Add to ``cursors`` which rows the next snapshot should hold.

        ``hidden`` asks for those of panels out of sight too. While all is ``still`` people scroll back, so
        more rows are worth having.
        """

    def present(self, state: ScreenState) -> None:
        """Draw ``state``."""

    def present_request(self, state: ScreenState) -> None:
        """Draw the knobs of ``state`` at once; the rest comes with the next tick."""

    def refuse(self, error: ConfigError) -> None:
        """Say why values of knobs were not taken."""

    def say(self, text: str, severity: Severity = "information") -> None:
        """Show a notice."""

    def call_after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call ``call`` after a while."""
