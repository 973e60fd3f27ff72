"""The Lessons screen: what there is to see, and Enter begins one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.table import Column, Row, Table
from sockscope.lab.lessons.lesson import Lesson
from sockscope.lab.lessons.shelf import read_lessons

COLUMNS = (
    Column("name", "lesson", 17, priority=9),
    Column("time", "takes", 7, "right", priority=6),
    Column("watch", "what one sees", 20, flexible=True, priority=8),
)

FIRST = "blocking"
"""The lesson that is chosen until another one is: the others are easier to understand after it."""


class LessonsScreen(Screen[None]):
    """A list of lessons; ``begin`` begins the one that is chosen, and ``present`` shows it to a room."""

    CSS_PATH = "lessons.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,L", "dismiss", "close", show=False),
        Binding("P", "present", "present", show=False),
    ]

    def __init__(
        self,
        paths: dict[str, Path],
        begin: Callable[[Lesson], None],
        present: Callable[[Lesson], None],
    ) -> None:
        super().__init__()
        self._begin, self._present = begin, present
        found, self._faults = read_lessons(paths)
        self._lessons = {lesson.name: lesson for lesson in found}

    def compose(self) -> ComposeResult:
        """The list, what is wrong with other files, and the keys."""
        yield Static(" Lessons  predict, then see it happen on real sockets", id="lessons-head", markup=False)
        yield Table(COLUMNS, empty_text="there are no lessons here", id="lessons-list")
        yield Static(Content(plain("; ".join(map(str, self._faults)))), id="lessons-faults")
        yield Static(id="lessons-watch")
        yield Static(_KEYS, id="lessons-foot", markup=False)

    def on_mount(self) -> None:
        """List the lessons."""
        self.query_one("#lessons-faults").display = bool(self._faults)
        table = self.query_one(Table)
        table.show([Row(name, _cells(lesson)) for name, lesson in self._lessons.items()])
        table.move_to(FIRST)
        table.focus()

    def on_table_row_highlighted(self, message: Table.RowHighlighted) -> None:
        """Say all of what one sees in the lesson that is chosen."""
        message.stop()
        lesson = self._lessons.get(str(message.key))
        self.query_one("#lessons-watch", Static).update(Content(plain(lesson.watch if lesson else "")))

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Begin the lesson."""
        message.stop()
        self._leave_for(self._begin)

    def action_present(self) -> None:
        """Show the lesson to a room."""
        self._leave_for(self._present)

    def _leave_for(self, begin: Callable[[Lesson], None]) -> None:
        lesson = self._lessons.get(str(self.query_one(Table).cursor_key))
        if lesson is not None:
            self.dismiss()
            begin(lesson)

    def clipping(self) -> Clipping:
        """Return the list."""
        rows = ("\t".join(_cells(lesson)) for lesson in self._lessons.values())
        return Clipping("\n".join(rows), "lessons")

    def files(self) -> dict[str, str]:
        """Return the list."""
        return {"txt": self.clipping().text + "\n"}


_KEYS = " ↑ ↓ choose   Enter begin   P present to a room   Esc dashboard"


def _cells(lesson: Lesson) -> tuple[str, str, str]:
    return lesson.name, f"{lesson.seconds:.0f} s", plain(lesson.watch)
