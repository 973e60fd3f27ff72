"""One run as a person watches and steers it: what is shown of it, and what is asked of it.

A session knows a run as a :class:`~sockscope.core.run.source.RunSource` and the screen as a
:class:`~sockscope.faces.tui.viewer.Viewer`; it needs neither sockets nor a terminal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Literal

from sockscope.core.config.applicability import idle_fields, offered
from sockscope.core.config.experiment import Experiment
from sockscope.core.events import EventLog
from sockscope.core.impairment.fault import Fault
from sockscope.core.results.intervals import Intervals
from sockscope.core.run.figures import figures
from sockscope.core.run.findings import Finding, limit_of, or_screen, screen_limit
from sockscope.core.run.snapshot import Capture, Cursors, ProcessKey, RunState, Snapshot
from sockscope.core.run.source import RunSource
from sockscope.core.run.trace import Trace
from sockscope.core.run.window import drained
from sockscope.core.units import format_duration
from sockscope.errors import ConfigError, SockscopeError
from sockscope.faces.tui.cost import ScreenCost
from sockscope.faces.tui.pace import Pace
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.tuner import Tuner
from sockscope.faces.tui.viewer import Severity, Viewer

TICK_S = 0.2
"""Five pictures a second, for about a tenth of a core."""
STEP_S = 0.002
"""Between the steps of a picture: what is called at once still belongs to the same turn of the loop."""
FIRST_TICKS = 6
"""So many pictures have the rows of tables: from other processes they come a little after that is asked."""
SOON_S = 0.12
"""After a change the next picture comes this soon, so that its effect is seen at once."""
PICTURES_JUDGED = 25
"""Whether the terminal keeps up is told by the last five seconds."""
CAUGHT_UP_S = 0.02
"""How often it is looked whether newer figures are shown."""
GRACE_S = 1.0
"""How long requests in flight may take to finish when the run is left."""
WINDOWS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Lengths of time that the graphs can show."""
DEFAULT_WINDOW_S = 30.0
"""What the graphs show until they are zoomed."""
EVENTS_KEPT = 10_000
"""Events of connections that the screen takes at once; what happens beyond them is counted as missed."""

Rest = Literal["race", "stop"]
"""Why the traffic rests: a race goes on, or the process is to be stopped."""


