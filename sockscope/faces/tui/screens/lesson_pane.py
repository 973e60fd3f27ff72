"""The pane of a lesson in the dashboard: what is told, asked and seen, and beside it the code that runs."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static

from sockscope.errors import SockscopeError
from sockscope.faces.tui.lessons import Teaching
from sockscope.faces.tui.screens.lesson_text import code_lines, keys_now, told_lines
from sockscope.faces.tui.screens.room_text import captions, keys_for_room, most_lines
from sockscope.faces.tui.widgets.plain import plain
from sockscope.lab.lessons.showing import Showing
from sockscope.lab.lessons.telling import Phase, Telling

LOOK_S = 0.25
"""How often it is told what a step is still waiting for."""
SHARE, SHARE_ASKED = 0.42, 0.62
"""Shares of the height that the pane has beside a run: while something happens, and while one is asked."""
LEAST_ROWS, MOST_ROWS = 9, 18
ROWS_LEFT = 12
"""What the rest of the dashboard keeps, if there is so much."""
SHARE_IN_ROOM = 0.43
"""Share that it has at most while a room looks on: what the longest caption needs, so that nothing jumps."""
FRAME_COLUMNS, FRAME_ROWS = 6, 2
"""What border and padding take of it."""
TWO_COLUMNS = 90
"""From this width on the code stands beside what is told."""


class LessonPane(Container):
    """Shows a lesson, and takes the keys of those who go through it while it has the focus.

    Digits predict, Enter goes on. It is not there until :meth:`teach`.
    """

    class Ended(Message):
        """The lesson is closed."""

    class PhaseChanged(Message):
        """Something else is told now: the pane is to have another height."""

    class LessonAsked(Message):
        """The lesson that follows is to be shown, or the one before; ``by`` is 1 or -1."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class HandedOver(Message):
        """A demo has come to its end."""

    BINDINGS: ClassVar = [
        *(Binding(str(digit), f"choose({digit})", "predict", show=False) for digit in range(1, 10)),
        Binding("enter", "go_on", "go on", key_display="Enter", show=False),
        Binding("b,backspace", "go_back", "back", show=False),
        Binding("pagedown", "page(1)", "go on", show=False),
        Binding("pageup", "page(-1)", "back", show=False),
        Binding("a", "again", "again", show=False),
        Binding("A", "auto", "auto", key_display="A", show=False),
        Binding("v", "vote", "votes", show=False),
        Binding("c", "code", "code", show=False),
        Binding("escape", "end", "end", key_display="Esc", show=False),
    ]

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(id="lesson")
        self.teaching: Teaching | None = None
        self._looking: Timer | None = None
        self._phase: object = None
        self._told = _Lines(id="lesson-text")
        self._code = _Lines(id="lesson-code-text")
        self._votes = VoteLine(id="lesson-votes")
        self._scroll = _Told(id="lesson-told")
        self._clock = clock
        self.display = False

    def compose(self) -> ComposeResult:
        """What is told to the left, the code to the right, and a line for the votes."""
        with self._scroll:
            yield self._told
        with VerticalScroll(id="lesson-code", can_focus=False):
            yield self._code
        self._votes.display = False
        yield self._votes

    # Life.

    def teach(self, teaching: Teaching) -> None:
        """Show a lesson; where its run has just begun for a step, carry that step out."""
        self.teaching = teaching
        self.display = True
        self.remove_class("-code")
        self._looking = self._looking or self.set_interval(LOOK_S, self._look)
        self.focus_told()
        self.tell()
        if teaching.telling.phase is Phase.DOING:
            self.run_worker(self._carry_on(), group="lesson")

    def focus_told(self) -> None:
        """Take the keys."""
        self._scroll.focus()

    @property
    def fills_screen(self) -> bool:
        """Whether nothing else of the dashboard is of interest: the lesson has no run."""
        return self.teaching is not None and self.teaching.telling.lesson.experiment is None

    def rows_of(self, screen: Size) -> int:
        """Return how many rows of a screen of this size the pane takes beside a run."""
        height = screen.height
        if not self.display or self.teaching is None:
            return 0
        if self._showing is not None:
            needed = most_lines(self.teaching.telling, screen.width - FRAME_COLUMNS) + FRAME_ROWS
            return max(LEAST_ROWS, min(MOST_ROWS, needed, round(height * SHARE_IN_ROOM)))
        share = SHARE_ASKED if self.teaching.telling.phase is Phase.ASKED else SHARE
        return max(LEAST_ROWS, min(MOST_ROWS, round(height * share), height - ROWS_LEFT))

    @property
    def _showing(self) -> Showing | None:
        return self.teaching.telling.showing if self.teaching is not None else None

    def _lines_at(self, width: int) -> list[Content]:
        assert self.teaching is not None
        telling = self.teaching.telling
        return list((told_lines if telling.showing is None else captions)(telling, width))

    def _look(self) -> None:
        if self.teaching is None:
            return
        telling, showing = self.teaching.telling, self.teaching.telling.showing
        if telling.phase is Phase.DOING:
            self.tell()
        elif showing is None or self._votes.display or self.app.screen is not self.screen:
            return  # nobody is hurried while there is something else to do
        elif showing.goes_on_in_s(telling, self._clock()) == 0:
            self._go_on_by_itself(telling)

    def _go_on_by_itself(self, telling: Telling) -> None:
        if telling.outcome is not None and telling.outcome.cannot:
            self._ask_lesson(1)  # what follows in this one needs what cannot be
        else:
            self.action_go_on()

    def tell(self) -> None:
        """Show how the lesson stands."""
        if self.teaching is None:
            return
        telling = self.teaching.telling
        title = plain(f"Lesson  {telling.lesson.title}  {telling.index + 1} of {len(telling.lesson.steps)}")
        for_room = telling.showing is not None
        self.border_title = Content(title)
        self.border_subtitle = keys_for_room(telling) if for_room else keys_now(telling)
        at = (for_room, telling.index, telling.phase, telling.step.name in telling.votes)
        if at != self._phase:
            self._phase = at
            self._set_columns()
            self.post_message(self.PhaseChanged())
        if telling.phase is Phase.SEEN:
            self.call_after_refresh(self._scroll.scroll_end, animate=False)
        self._told.show(self._lines_at)
        self._code.show(lambda width: list(code_lines(telling.step.code, width)))

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Leave keys that mean nothing at the moment to the dashboard."""
        if self.teaching is None or self._votes.display:
            return False
        telling = self.teaching.telling
        if action == "auto":
            return telling.showing is not None
        if action == "choose":
            return telling.phase is Phase.ASKED and parameters[0] in range(1, len(telling.step.choices) + 1)
        if action == "vote":
            return telling.phase is Phase.ASKED and bool(telling.step.choices)
        return True

    def action_choose(self, number: int) -> None:
        """Predict."""
        if self.teaching is not None:
            self.teaching.telling.choose(number)
            self.tell()

    def action_go_on(self) -> None:
        """Carry out the step, or go to the next one."""
        if self.teaching is None or self.teaching.telling.phase is Phase.DOING:
            return
        if self.teaching.telling.phase is Phase.SEEN:
            if not self._go(1):
                self._ask_lesson(1)
        else:
            self.run_worker(self._perform(), group="lesson")

    def action_go_back(self) -> None:
        """Go to the step before."""
        if not self._go(-1):
            self._ask_lesson(-1)

    def _go(self, by: int) -> bool:
        gone = self.teaching is not None and self.teaching.telling.go(by)
        if gone:
            self._scroll.scroll_home(animate=False)
            self.tell()
        return gone

    def _ask_lesson(self, by: int) -> None:
        """Ask for another lesson of those that a room is shown."""
        showing = self._showing
        if showing is None or self.teaching is None or self.teaching.telling.phase is Phase.DOING:
            return
        if showing.go(by):
            self.post_message(self.LessonAsked(by))
        elif showing.hands_over and by > 0:
            self.post_message(self.HandedOver())

    def action_page(self, by: int) -> None:
        """Scroll, or go through what a room is shown: these are the keys of a presenter's remote control."""
        if self._showing is None:
            (self._scroll.scroll_page_down if by > 0 else self._scroll.scroll_page_up)(animate=False)
        elif by > 0:
            self.action_go_on()
        else:
            self.action_go_back()

    def action_auto(self) -> None:
        """Go on by itself from now on, or no more."""
        if self._showing is not None:
            self._showing.turn_auto()
            self.tell()

    def action_again(self) -> None:
        """Ask about the step once more."""
        if self.teaching is not None:
            self.teaching.telling.again()
            self.tell()

    def action_code(self) -> None:
        """Show the code instead of what is told, where there is room for one of them, or go back."""
        self.toggle_class("-code")

    def action_vote(self) -> None:
        """Type the votes of the room."""
        self._votes.value, self._votes.placeholder = "", _VOTES
        self._votes.display = True
        self._votes.focus()

    def on_resize(self) -> None:
        """Put the code beside what is told where both fit."""
        self._set_columns()

    def _set_columns(self) -> None:
        """Have one column where it is narrow, or a room reads it beside a run."""
        for_room = self._showing is not None and not self.fills_screen
        self.set_class(for_room or self.size.width < TWO_COLUMNS, "-one")

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Take the votes."""
        message.stop()
        if self.teaching is None:
            return
        try:
            self.teaching.telling.vote(message.value)
        except ValueError as error:
            self._votes.placeholder, self._votes.value = str(error), ""
            return
        self._leave_votes()

    def on_vote_line_left(self, message: VoteLine.Left) -> None:
        """Go without votes."""
        message.stop()
        self._leave_votes()

    def _leave_votes(self) -> None:
        self._votes.display = False
        if self._showing is not None:
            self._showing.wait_again()
        self.focus_told()
        self.tell()

    def action_end(self) -> None:
        """Close the lesson; the run goes on."""
        self.teaching = None
        self.display = False
        if self._looking is not None:
            self._looking.stop()
            self._looking = None
        self.post_message(self.Ended())

    # Work.

    async def _perform(self) -> None:
        teaching = self.teaching
        if teaching is not None:
            try:
                await teaching.perform()
            except SockscopeError as error:
                teaching.say(error)
            self.tell()

    async def _carry_on(self) -> None:
        if self.teaching is not None:
            await self.teaching.carry_on()
            self.tell()


class VoteLine(Input):
    """Where the votes of a room are typed."""

    class Left(Message):
        """Escape was pressed."""

    BINDINGS: ClassVar = [Binding("escape", "leave", show=False)]

    def action_leave(self) -> None:
        """Leave the line as it is."""
        self.post_message(self.Left())


class _Told(VerticalScroll, inherit_bindings=False):
    """What is told; it scrolls by the line, and leaves other keys to the pane."""

    BINDINGS: ClassVar = [
        Binding("up", "scroll_up", "up", key_display="↑", show=False),
        Binding("down", "scroll_down", "down", key_display="↓", show=False),
    ]


class _Lines(Static):
    """Lines of text, as many as there are at their width."""

    _lines: Callable[[int], list[Content]] = staticmethod(lambda _: [])

    def show(self, lines: Callable[[int], list[Content]]) -> None:
        """Show what ``lines`` returns for a width."""
        self._lines = lines
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines there are."""
        return len(self._lines(width))

    def render(self) -> Content:
        """Draw them."""
        return Content("\n").join(self._lines(self.content_size.width))


_VOTES = "votes for each choice, such as 12 3 5"
