"""The dashboard's app: brings a session, its screens and the table of actions together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from sockscope.core.config.experiment import Experiment
from sockscope.errors import SockscopeError
from sockscope.faces.tui import faults
from sockscope.faces.tui.actions import ACTIONS, BY_ID, Action
from sockscope.faces.tui.look import Look, LookApp
from sockscope.faces.tui.offer import Offering
from sockscope.faces.tui.room import RoomApp
from sockscope.faces.tui.screens.conversation import ConversationScreen, Reader
from sockscope.faces.tui.screens.faults import FaultsScreen
from sockscope.faces.tui.screens.help import HelpScreen
from sockscope.faces.tui.screens.history import HistoryScreen
from sockscope.faces.tui.screens.open_loop import OpenLoopScreen
from sockscope.faces.tui.screens.race import RaceScreen
from sockscope.faces.tui.screens.sweep import SweepScreen
from sockscope.faces.tui.screens.verdict import VerdictScreen
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.terminal import TerminalEnding
from sockscope.lab.lessons.telling import Telling
from sockscope.store.history import History


class SockscopeApp(RoomApp, LookApp[int]):
    """The dashboard of one session; ``on_started`` is called when the run is on the screen.

    ``read`` makes an experiment of what is typed, ``telling`` is a lesson to begin with, or to go on with.
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
        super().__init__(session, on_started, ending, look)
        self.history = history
        self.read = read
        self.telling = telling
        self._for_room = look.for_room

    @property
    def offering(self) -> Offering:
        """The screen that is seen, or the one below a sheet that lies over it."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, Offering))

    def on_shown(self) -> None:
        """Begin to show it to a room, and the lesson, if that is so."""
        self.dashboard.show_to_room(self._for_room)
        if self.telling is not None:
            self.begin_lesson(self.telling)

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

    def open_verdict(self) -> None:
        """Show what the limit stands on."""
        self.push_screen(VerdictScreen(self.session, self.dashboard))

    def open_loops(self) -> None:
        """Show what a closed loop leaves out."""
        if (state := self.dashboard.state) is None:
            self.session.say("nothing has been measured yet")
        else:
            self.push_screen(OpenLoopScreen(self.session, state))

    def toggle_help(self) -> None:
        """Show the help, or close it."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())
        else:
            self.pop_screen()
