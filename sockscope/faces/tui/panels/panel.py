"""What all panels have in common."""

from __future__ import annotations

from typing import ClassVar

from textual.containers import Container
from textual.reactive import reactive
from textual.widget import Widget

from sockscope.faces.tui.frame import Frame

TURN_S = 0.08
"""Time between the turns in which panels draw. The screen is composed by lines, so panels that stand side by
side share a turn."""


class Panel(Container):
    """A framed part of the dashboard that shows a :class:`Frame`.

    ``frame`` is bound to the screen's. Subclasses override :meth:`draw`, which is called once per tick when
    the panel can be seen, in the panel's ``turn``.
    """

    digit: ClassVar[str] = ""
    name_shown: ClassVar[str] = ""
    of_tables: ClassVar[bool] = False
    turn: ClassVar[int] = 0

    frame: reactive[Frame | None] = reactive(None, init=False, repaint=False)
    _due: Frame | None = None
    """The frame that is drawn in the panel's next turn."""
    _drawn: Frame | None = None

    def on_mount(self) -> None:
        """Write the title."""
        self.retitle()

    def retitle(self, more: str = "") -> None:
        """Write digit, name and what else there is to say into the border."""
        title = f"{self.digit} {self.name_shown}" if self.digit else self.name_shown
        wanted = f"{title}  {more}" if more else title
        if self.border_title != wanted:
            self.border_title = wanted

    def watch_frame(self, frame: Frame | None) -> None:
        """Draw, unless nobody can see it or it is not this panel's turn."""
        if frame is None or not self.is_on_screen or (self.of_tables and not frame.tables):
            return
        self._due = frame
        if self.turn and not frame.at_once:
            self.set_timer(self.turn * TURN_S, self._draw_due)
        else:
            self._draw_due()

    def _draw_due(self) -> None:
        """Draw what waits for its turn; not the newest frame, which may be one without rows."""
        frame, self._due = self._due, None
        if frame is not None:
            self._drawn = frame
            self.draw(frame)

    @property
    def is_on_screen(self) -> bool:
        """Whether any of it can be seen at the moment."""
        return self.size.height > 0 and self.display

    def draw(self, frame: Frame) -> None:
        """Show ``frame``."""

    def redraw(self) -> None:
        """Show the frame once more, after the panel itself has changed."""
        frame = self.frame
        if self.of_tables and frame is not None and not (frame.tables or frame.frozen):
            frame = self._drawn
        if frame is not None:
            self.draw(frame)

    @property
    def focus_target(self) -> Widget | None:
        """What gets the focus when the panel is called."""
        return next((child for child in self.query(Widget) if child.can_focus and child.display), None)

    def clipboard_text(self) -> str:
        """Return what ``y`` copies."""
        return ""
