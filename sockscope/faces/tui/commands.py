"""What the actions do: a method per id of :data:`actions.ACTIONS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sockscope.core.config.experiment import FIELDS, Tuning
from sockscope.core.config.fields import Value
from sockscope.core.config.models import SERVERS_OF
from sockscope.core.run.snapshot import RunState
from sockscope.errors import SockscopeError
from sockscope.faces.tui.exports import export_all
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.panels.knobs import KnobList, KnobsPanel
from sockscope.faces.tui.screens.help import HelpScreen
from sockscope.faces.tui.screens.history import HistoryScreen
from sockscope.faces.tui.screens.race import RaceScreen

if TYPE_CHECKING:
    from sockscope.faces.tui.app import SockscopeApp

WINDOWS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
DEFAULT_WINDOW_S = 30.0
UNDO_STEPS = 100


class Commands:
    """The actions of one dashboard. ``do(id)`` runs one; faults become a notice, never a traceback."""

    def __init__(self, app: SockscopeApp) -> None:
        self._app = app
        self._undo: list[Tuning] = []
        self._redo: list[Tuning] = []
        self._markers = 0
        self._rests = False
        self._methods: dict[str, Callable[[], None]] = {
            name: getattr(self, name)
            for name in dir(self)
            if not name.startswith("_") and name not in ("do", "tune")
        }
        for digit in "12345678":
            self._methods[f"focus_{digit}"] = lambda d=digit: self._app.dashboard.focus_panel(d)  # type: ignore[misc]

    def do(self, action_id: str) -> None:
        """Run an action by its id."""
        try:
            self._methods[action_id]()
        except SockscopeError as error:
            self._app.say(str(error), "error")

    # Knobs.

    def tune(self, values: dict[str, Value]) -> None:
        """Ask for new values by field key; a fault is told beside the knob."""
        wanted = self._app.wanted
        changes: dict[str, Any] = {FIELDS[key].attribute: value for key, value in values.items()}
        changed = replace(wanted, **changes)
        if changed != wanted and self._app.want(changed):
            self._undo = [*self._undo[-UNDO_STEPS:], wanted]
            self._redo.clear()

    def _step(self, key: str, direction: int) -> None:
        entry = FIELDS[key]
        self.tune({key: entry.spec.step(getattr(self._app.wanted, entry.attribute), direction)})

    def _toggle(self, key: str) -> None:
        self._step(key, 1)

    def toggle_transport(self) -> None:
        """TCP to UDP and back; a server model that does not serve the other one goes to the default."""
        wanted = self._app.wanted
        transport = str(FIELDS["transport"].spec.step(wanted.transport, 1))
        serves = wanted.server == "default" or wanted.server in SERVERS_OF[transport]
        self.tune({"transport": transport, "server": wanted.server if serves else "default"})

    def toggle_family(self) -> None:
        """IPv4 to IPv6 and back."""
        self._toggle("family")

    def fewer_clients(self) -> None:
        """One step fewer clients."""
        self._step("clients", -1)

    def more_clients(self) -> None:
        """One step more clients."""
        self._step("clients", 1)

    def fewer_permits(self) -> None:
        """One step fewer permits."""
        self._step("permits", -1)

    def more_permits(self) -> None:
        """One step more permits."""
        self._step("permits", 1)

    def undo(self) -> None:
        """Go back to the tuning before the last change."""
        self._exchange(self._undo, self._redo, "nothing to undo")

    def redo(self) -> None:
        """Make the change again that was taken back."""
        self._exchange(self._redo, self._undo, "nothing to redo")

    def _exchange(self, source: list[Tuning], target: list[Tuning], nothing: str) -> None:
        if not source:
            self._app.say(nothing)
            return
        tuning = source.pop()
        before = self._app.wanted
        if self._app.want(tuning):
            target.append(before)

    # The run.

    def pause(self) -> None:
        """Pause the traffic, or let it go on."""
        engine = self._app.engine
        if engine.state is RunState.PAUSED:
            engine.resume()
        else:
            engine.pause()
        self._app.show_state()

    def reset_figures(self) -> None:
        """Let figures and graphs begin anew."""
        self._app.engine.clear()
        self._app.trace.clear()
        self._app.say("figures begin anew")

    def mark(self) -> None:
        """Set a marker."""
        self._markers += 1
        self._app.engine.mark(f"mark {self._markers}")

    def new_run(self) -> None:
        """Start a new run with the loop that was chosen."""
        app = self._app
        chosen = app.dashboard.query_one(KnobsPanel).chosen_loop or app.experiment.loop
        app.leave(restart=replace(app.experiment, loop=chosen, tuning=app.wanted))

    def close_connection(self) -> None:
        """Close the connection under the cursor."""
        self._app.dashboard.query_one(ConnectionsPanel).close_selected()

    # The view.

    def freeze(self) -> None:
        """Hold the view still, or let it go on."""
        self._app.freeze(not self._app.frozen)

    def earlier(self) -> None:
        """Look at an earlier moment."""
        self._app.scrub(-1)

    def later(self) -> None:
        """Look at a later moment."""
        self._app.scrub(1)

    def zoom_in(self) -> None:
        """Show a shorter time."""
        self._zoom(-1)

    def zoom_out(self) -> None:
        """Show a longer time."""
        self._zoom(1)

    def zoom_reset(self) -> None:
        """Show the last 30 seconds."""
        self._app.show_window(DEFAULT_WINDOW_S)

    def _zoom(self, by: int) -> None:
        at = WINDOWS_S.index(self._app.window_s)
        self._app.show_window(WINDOWS_S[min(max(at + by, 0), len(WINDOWS_S) - 1)])

    def maximise(self) -> None:
        """Give the panel in focus the whole screen, or take it back."""
        self._app.dashboard.maximise()

    def knobs(self) -> None:
        """Show all knobs."""
        self._app.dashboard.maximise_panel("knobs")

    def filter(self) -> None:
        """Filter the rows of the listing."""
        self._app.dashboard.listing().open_filter()

    def follow(self) -> None:
        """Follow the newest rows, or stop."""
        self._app.dashboard.listing().toggle_follow()

    def sort(self) -> None:
        """Sort the connections by the next column."""
        self._app.dashboard.query_one(ConnectionsPanel).sort_by_next()

    def switch_side(self) -> None:
        """Show the other end's connections."""
        self._app.dashboard.query_one(ConnectionsPanel).switch_side()

    # Keep and share.

    def copy(self) -> None:
        """Copy what the panel in focus offers."""
        panel = self._app.dashboard.focused_panel()
        text = panel.clipboard_text()
        if not text:
            self._app.say("nothing to copy here")
            return
        self._app.copy_to_clipboard(text)
        lines = text.count("\n") + 1
        self._app.say(f"copied {lines:,} line{'s' if lines > 1 else ''} of {panel.name_shown.lower()}")

    def export(self) -> None:
        """Write figures, series and a picture of the screen into the current directory."""
        try:
            paths = export_all(self._app)
        except OSError as error:
            self._app.say(f"cannot write: {error.strerror}: {error.filename}", "error")
            return
        self._app.say("wrote " + ", ".join(path.name for path in paths))

    def race(self) -> None:
        """Race server models; the run rests meanwhile."""
        app = self._app
        app.push_screen(RaceScreen(app.environment, app.history, self._rest))

    def _rest(self, wanted: bool) -> None:
        """Pause the run while a race goes on, and let it go on afterwards if it was not paused before."""
        engine = self._app.engine
        if wanted and engine.state is RunState.RUNNING:
            engine.pause()
            self._rests = True
        elif not wanted and self._rests:
            engine.resume()
            self._rests = False

    def history(self) -> None:
        """Show the finished runs."""
        history = self._app.history
        if history is None:
            self._app.say("no history: this run was started with --no-history")
        else:
            self._app.push_screen(HistoryScreen(history))

    # The program.

    def help(self) -> None:
        """Show the help, or close it."""
        if isinstance(self._app.screen, HelpScreen):
            self._app.pop_screen()
        else:
            self._app.push_screen(HelpScreen())

    def palette(self) -> None:
        """Open the palette."""
        self._app.action_command_palette()

    def suspend(self) -> None:
        """Suspend the program, as Ctrl+Z does to others."""
        self._app.action_suspend_process()

    def quit(self) -> None:
        """Stop the run and leave its summary."""
        self._app.leave()

    def interrupt(self) -> None:
        """Stop and quit; the second time leave at once."""
        self._app.interrupt()


def is_typing(app: SockscopeApp) -> bool:
    """Tell whether keys are text at the moment, so that they must not run actions."""
    focused = app.focused
    return isinstance(focused, KnobList) and focused.is_typing