class Session:
    """A run and the view of it.

    :meth:`start` begins it, :meth:`tick` takes a picture of it, :meth:`finish` ends it. ``tick_s`` is how
    often the app calls :meth:`tick_in_turns`; None where somebody else decides when pictures are taken.
    """

    def __init__(
        self,
        source: RunSource,
        environment: Mapping[str, object] | None = None,
        *,
        tick_s: float | None = TICK_S,
    ) -> None:
        self.source = source
        self.environment = dict(environment or {})
        self.tick_s = tick_s
        self.trace = Trace()
        self.cost = ScreenCost()
        self.intervals = Intervals()
        self.tuner = Tuner(
            source,
            on_requested=self._show_request,
            on_applied=self._on_applied,
            on_refused=self._on_refused,
        )
        self.brought_along: dict[str, tuple[Fault, ...]] = {}
        """Faults that the key of another one has switched on, by its name: they go off with it."""
        self._viewer: Viewer | None = None
        self._begun = asyncio.Event()
        self._shown: ScreenState | None = None
        self._ticks = 0
        self._with_tables = False
        self._events_cursor = 0
        self._unseen_events = EventLog(EVENTS_KEPT)
        self._events_missed = 0
        self._taken: Snapshot | None = None
        self._was_overlaid = False
        self._disturbed = False
        self._absorbed: Snapshot | None = None
        self._window_s = DEFAULT_WINDOW_S
        self._frozen = False
        self._held = False
        self._dropped = 0
        self._pace = Pace()
        self._last_dropped: deque[bool] = deque(maxlen=PICTURES_JUDGED)
        self._cursor_s: float | None = None
        self._markers = 0
        self._rests: set[Rest] = set()
        self._is_over = False
        self._ran_out = False
        self._last_snapshot: Snapshot | None = None

    @property
    def experiment(self) -> Experiment:
        """What was fixed before the run began."""
        return self.source.experiment

    @property
    def shown(self) -> ScreenState | None:
        """What was handed to the screen last; None before the first picture."""
        return self._shown

    @property
    def moment(self) -> Snapshot:
        """The run as it is now, or was when the view was frozen."""
        return self._shown.snapshot if self._frozen and self._shown is not None else self.source.snapshot()

    @property
    def ticks(self) -> int:
        """How many pictures were taken."""
        return self._ticks

    @property
    def frozen(self) -> bool:
        """Whether the view is held still."""
        return self._frozen

    @property
    def cursor_s(self) -> float | None:
        """The moment that is looked at while frozen; None is the right edge of the graphs."""
        return self._cursor_s

    @property
    def window_s(self) -> float:
        """Seconds of the past that the graphs show."""
        return self._window_s

    @property
    def is_over(self) -> bool:
        """Whether the run is being ended, or has been."""
        return self._is_over

    @property
    def ran_out(self) -> bool:
        """Whether the run lasted as long as it should, and was not left before."""
        return self._ran_out

    @property
    def last_snapshot(self) -> Snapshot | None:
        """The figures of the whole run; None until :meth:`finish` has taken them."""
        return self._last_snapshot

    # Life.

    async def start(self, viewer: Viewer) -> None:
        """Begin the run and show it to ``viewer``; raises SockscopeError when it cannot start."""
        self._viewer = viewer
        await self.source.start()
        self.intervals.absorb(self.source.snapshot())
        self._begun.set()

    async def begun(self) -> None:
        """Wait until the run has begun."""
        await self._begun.wait()

    async def caught_up(self) -> None:
        """Wait until figures are shown that are newer than this call, unless nothing new is shown now."""
        at_s = self.source.snapshot(Cursors(events=0, most_events=0, most_exchanges=0)).time_s
        while not self._is_still:
            shown = self._shown
            if shown is not None and shown.figures.length_s and shown.snapshot.time_s > at_s:
                return
            await asyncio.sleep(CAUGHT_UP_S)

    async def wait(self) -> bool:
        """Return True when the run has lasted as long as it should, and False when it has failed.

        A failed run is stopped, but stays to be looked at.
        """
        await self.source.wait()
        if self.source.state is RunState.FAILED:
            await self.source.stop(0.0)
            return False
        self._ran_out = not self._is_over
        return True

    async def finish(self) -> None:
        """End the run; from now on nothing more is drawn."""
        self._is_over = True
        if self.source.state in (RunState.IDLE, RunState.STARTING):
            await self.tuner.close()
            return
        try:
            await self.tuner.close()
            # Taken while everything is still open: what the stop itself cuts off is no figure of the run.
            await self.source.conclude()
        finally:  # there are figures even if the user's own code cancels this
            self._absorb_taken()
            last = self.source.snapshot(Cursors(events=0, most_events=1, most_exchanges=0))
            self.intervals.finish(last)
            self._keep(last)
        await self.source.stop(GRACE_S)
        self._keep(drained(last, self.source.snapshot()))

    def _keep(self, last: Snapshot) -> None:
        self._last_snapshot = replace(last, state=self.source.state, error=self.source.error)

    # Pictures.

    def tick(self, *, tables: bool = False, hidden: bool = False) -> None:
        """Take a picture of the run and show it.

        Every second one has the rows of tables, the first ones all have, and one with ``tables`` has them in
        any case; ``hidden`` asks for those of panels out of sight too.
        """
        self._take(tables=tables, hidden=hidden)
        self._absorb_taken()
        self._show_absorbed()

    def tick_in_turns(self) -> None:
        """Take a picture of the run, absorb it and show it, each in another turn of the loop.

        Most ticks take none while the traffic is paused, or nobody can see it; of those that are taken most
        are not shown behind the palette or a sheet, or while nothing has happened.
        """
        if self._pace.takes(still=self._is_still):
            with self.cost.spent():
                self._take(tables=self.source.state is not RunState.RUNNING)
            self._then(self._absorb_and_then_show)

    @property
    def _is_still(self) -> bool:
        """Whether nothing happens, or nobody can see what does."""
        is_covered = self._viewer is not None and self._viewer.is_covered
        return self._frozen or is_covered or self.source.state is not RunState.RUNNING

    def _absorb_and_then_show(self) -> None:
        self._absorb_taken()
        snapshot = self._absorbed
        overlaid = self._viewer is not None and self._viewer.is_overlaid
        if snapshot is not None and self._pace.shows(snapshot, overlaid=overlaid):
            self._then(self._show_absorbed)

    def _then(self, call: Callable[[], None]) -> None:
        """Call ``call`` in a later turn of the loop."""
        if self._viewer is not None:
            self._viewer.call_after(STEP_S, lambda: self._spend(call))

    def _spend(self, call: Callable[[], None]) -> None:
        with self.cost.spent():
            call()

    def _take(self, *, tables: bool = False, hidden: bool = False) -> None:
        if self._is_over or self._viewer is None:
            return
        self._absorb_taken()
        self._ticks += 1
        self._with_tables = tables or not self._with_tables or self._ticks <= FIRST_TICKS
        overlaid = self._viewer.is_overlaid
        self._disturbed = self._disturbed or overlaid or self._was_overlaid
        self._was_overlaid = overlaid
        snapshot = self.source.snapshot(self._interest(self._viewer, hidden=hidden))
        self._events_cursor = snapshot.events_cursor
        self._pace.took(snapshot)
        self._taken = snapshot

    def _absorb_taken(self) -> None:
        """Let trace, intervals and log have the picture that was taken last, unless they have it."""
        snapshot, self._taken = self._taken, None
        if snapshot is not None:
            self.trace.absorb(snapshot, disturbed=self._disturbed)
            self._disturbed = False
            self.intervals.absorb(snapshot)
            self._unseen_events.extend(snapshot.events, snapshot.events_missed)
            self._absorbed = snapshot

    def _show_absorbed(self) -> None:
        """Show the picture that was absorbed last, unless that is done or nobody can see it."""
        snapshot, self._absorbed = self._absorbed, None
        if snapshot is None or self._is_over or self._frozen or self._viewer is None:
            return
        is_behind = self._viewer.is_behind
        self._dropped += is_behind
        self._last_dropped.append(is_behind)
        if not self._viewer.is_covered and not is_behind:
            unseen, self._unseen_events = self._unseen_events.since(0), EventLog(EVENTS_KEPT)
            self._events_missed += unseen.missed
            self._show(replace(snapshot, events=tuple(unseen.items), events_missed=self._events_missed))

    def _interest(self, viewer: Viewer, *, hidden: bool) -> Cursors:
        cursors = Cursors(events=self._events_cursor, most_events=EVENTS_KEPT, most_exchanges=0)
        if not self._with_tables or self._frozen or viewer.is_covered:
            return cursors
        still = hidden or self.source.state is RunState.PAUSED
        return viewer.interest(cursors, still=still, hidden=hidden)

    def _show(self, snapshot: Snapshot) -> None:
        headline = self.trace.headline or snapshot
        requested = self.tuner.requested
        self._present(
            ScreenState(
                snapshot=snapshot,
                trace=self.trace,
                figures=figures(headline),
                finding=self._limit_in(headline),
                headline=headline,
                dropped=self._dropped,
                cost=self.cost,
                requested=requested,
                now_s=snapshot.time_s,
                window_s=self._window_s,
                tables=self._with_tables,
                at_once=self._viewer is not None and self._viewer.is_overlaid,
                idle=idle_fields(self.experiment, requested),
                servers=offered(requested.transport, self.source.lacking),
            )
        )

    def _limit_in(self, window: Snapshot) -> Finding:
        cost = self.cost.figures()
        drawing = (cost.cpu_ratio, cost.longest_s) if cost is not None else (None, 0.0)
        return self._screen_limit() or or_screen(limit_of(window), window, *drawing)

    def _screen_limit(self) -> Finding | None:
        if len(self._last_dropped) < PICTURES_JUDGED:
            return None
        return screen_limit(sum(self._last_dropped), PICTURES_JUDGED)

    def _present(self, state: ScreenState) -> None:
        self._shown = state
        if self._viewer is not None:
            self._viewer.present(state)

    def _present_again(self, *, tables: bool = True) -> None:
        """Show the same moment once more, after the view of it has changed."""
        if self._shown is not None:
            state = self._with_request(self._shown)
            self._present(
                replace(
                    state,
                    snapshot=replace(state.snapshot, state=self.source.state),
                    window_s=self._window_s,
                    cursor_s=self._cursor_s,
                    frozen=self._frozen,
                    tables=tables,
                    at_once=True,
                )
            )

    def _with_request(self, state: ScreenState) -> ScreenState:
        requested = self.tuner.requested
        return replace(
            state,
            requested=requested,
            idle=idle_fields(self.experiment, requested),
            servers=offered(requested.transport, self.source.lacking),
        )

    # The view.

    def freeze(self, frozen: bool) -> None:
        """Hold the view still, or let it go on; captures stay readable while it is held."""
        if frozen:
            # A view that is held still must have the rows of all tables, those behind others too.
            self.tick(tables=True, hidden=True)
        self._frozen = frozen
        self._cursor_s = None
        self.source.hold(self._held or frozen)
        self._present_again()

    def disturb(self) -> None:
        """Note that the screen holds up the traffic (a resize, say): that is no effect of a change."""
        self._disturbed = True

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment readable, or let them go unless the view is frozen."""
        self._held = held
        self.source.hold(held or self._frozen)

    def scrub(self, direction: int) -> None:
        """Look at the moment a step later (1) or earlier (-1), while frozen."""
        state = self._shown
        if not self._frozen or state is None:
            self.say("space freezes the view, then ← and → go through time")
            return
        step = max(TICK_S, self._window_s / 150)
        self.look_at((self._cursor_s if self._cursor_s is not None else state.now_s) + direction * step)

    def look_at(self, time_s: float) -> None:
        """Look at a moment of the past (seconds on the clock of the run), if the view is frozen."""
        state = self._shown
        if self._frozen and state is not None:
            self._cursor_s = min(max(time_s, state.now_s - self._window_s), state.now_s)
            self._present_again(tables=False)

    def zoom(self, by: int) -> None:
        """Show a longer time (1) or a shorter one (-1)."""
        at = WINDOWS_S.index(self._window_s) + by
        self._show_window(WINDOWS_S[min(max(at, 0), len(WINDOWS_S) - 1)])

    def reset_zoom(self) -> None:
        """Show the length of time that is shown in the beginning."""
        self._show_window(DEFAULT_WINDOW_S)

    def _show_window(self, seconds: float) -> None:
        self._window_s = seconds
        if self._cursor_s is not None:
            self.look_at(self._cursor_s)  # it may lie outside of the window now
        else:
            self._present_again(tables=False)

    def show_other_rows(self) -> None:
        """Show the rows that the screen is interested in now, without waiting for the next tick."""
        if not self._frozen:
            self.tick(tables=True)

    def say(self, text: str, severity: Severity = "information") -> None:
        """Show a notice."""
        if self._viewer is not None:
            self._viewer.say(text, severity)

    # The run.

    def undo(self) -> None:
        """Undo the last knob change."""
        if not self.tuner.undo():
            self.say("nothing to undo")

    def redo(self) -> None:
        """Redo the change just undone."""
        if not self.tuner.redo():
            self.say("nothing to redo")

    def toggle_pause(self) -> None:
        """Pause the traffic, or let it go on; shown at once, in a frozen view too."""
        if self.source.state is RunState.PAUSED:
            self.source.resume()
        else:
            self.source.pause()
        if self._frozen:
            self._present_again(tables=False)
        else:
            self.tick()

    async def halt(self) -> None:
        """Pause the traffic before the process is stopped; wait a while until nothing is in flight."""
        self.rest(True, "stop")
        deadline = monotonic() + GRACE_S
        while self._rests and monotonic() < deadline:
            await self.source.settle()
            swarm = self.source.snapshot().swarm
            if swarm is None or not swarm.in_flight:
                break
            await asyncio.sleep(STEP_S)
        self.source.rest(True)

    def go_on(self) -> None:
        """Let the traffic go on that :meth:`halt` has paused."""
        self.source.rest(False)
        self.rest(False, "stop")

    def rest(self, resting: bool, why: Rest = "race") -> None:
        """Pause the traffic; it goes on when nothing asks for rest, if it was not paused before."""
        if resting and (self._rests or self.source.state is RunState.RUNNING):
            self._rests.add(why)
            self.source.pause()
        elif not resting and why in self._rests:
            self._rests.remove(why)
            if not self._rests:
                self.source.resume()

    def clear(self) -> None:
        """Reset figures and graphs; raises StateError when the run is not live."""
        self._absorb_taken()
        self.source.clear()
        self.trace.clear()
        self.say("figures reset")

    def mark(self) -> None:
        """Set a marker; raises StateError when the run is not live."""
        self.source.mark(f"mark {self._markers + 1}")
        self._markers += 1

    def stall(self) -> None:
        """Let the server stand still for a while."""
        try:
            self.source.stall()
        except SockscopeError as error:
            self.say(str(error), "error")
            return
        self.say(f"the server stands still for {format_duration(self.experiment.stall_s)}")

    async def reload(self) -> None:
        """Let the user's own code serve as it is in its files by now, on new connections."""
        name = self.experiment.own_server
        if not name:
            self.say("no code of your own serves here (--handler, --protocol or --asgi)")
            return
        try:
            done = await self.source.reload()
        except SockscopeError as error:
            self.say(f"the server goes on as it was: {error}", "error")
            return
        if done:
            self.say(f"{name} serves new connections: {done}")
            self._on_applied()
        elif "@" in name:
            self.say(f"{name} is of a revision, which nobody edits")
        else:
            self.say(f"no file of {name} was edited since it was imported")

    async def close_connection(self, role: str, conn_id: int) -> None:
        """Close one connection of a role."""
        try:
            if not await self.source.close_connection(role, conn_id):
                self.say(f"connection {conn_id} is already closed")
        except SockscopeError as error:
            self.say(str(error), "error")

    async def cancel_task(self, process: ProcessKey, task: int) -> None:
        """Cancel a task of own code in a process of the run, and say what became of it."""
        try:
            cancelled = await self.source.cancel_task(process, task)
        except SockscopeError as error:
            self.say(str(error), "error")
            return
        self.say(cancelled.sentence, "error" if cancelled.is_fault else "information")

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes; None when it has been overwritten."""
        return await self.source.capture(record_id)

    # Called by the tuner.

    def _show_request(self) -> None:
        """Show a turned knob at once; the graphs come with the next tick."""
        if self._shown is not None and self._viewer is not None:
            self._shown = self._with_request(self._shown)
            self._viewer.present_request(self._shown)

    def _on_applied(self) -> None:
        if self.tick_s is not None and self._viewer is not None:
            self._viewer.call_after(SOON_S, self.tick)

    def _on_refused(self, error: SockscopeError) -> None:
        if isinstance(error, ConfigError) and self._viewer is not None:
            self._viewer.refuse(error)
        else:
            self.say(str(error), "error")
