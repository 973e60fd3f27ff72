"""The bar below a dashboard that a room looks at: the key that was pressed, the time, and what comes next."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from textual.content import Content
from textual.widget import Widget

from sockscope.core.units import format_elapsed
from sockscope.faces.tui.screens.lesson_text import GOOD, HEAD, KEY, QUIET, key_line
from sockscope.faces.tui.widgets.plain import shorten
from sockscope.lab.lessons.telling import Telling

LOOK_S = 0.25
"""How often the time is looked at."""
KEY_SHOWN_S = 6.0
"""How long a key stays after it was pressed."""
GAUGE_CELLS = 20
"""Cells of the bar that shrinks until it goes on."""
ROWS = 3


class Pressed(NamedTuple):
    """A key that was pressed, what it does, how often in a row, and when it was last (monotonic clock)."""

    key: str
    does: str
    times: int
    at_s: float


class RoomBar(Widget):
    """Three rows: the last key at the left, the time and what comes next at the right.

    What is typed as text never comes here: only keys that have run what they are bound to.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.telling: Telling | None = None
        """The lesson that is shown; None between lessons."""
        self._clock = clock
        self._pressed: Pressed | None = None
        self._drawn: object = None
        self._began_s = clock()
        self.display = False

    def on_mount(self) -> None:
        """Look at the time, while anybody sees it."""
        self.set_interval(LOOK_S, self._look)

    def begin(self) -> None:
        """Count the time from now on, where no lesson does."""
        self._began_s = self._clock()

    def press(self, key: str, does: str) -> None:
        """Show a key and what it does."""
        now_s, before = self._clock(), self._pressed
        again = before is not None and before.key == key and now_s - before.at_s < KEY_SHOWN_S
        self._pressed = Pressed(key, does, before.times + 1 if again and before else 1, now_s)
        self._look()

    def _look(self) -> None:
        if self.display:
            rows = self._rows()
            if rows != self._drawn:
                self._drawn = rows
                self.refresh()

    def render(self) -> Content:
        """Return the three rows."""
        return Content("\n").join(self._rows())

    def _rows(self) -> list[Content]:
        width, now_s = max(1, self.content_size.width), self._clock()
        right = [line.truncate(width) for line in self._right(now_s)]
        room = width - max(line.cell_length for line in right) - 2
        left = self._left(now_s, room)
        return [
            line + Content(" " * max(0, width - line.cell_length - other.cell_length)) + other
            for line, other in zip(left, right, strict=True)
        ]

    def _left(self, now_s: float, room: int) -> list[Content]:
        """Return the key as a block that is seen from the back."""
        pressed = self._pressed
        if pressed is None or now_s - pressed.at_s >= KEY_SHOWN_S or room < len(pressed.key) + 6:
            return [Content("")] * ROWS
        cap = f"   {pressed.key}   "
        times = f" × {pressed.times:,}" if pressed.times > 1 else ""
        does = shorten(f"  {pressed.does}{times}", max(1, room - len(cap)))
        block = Content.styled(" " * len(cap), "reverse")
        return [block, Content.styled(cap, "reverse bold") + Content.styled(does, HEAD), block]

    def _right(self, now_s: float) -> list[Content]:
        telling = self.telling
        showing = telling.showing if telling is not None else None
        if telling is None or showing is None:
            time = Content.styled(format_elapsed(now_s - self._began_s), HEAD)
            return [time, Content(""), key_line(("L", "lessons"), *_ALWAYS)]
        elapsed_s = showing.elapsed_s(now_s)
        lesson, step = f"{showing.index + 1} of {len(showing.lessons)}", telling.index + 1
        where = f"lesson {lesson}, step {step} of {len(telling.lesson.steps)}   " * (len(showing.lessons) > 1)
        taken = f"{_minutes(elapsed_s)} of {_minutes(showing.planned_s)}"
        style = HEAD if elapsed_s <= showing.planned_s else "bold $text-warning"
        first = Content.styled(where, QUIET) + Content.styled(taken, style)
        return [first, self._next(telling, now_s), self._keys(showing.hands_over, showing.auto)]

    @staticmethod
    def _next(telling: Telling, now_s: float) -> Content:
        showing = telling.showing
        assert showing is not None
        if showing.is_held(telling) and showing.auto:
            return Content.styled("not shown: Enter goes on all the same", "bold $text-error")
        left_s, pause = showing.goes_on_in_s(telling, now_s), showing.pause_of(telling)
        if left_s is None:
            return Content("")
        cells = min(GAUGE_CELLS, round(GAUGE_CELLS * left_s / pause))
        gauge = "█" * cells + "·" * (GAUGE_CELLS - cells)
        return Content.styled(f"goes on in {left_s:2.0f} s ", KEY) + Content.styled(gauge, GOOD)

    @staticmethod
    def _keys(hands_over: bool, auto: bool) -> Content:
        if hands_over:
            return key_line(("any key", "takes over"), ("q", "quit"))
        return key_line(("A", "by hand" if auto else "auto"), *_ALWAYS)


def _minutes(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    return f"{minutes}:{left:02}"


_ALWAYS = (("D", "light/dark"), ("P", "close"))
