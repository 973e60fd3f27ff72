"""The dashboard's app: owns the engine, takes a snapshot per tick, and hands it to the screen as a frame."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.driver import Driver
from textual.screen import ModalScreen, Screen

from sockscope.core.config.applicability import idle_fields, offered
from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.events import Event
from sockscope.core.results.intervals import Intervals
from sockscope.core.run.figures import figures
from sockscope.core.run.findings import limit_of
from sockscope.core.run.snapshot import Cursors, RunState, Snapshot
from sockscope.core.run.trace import Trace
from sockscope.engine.engine import Engine
from sockscope.engine.loops import calm_collector
from sockscope.engine.servers.registry import LACKING
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, ConfigError, SockscopeError
from sockscope.faces.tui.actions import ACTIONS, APP, BY_ID
from sockscope.faces.tui.commands import DEFAULT_WINDOW_S, Commands, is_typing
from sockscope.faces.tui.frame import Frame
from sockscope.faces.tui.messages import (
    CloseRequested,
    ExchangeRequested,
    HoldRequested,
    MomentRequested,
    QueryChanged,
    TuningRequested,
)
from sockscope.faces.tui.panels.exchanges import ExchangesPanel
from sockscope.faces.tui.panels.knobs import KnobList, KnobsPanel
from sockscope.faces.tui.panels.log import LINES
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.terminal import watchful
from sockscope.faces.tui.themes import THEMES
from sockscope.faces.tui.widgets.plain import plain
from sockscope.store.history import History

TICK_S = 0.2
"""Five pictures a second, for about a tenth of a core."""
SOON_S = 0.12
"""After a change the next picture comes this soon, so that its effect is seen at once."""
GRACE_S = 1.0


class SockscopeApp(App[int]):
    """The dashboard of one run."""

    TITLE = "SockScope"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar = [
        Binding(a.keys, f"app.do('{a.id}')", a.label, key_display=a.shown, show=False, priority=a.priority)
        for a in ACTIONS
    ]

    def __init__(
        self,
        experiment: Experiment,
        environment: Mapping[str, object] | None = None,
        history: History | None = None,
    ) -> None:
        super().__init__()
        self.history = history
        self.engine = Engine(experiment)
        self.experiment = experiment = self.engine.experiment
        self.environment = dict(environment or {})
        self.trace = Trace()
        self.intervals = Intervals()
        self.ran_out = False
        self.wanted: Tuning = experiment.tuning
        self.commands_table = Commands(self)
        self.window_s = DEFAULT_WINDOW_S
        self.frozen = False
        self.restart: Experiment | None = None
        self.last_snapshot: Snapshot | None = None
        self._cursors = Cursors()
        self._frozen_at: Frame | None = None
        self._cursor_s: float | None = None
        self._applier: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None
        self._ticks = 0
        self._unseen_events: deque[Event] = deque(maxlen=LINES)
        self.start_error: SockscopeError | None = None

    @property
    def dashboard(self) -> DashboardScreen:
        """The main screen, whatever lies over it."""
        return next(screen for screen in self.screen_stack if isinstance(screen, DashboardScreen))

    # Life.

    async def on_mount(self) -> None:
        """Start the run and the ticks."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        await self.push_screen(DashboardScreen())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.interrupt if number == signal.SIGINT else self.leave)
        try:
            await self.engine.start()
        except SockscopeError as error:
            self.start_error = error
            self.exit(error.exit_code)
            return
        self.intervals.absorb(self.engine.snapshot())
        self.set_interval(TICK_S, self._tick)
        self._end = asyncio.create_task(self._leave_at_the_end())
        self.call_after_refresh(calm_collector)

    async def _leave_at_the_end(self) -> None:
        """Leave when the run has lasted as long as it should; a failed one stays to be looked at."""
        await self.engine.wait()
        if self.engine.state is RunState.FAILED:
            await self.engine.stop(0.0)
        else:
            self.ran_out = self._leaving is None
            self.leave()

    def leave(self, restart: Experiment | None = None) -> None:
        """Stop the run and leave; with ``restart`` begin that run afterwards."""
        if self._leaving is None:
            self.restart = restart
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        if self._applier is not None:
            self._applier.cancel()
        if self.engine.state in (RunState.IDLE, RunState.STARTING):
            self._exit_with(EXIT_OK)
            return
        # Taken while everything is still open: what the stop itself cuts off is no figure of the run.
        await self.engine.settle()
        last = self.engine.snapshot()
        self.intervals.finish(last)
        await self.engine.stop(GRACE_S)
        self.last_snapshot = replace(last, state=self.engine.state, error=self.engine.error)
        self._exit_with(EXIT_FAILED if self.engine.state is RunState.FAILED else EXIT_OK)

    def _exit_with(self, code: int) -> None:
        """Exit, unless a second Ctrl+C has said already with which code."""
        if not self._exit:
            self.exit(code)

    def interrupt(self) -> None:
        """Leave; the second time at once."""
        if self._leaving is None:
            self.leave()
        else:
            self.exit(EXIT_INTERRUPTED)

    def get_driver_class(self) -> type[Driver]:
        """Return the terminal's driver, made to tell of its end."""
        return watchful(super().get_driver_class(), self.leave)

    # Ticks.

    def _tick(self, *, hidden: bool = False) -> None:
        if self._leaving is not None:
            return
        self._ticks += 1
        snapshot = self.engine.snapshot(self._wanted_rows(hidden))
        self._cursors = replace(self._cursors, events=snapshot.events_cursor)
        self.trace.absorb(snapshot)
        self.intervals.absorb(snapshot)
        self._unseen_events.extend(snapshot.events)
        if not self.frozen and not self._is_covered:
            self._show(replace(snapshot, events=tuple(self._unseen_events)))
            self._unseen_events.clear()

    @property
    def _is_covered(self) -> bool:
        """Whether another screen hides the dashboard altogether."""
        return not isinstance(self.screen, DashboardScreen | ModalScreen)

    def _tick_with_tables(self, *, hidden: bool = False) -> None:
        self._ticks |= 1
        self._tick(hidden=hidden)

    def _wanted_rows(self, hidden: bool) -> Cursors:
        """Ask for rows only when this tick draws tables; to freeze, for ``hidden`` ones too."""
        if self._ticks % 2:
            return replace(self._cursors, connections=None, most_exchanges=0)
        return replace(
            self._cursors,
            connections=self.dashboard.connection_query(hidden=hidden),
            exchanges=self.dashboard.exchanges_listed(),
            most_exchanges=self.dashboard.exchanges_wanted(
                still=hidden or self.engine.state is RunState.PAUSED, hidden=hidden
            ),
        )

    def _show(self, snapshot: Snapshot) -> None:
        headline = self.trace.headline or snapshot
        frame = Frame(
            snapshot=snapshot,
            trace=self.trace,
            figures=figures(headline),
            finding=limit_of(headline),
            wanted=self.wanted,
            now_s=snapshot.time_s,
            window_s=self.window_s,
            tables=self._ticks % 2 == 0,
            idle=frozenset(idle_fields(self.experiment, self.wanted)),
            servers=offered(self.wanted.transport, LACKING),
        )
        self._present(frame)

    def _present(self, frame: Frame) -> None:
        self._frozen_at = frame
        with self.batch_update():
            self.dashboard.frame = frame

    def _present_again(self, *, tables: bool = True) -> None:
        """Show the same moment once more, after the view has changed."""
        frame = self._frozen_at
        if frame is not None:
            self._present(
                replace(
                    frame,
                    snapshot=replace(frame.snapshot, state=self.engine.state),
                    wanted=self.wanted,
                    idle=frozenset(idle_fields(self.experiment, self.wanted)),
                    servers=offered(self.wanted.transport, LACKING),
                    window_s=self.window_s,
                    cursor_s=self._cursor_s,
                    frozen=self.frozen,
                    tables=tables,
                    at_once=True,
                )
            )

    # The view.

    def show_state(self) -> None:
        """Show the state of the run at once, in a frozen view too."""
        if self.frozen:
            self._present_again(tables=False)
        else:
            self._tick()

    def freeze(self, frozen: bool) -> None:
        """Hold the view still, or let it go on; held captures stay readable."""
        if frozen:
            # What is held still must have the rows of all tables, those behind others too.
            self._tick_with_tables(hidden=True)
        self.frozen = frozen
        self._cursor_s = None
        self.engine.hold(frozen)
        self.dashboard.prepare_to_scrub(frozen)
        self._present_again()

    def scrub(self, direction: int) -> None:
        """Move the moment that is looked at by a tick, while frozen."""
        frame = self._frozen_at
        if not self.frozen or frame is None:
            self.say("space freezes the view, then ← and → go through time")
            return
        step = max(TICK_S, self.window_s / 150)
        self._look_at((self._cursor_s if self._cursor_s is not None else frame.now_s) + direction * step)

    def _look_at(self, time_s: float) -> None:
        frame = self._frozen_at
        if frame is not None:
            self._cursor_s = min(max(time_s, frame.now_s - self.window_s), frame.now_s)
            self._present_again(tables=False)

    def show_window(self, seconds: float) -> None:
        """Show so many seconds of the past."""
        self.window_s = seconds
        self._present_again(tables=False)

    def say(self, text: str, severity: Literal["information", "warning", "error"] = "information") -> None:
        """Show a notice; whatever is in it is text, not markup."""
        self.notify(plain(text), severity=severity, timeout=4, markup=False)

    # Tuning.

    def want(self, tuning: Tuning) -> bool:
        """Go over to ``tuning`` as soon as possible; False when it is refused, which is told at the knob."""
        try:
            replace(self.experiment, tuning=tuning).validated()
        except ConfigError as error:
            self._refuse(error)
            return False
        self.wanted = tuning
        if self._applier is None or self._applier.done():
            self._applier = asyncio.create_task(self._apply())
        self._show_wanted()
        return True

    def _show_wanted(self) -> None:
        """Show a turned knob at once; the graphs come with the next tick."""
        if self._frozen_at is not None:
            self._frozen_at = replace(
                self._frozen_at,
                wanted=self.wanted,
                idle=frozenset(idle_fields(self.experiment, self.wanted)),
                servers=offered(self.wanted.transport, LACKING),
            )
            self.dashboard.query_one(KnobsPanel).frame = self._frozen_at

    async def _apply(self) -> None:
        """Apply what is wanted until it is what runs; keys that came meanwhile are taken together."""
        while self.engine.tuning != (wanted := self.wanted):
            try:
                await self.engine.apply(wanted)
            except SockscopeError as error:
                self.wanted = self.engine.tuning
                self._refuse(error)
                self._present_again(tables=False)
                return
            self.set_timer(SOON_S, self._tick)

    def _refuse(self, error: SockscopeError) -> None:
        knobs = self.dashboard.query_one(KnobList)
        if isinstance(error, ConfigError):
            for fault in error.faults:
                knobs.refuse(fault.field, fault.why)
        self.say(str(error), "error")

    # What panels ask for.

    def on_tuning_requested(self, message: TuningRequested) -> None:
        """A knob was turned."""
        self.commands_table.tune(dict(message.values))

    def on_exchange_requested(self, message: ExchangeRequested) -> None:
        """Hand the bytes of one exchange to the inspector."""
        if message.record_id is not None:
            # The bytes may lie in another process, which must not hold up the keys; only the last one asked
            # for is of interest.
            self.run_worker(self._show_exchange(message.record_id), group="exchange", exclusive=True)

    async def _show_exchange(self, record_id: int) -> None:
        capture = await self.engine.capture(record_id)
        snapshot = self._frozen_at.snapshot if self._frozen_at else None
        started = snapshot.started_s if snapshot else 0.0
        self.dashboard.query_one(ExchangesPanel).show_capture(capture, started)

    def on_hold_requested(self, message: HoldRequested) -> None:
        """Keep captures while somebody reads them."""
        self.engine.hold(message.held or self.frozen)

    def on_moment_requested(self, message: MomentRequested) -> None:
        """Look at the moment that was clicked, if the view is frozen."""
        if self.frozen:
            self._look_at(message.time_s)

    def on_query_changed(self, message: QueryChanged) -> None:
        """Show other connections at once."""
        if not self.frozen:
            self._tick_with_tables()

    def on_close_requested(self, message: CloseRequested) -> None:
        """Close a connection."""
        self.run_worker(self._close_connection(message.role, message.conn_id))

    async def _close_connection(self, role: str, conn_id: int) -> None:
        if not await self.engine.close_connection(role, conn_id):
            self.say(f"connection {conn_id} is closed already")

    # Actions.

    def action_do(self, action_id: str) -> None:
        """Run an action of the table; while a value is typed only those that go before text."""
        action = BY_ID[action_id]
        if self._is_covered and action.group is not APP:
            return  # what it would change cannot be seen
        if action.priority or not is_typing(self):
            self.commands_table.do(action_id)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer every action in the palette, and the themes."""
        yield SystemCommand("theme", "Choose other colours", self.action_change_theme)
        for action in ACTIONS:
            yield SystemCommand(
                f"{action.label}  ({action.shown})",
                action.tooltip,
                lambda a=action.id: self.commands_table.do(a),
            )
