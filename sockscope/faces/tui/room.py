"""What the app does while a room looks at it: captions, keys that are shown, a demo that hands over."""

from __future__ import annotations

from textual.binding import Binding

from sockscope.faces.tui.actions import ACTIONS
from sockscope.faces.tui.keys import PromptApp
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.lab.lessons.showing import Showing
from sockscope.lab.lessons.telling import Telling

HANDED_OVER = (
    "The run goes on, and it is yours now: ] and [ turn the clients, t goes over to UDP, "
    "L has lessons, ? has every key."
)
HANDED_OVER_S = 20.0
"""How long that stays."""
_LEAVING = ("quit", "interrupt", "suspend")


class RoomApp(PromptApp[int]):
    """The part of the app that presents its ``dashboard``, and the lesson ``telling`` if there is one."""

    dashboard: DashboardScreen
    telling: Telling | None

    def begin_lesson(self, telling: Telling) -> None:
        """Show a lesson."""
        raise NotImplementedError

    def present(self) -> None:
        """Show the run, and the lesson if there is one, to a room; or go back."""
        on = not self.dashboard.is_for_room
        self.dashboard.show_to_room(on)
        if self.telling is not None:
            self.telling.showing = Showing((self.telling.lesson,)) if on else None
            self.dashboard.retell()

    @property
    def shows_keys(self) -> bool:
        """Whether a room is shown the keys that are pressed."""
        return self.dashboard.is_for_room

    def show_key(self, binding: Binding) -> None:
        """Show a key to the room."""
        self.dashboard.room_bar.press(self.get_key_display(binding), binding.description)

    def takes_key(self, key: str) -> bool:
        """Let any key but those that leave end a demo."""
        showing = self.telling.showing if self.telling is not None else None
        leaves = any(key in action.keys.split(",") for action in ACTIONS if action.id in _LEAVING)
        if showing is None or not showing.hands_over or leaves or self.dashboard.is_overlaid:
            return False
        self.hand_over()
        return True

    def hand_over(self) -> None:
        """End a demo; its run goes on."""
        self.dashboard.end_lesson()
        self.dashboard.show_to_room(False)
        self.notify(HANDED_OVER, timeout=HANDED_OVER_S, markup=False)

    def on_lesson_pane_handed_over(self) -> None:
        """End a demo that has come to its end."""
        self.hand_over()

    def on_lesson_pane_lesson_asked(self) -> None:
        """Show the lesson whose turn it is."""
        if self.telling is not None and self.telling.showing is not None:
            self.begin_lesson(self.telling.showing.telling())
