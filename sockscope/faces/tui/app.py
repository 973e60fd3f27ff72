"""The dashboard's app: brings a session, its screens and the table of actions together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from sockscope.core.config.experiment import Experiment
from sockscope.core.run.snapshot import RunState
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, SockscopeError
from sockscope.faces.tui import faults
from sockscope.faces.tui.actions import ACTIONS, BY_ID, Action
from sockscope.faces.tui.lessons import Teaching
from sockscope.faces.tui.look import Look, LookApp
from sockscope.faces.tui.offer import Offering
from sockscope.faces.tui.paced import PacedApp
from sockscope.faces.tui.room import RoomApp
from sockscope.faces.tui.screens.conversation import ConversationScreen, Reader
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.screens.faults import FaultsScreen
from sockscope.faces.tui.screens.help import HelpScreen
from sockscope.faces.tui.screens.history import HistoryScreen
from sockscope.faces.tui.screens.lessons import LessonsScreen
from sockscope.faces.tui.screens.open_loop import OpenLoopScreen
from sockscope.faces.tui.screens.race import RaceScreen
from sockscope.faces.tui.screens.sweep import SweepScreen
from sockscope.faces.tui.screens.verdict import VerdictScreen
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.terminal import TerminalEnding
from sockscope.lab.lessons.lesson import Lesson
from sockscope.lab.lessons.shelf import shelf
from sockscope.lab.lessons.showing import Showing
from sockscope.lab.lessons.telling import Telling
from sockscope.store.history import History


class SockscopeApp(RoomApp, PacedApp[int], LookApp[int]):
    """The dashboard of one session; ``on_started`` is called when the run is on the screen.

    ``dashboard`` is the main screen, whatever lies over it.
    """

    TITLE = "SockScope"
    BINDINGS: ClassVar = [
        Binding(a.keys, f"app.do('{a.id}')", a.label, key_display=a.shown, show=False, priority=a.priority)
        for a in ACTIONS
    ]

    def __init__(
        self,
        session: Session,
        history: History | None = None,
        read: Reader = lambda experiment, _: experiment,
        on_started: Callable[[], None] = lambda: None,
        look: Look = Look(),  # noqa: B008
        ending: TerminalEnding | None = None,
        telling: Telling | None = None,
    ) -> None:
        super().__init__(ending, look)
        self.session = session
        self.history = history
        self.read = read
        self.restart: Experiment | None = None
        self.notice = ""
        self.telling = telling
        """The lesson that goes on, here or in the run that begins next."""
        self.start_error: SockscopeError | None = None
        self._for_room = look.for_room
        self._on_started = on_started
        self._starting: asyncio.Future[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self.dashboard = DashboardScreen(session)

    @property
    def offering(self) -> Offering:
        """The screen that is seen, or the one below a sheet that lies over it."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, Offering))

    @property
    def is_followed(self) -> bool:
        """Whether another app takes the terminal over: the last picture stays on it until then."""
        return self.restart is not None

    async def on_mount(self) -> None:
        """Show what is about to begin, and begin it."""
        await self.push_screen(self.dashboard)
        self.dashboard.show_to_room(self._for_room)
        self._starting = asyncio.ensure_future(self.session.start(self.dashboard))
        self.listen()
        if self.telling is not None:
            self.begin_lesson(self.telling)
        # Keys wait for this call, and pictures do not: Textual draws none before the app is mounted.
        self.call_later(self._begin_run, self._starting)

    async def _begin_run(self, starting: asyncio.Future[None]) -> None:
        """Wait until the run has begun, and show it from then on."""
        await asyncio.wait({starting})
        if starting.cancelled():
            self.exit(EXIT_INTERRUPTED)
            return
        if isinstance(error := starting.exception(), SockscopeError):
            self.start_error = error
            self.exit(error.exit_code)
            return
        starting.result()
        if self.session.tick_s is not None:
            self.set_interval(self.session.tick_s, self.session.tick_in_turns)
        self.run_worker(self._leave_at_the_end())
        self.call_after_refresh(self._on_started)

    async def _leave_at_the_end(self) -> None:
        if await self.session.wait() and self._leaving is None:
            self.leave()

    def leave(self, restart: Experiment | None = None, notice: str = "") -> None:
        """Stop the run and leave; ``restart`` begins then, with ``notice``, unless one quits meanwhile."""
        if self._leaving is None:
            self.restart, self.notice = restart, notice
            if restart is not None:
                self.dashboard.announce(restart)
            self._leaving = self.begin(self._leave())
        elif restart is None:
            self.restart = None

    async def _leave(self) -> None:
        await self.session.finish()
        if self.return_code is None:  # a second Ctrl+C has said already with which code
            self.exit(EXIT_FAILED if self.session.source.state is RunState.FAILED else EXIT_OK)

    def interrupt(self, again: bool = True) -> None:
        """Leave; when asked ``again`` while that goes on, at once. What has not begun yet never does."""
        if self._starting is not None and self._starting.cancel():
            return
        if again and self._leaving is not None:
            self.exit(EXIT_INTERRUPTED)
        self.leave()

    asked_to_end = interrupt

    async def before_stop(self) -> None:
        """Let the traffic rest: what is in flight would be a timeout afterwards."""
        await self.session.halt()

    def after_stop(self) -> None:
        """Let the traffic go on."""
        self.session.go_on()

    def action_do(self, action_id: str) -> None:
        """Run an action of the table; while a value is typed only those that go before text."""
        action = BY_ID[action_id]
        if self._works_here(action) and (action.priority or not self.dashboard.is_typing):
            self.perform(action)

    def _works_here(self, action: Action) -> bool:
        """Tell whether an action means something on the screen that is seen."""
        return action.anywhere or not self.dashboard.is_covered

    def perform(self, action: Action) -> None:
        """Run an action; what is not possible becomes a notice."""
        try:
            action.call(self)
        except SockscopeError as error:
            self.session.say(str(error), "error")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer in the palette what keys do on this screen, and the themes."""
        yield SystemCommand("theme", "Change the colour theme", self.action_change_theme)
        for action in filter(self._works_here, ACTIONS):
            name = f"{action.label}  ({action.shown})"
            yield SystemCommand(name, action.tooltip, lambda a=action: self.perform(a))
        if not self.dashboard.is_covered:
            yield from (SystemCommand(*command) for command in faults.commands(self.session))

    def open_race(self) -> None:
        """Show the screen of races; the run rests while one goes on."""
        self.push_screen(RaceScreen(self.session.environment, self.history, self.session.rest))

    def open_sweep(self) -> None:
        """Show the screen of sweeps; the run rests while one goes on."""
        base = replace(self.session.experiment, tuning=self.session.tuner.requested)
        self.push_screen(SweepScreen(self.session.environment, self.history, self.session.rest, base))

    def open_conversation(self, experiment: Experiment, begin: Callable[[Experiment], bool]) -> None:
        """Show which server is asked and how it is spoken to; ``begin`` takes what is typed there."""
        self.push_screen(ConversationScreen(experiment, self.read, begin))

    def open_history(self) -> None:
        """Show the finished runs."""
        if self.history is None:
            self.session.say("no history: this run was started with --no-history")
        else:
            self.push_screen(HistoryScreen(self.history))

    def open_faults(self) -> None:
        """Show the faults that can be made, and switch them."""
        self.push_screen(FaultsScreen(self.session, self.dashboard))

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

    def open_verdict(self) -> None:
        """Show what the limit stands on."""
        self.push_screen(VerdictScreen(self.session, self.dashboard))

    def open_loops(self) -> None:
        """Show what a closed loop leaves out."""
        self.push_screen(OpenLoopScreen(self.session, self.dashboard))

    def toggle_help(self) -> None:
        """Show the help, or close it."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())
        else:
            self.pop_screen()
