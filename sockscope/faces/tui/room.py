"""What the app does for those who learn: lessons, and a room that sees captions and keys, or a demo."""

from __future__ import annotations

from textual.binding import Binding

from sockscope.faces.tui.actions import ACTIONS
from sockscope.faces.tui.lessons import Teaching
from sockscope.faces.tui.running import RunApp
from sockscope.faces.tui.screens.lessons import LessonsScreen
from sockscope.lab.lessons.lesson import Lesson
from sockscope.lab.lessons.shelf import shelf
from sockscope.lab.lessons.showing import Showing
from sockscope.lab.lessons.telling import Telling

HANDED_OVER = (
    "The run goes on, and it is yours now: ] and [ turn the clients, t goes over to UDP, "
    "L has lessons, ? has every key."
)
HANDED_OVER_S = 20.0
"""How long that stays."""
_LEAVING = ("quit", "interrupt", "suspend")


class RoomApp(RunApp):
    """The part of the app that tells lessons, and presents its ``dashboard`` to a room."""

    telling: Telling | None
    """The lesson that goes on, here or in the run that begins next."""

    # Lessons.

    def open_lessons(self) -> None:
        """Show the lessons, or give the keys to the one that goes on."""
        if self.dashboard.teaches:
            self.dashboard.focus_lesson()
        else:
            self.push_screen(LessonsScreen(shelf(), self._begin_alone, self._begin_for_room))

    def _begin_alone(self, lesson: Lesson) -> None:
        self.begin_lesson(Telling(lesson))

    def _begin_for_room(self, lesson: Lesson) -> None:
        self.dashboard.show_to_room(True)
        self._begin_alone(lesson)

    def begin_lesson(self, telling: Telling) -> None:
        """Show a lesson, or go on with it in the run that has begun for it."""
        if self.dashboard.is_for_room and telling.showing is None:
            telling.showing = Showing((telling.lesson,))
        self.telling = telling
        self.dashboard.teach(Teaching(telling, self.session, self.leave))

    def on_lesson_pane_ended(self) -> None:
        """Go on without the lesson; where nothing runs but what has waited for it, offer others."""
        telling, self.telling = self.telling, None
        if telling is not None and self.session.experiment == telling.lesson.waiting:
            self.open_lessons()

    # A room.

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
