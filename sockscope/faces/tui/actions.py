"""Everything that a key, a click or the palette can do: one table.

Bindings, the footer, the help screen and the command palette are made from it; each row names what it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sockscope.core.config.experiment import FIELDS, FIELDS_BY_ATTRIBUTE, Experiment
from sockscope.core.run.snapshot import RunState
from sockscope.engine.own_code import reload
from sockscope.errors import ConfigError
from sockscope.faces.tui.exports import write_files
from sockscope.faces.tui.offer import Offering
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.panels.knobs import KnobsPanel
from sockscope.faces.tui.panels.latency import LatencyPanel
from sockscope.faces.tui.panels.swarm_map import SwarmMapPanel
from sockscope.faces.tui.panels.table import PANELS
from sockscope.faces.tui.session import Session

if TYPE_CHECKING:
    from sockscope.faces.tui.screens.dashboard import DashboardScreen


class Controls(Protocol):
    """What actions act on: the session, the dashboard's screen, and what only the app can do."""

    @property
    def session(self) -> Session:
        """The run and the view of it."""

    @property
    def dashboard(self) -> DashboardScreen:
        """The main screen, whatever lies over it."""

    def leave(self, restart: Experiment | None = None, notice: str = "") -> None:
        """Stop the run and quit; with ``restart`` begin that run afterwards, and show ``notice`` in it."""

    def interrupt(self) -> None:
        """Stop and quit; the second time at once."""

    def open_race(self) -> None:
        """Show the screen of races."""

    def open_sweep(self) -> None:
        """Show the screen of sweeps."""

    def open_conversation(self, experiment: Experiment, begin: Callable[[Experiment], bool]) -> None:
        """Show which server is asked and how it is spoken to; ``begin`` takes what is typed there."""

    def open_history(self) -> None:
        """Show the finished runs."""

    def open_loops(self) -> None:
        """Show what a closed loop leaves out, and go over to an open one."""

    def open_faults(self) -> None:
        """Show the faults that can be made, and switch them."""

    def open_lessons(self) -> None:
        """Show the lessons, or give the keys to the one that goes on."""

    def present(self) -> None:
        """Show few panels, large, and the keys that are pressed: to a room; or go back."""

    def swap_light(self) -> None:
        """Change between light and dark colours."""

    def open_verdict(self) -> None:
        """Show what the limit stands on."""

    def toggle_help(self) -> None:
        """Show the help, or close it."""

    def action_command_palette(self) -> None:
        """Open the palette."""

    def action_suspend_process(self) -> None:
        """Suspend the program, as Ctrl+Z does elsewhere."""

    def copy_to_clipboard(self, text: str) -> None:
        """Put ``text`` on the clipboard of the terminal."""

    @property
    def offering(self) -> Offering:
        """The screen that is seen, or the one below a sheet that lies over it."""

    def picture(self) -> str:
        """Return what is seen as SVG."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action: its keys as Textual names them and as people write them, its words, and what it calls.

    ``rank`` orders the footer (0 = not there; low numbers go last when it is narrow). Actions with
    ``priority`` go before text that is being typed, those ``anywhere`` work on every screen, the others only
    on the dashboard. ``now`` returns the label at the moment, where that depends on what is shown; "" when
    the key does nothing worth a place in the footer.
    """

    id: str
    keys: str
    shown: str
    label: str
    tooltip: str
    group: str
    call: Callable[[Controls], object]
    rank: int = 0
    priority: bool = False
    anywhere: bool = False
    now: Callable[[DashboardScreen], str] | None = None


RUN, LOOK, GO, KEEP, APP = "The run", "The view", "Panels", "Keep and share", "The program"


def _step(key: str, direction: int) -> Callable[[Controls], None]:
    return lambda on: on.session.tuner.step(key, direction)


def _focus(panel_id: str) -> Callable[[Controls], None]:
    return lambda on: on.dashboard.focus_panel(panel_id)


def _connections(on: Controls) -> ConnectionsPanel:
    return on.dashboard.panel(ConnectionsPanel)


def _other(key: str) -> Callable[[DashboardScreen], str]:
    """Return what leads to the next choice."""

    def label(on: DashboardScreen) -> str:
        if on.state is None:
            return key
        spec = FIELDS[key].spec
        other = spec.step(getattr(on.state.requested, FIELDS[key].attribute), 1)
        return f"to {_NAMES.get(str(other), other)}"

    return label


_NAMES = {"tcp": "TCP", "udp": "UDP", "ipv4": "IPv4", "ipv6": "IPv6", "unix": "Unix"}


def _while_frozen(label: str, otherwise: str = "") -> Callable[[DashboardScreen], str]:
    return lambda on: label if on.state is not None and on.state.frozen else otherwise


def _pause_or_resume(on: DashboardScreen) -> str:
    return "resume" if on.state is not None and on.state.snapshot.state is RunState.PAUSED else "pause"


def _as_chosen(on: Controls) -> Experiment:
    """Return what a new run is to be: what runs, with the knobs as they are and the loop that was chosen."""
    experiment = on.session.experiment
    loop = on.dashboard.panel(KnobsPanel).chosen_loop or experiment.loop
    return replace(experiment, loop=loop, tuning=on.session.tuner.requested)


def _begin(on: Controls, again: Experiment) -> None:
    try:
        notice = reload(again) if again.own_server else ""
    except ConfigError as error:
        on.session.say(f"no new run, the server goes on as it was: {error}", "error")
        return
    on.leave(restart=again, notice=notice)


def _describe(on: Controls, described: Experiment) -> bool:
    """Go over to what was described: live if that will do, else with a new run; return whether it is live."""
    running, tuning = on.session.experiment, described.tuning
    if replace(described, tuning=running.tuning) != running:
        _begin(on, described)
        return False
    changed = (FIELDS_BY_ATTRIBUTE[name].spec.key for name in on.session.tuner.requested.changes_to(tuning))
    on.session.tuner.set({key: described.value(key) for key in changed})
    return True


def _end_selected(on: Controls) -> None:
    if not isinstance(on.dashboard.focused_panel(), SwarmMapPanel):
        on.dashboard.listing().end_selected() or _connections(on).end_selected()
    else:
        on.dashboard.focus_panel(_connections(on).entry.id)  # what is closed is to be seen before


def _follow(on: Controls) -> None:
    listing = on.dashboard.listing()
    if listing.follows:
        listing.toggle_follow()
    else:
        on.session.say("connections are sorted (s); the log and the exchanges follow the newest row")


def _copy(on: Controls) -> None:
    clipping = on.offering.clipping()
    if not clipping.text:
        on.session.say("nothing to copy here")
        return
    text, told = clipping.bounded()
    on.copy_to_clipboard(text)
    on.session.say(told)


def _export(on: Controls) -> None:
    try:
        paths = write_files({**on.offering.files(), "svg": on.picture()})
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        on.session.say(f"cannot write: {error.strerror}{where}", "error")
        return
    on.session.say("wrote " + ", ".join(path.name for path in paths))


def _load_edit(on: DashboardScreen) -> str:
    own = on.state.snapshot.experiment.own_server if on.state is not None else ""
    return "load edit" if own and "@" not in own else ""  # a revision is not edited


ACTIONS: tuple[Action, ...] = (
    Action("toggle_transport", "t", "t", "TCP/UDP", "Switch to the other transport, live", RUN,
           lambda on: on.session.tuner.toggle_transport(), 90, now=_other("transport")),
    Action("toggle_family", "v", "v", "family", "Switch to the next family: IPv4, IPv6, Unix sockets", RUN,
           _step("family", 1), 60, now=_other("family")),
    Action("fewer_clients", "left_square_bracket", "[", "fewer clients", "One step fewer clients", RUN,
           _step("clients", -1)),
    Action("more_clients", "right_square_bracket", "]", "more clients", "One step more clients", RUN,
           _step("clients", 1)),
    Action("fewer_permits", "left_curly_bracket", "{", "fewer permits", "One step fewer permits", RUN,
           _step("permits", -1)),
    Action("more_permits", "right_curly_bracket", "}", "more permits", "One step more permits", RUN,
           _step("permits", 1)),
    Action("undo", "u", "u", "undo", "Undo the last knob change", RUN,
           lambda on: on.session.undo(), 50),
    Action("redo", "U", "U", "redo", "Redo the change just undone", RUN,
           lambda on: on.session.redo()),
    Action("pause", "p", "p", "pause", "Pause the traffic, or let it go on; connections stay open", RUN,
           lambda on: on.session.toggle_pause(), 80, now=_pause_or_resume),
    Action("reset_figures", "R", "R", "reset", "Reset figures and graphs", RUN,
           lambda on: on.session.clear()),
    Action("mark", "m", "m", "marker", "Set a marker on every graph and in the log", RUN,
           lambda on: on.session.mark()),
    Action("stall", "k", "k", "stall",
           "Let the server stand still for a second (--stall), as in a call that blocks",
           RUN, lambda on: on.session.stall(), 42),
    Action("faults", "F", "F", "faults",
           "Faults on demand: delay, loss, resets, a blocked loop and more, live and undone by the same key",
           RUN, lambda on: on.open_faults(), 47),
    Action("reload", "l", "l", "load edit",
           "Let your own code serve new connections as it is in its files now; the run goes on", RUN,
           lambda on: on.dashboard.run_worker(on.session.reload()), 63,
           now=_load_edit),
    Action("new_run", "N", "N", "new run",
           "Start a new run, with the chosen loop and your handler as it is in its file now", RUN,
           lambda on: _begin(on, _as_chosen(on))),
    Action("conversation", "c", "c", "server",
           "Start a new run against another server, or speak to it in another way", RUN,
           lambda on: on.open_conversation(_as_chosen(on), partial(_describe, on)), 35),
    Action("freeze", "space", "space", "freeze", "Hold the view still; the traffic goes on", LOOK,
           lambda on: on.session.freeze(not on.session.frozen), 85, now=_while_frozen("unfreeze", "freeze")),
    Action("earlier", "left", "←", "earlier", "While frozen: look at an earlier moment", LOOK,
           lambda on: on.session.scrub(-1), 83, now=_while_frozen("earlier")),
    Action("later", "right", "→", "later", "While frozen: look at a later moment", LOOK,
           lambda on: on.session.scrub(1), 82, now=_while_frozen("later")),
    Action("zoom_in", "equals_sign,plus", "=", "zoom in", "Show a shorter time", LOOK,
           lambda on: on.session.zoom(-1)),
    Action("zoom_out", "minus", "-", "zoom out", "Show a longer time", LOOK,
           lambda on: on.session.zoom(1)),
    Action("zoom_reset", "0", "0", "zoom 30 s", "Show the last 30 seconds", LOOK,
           lambda on: on.session.reset_zoom()),
    Action("heat_map", "d", "d", "heat map",
           "Latency as curves, or as a heat map of the response times, or of the service times", LOOK,
           lambda on: on.dashboard.panel(LatencyPanel).turn_face(), 44),
    Action("open_loop", "o", "o", "open loop",
           "What an open loop at the same rate would add to the latencies, and the switch to it; also Enter "
           "on the latency panel", LOOK,
           lambda on: on.open_loops()),
    Action("verdict", "i", "i", "evidence",
           "What the limit stands on, which rules do not hold, and what to turn; a click on the limit does "
           "the same, and Enter where it is in focus (Shift+Tab)", LOOK,
           lambda on: on.open_verdict(), 84),
    Action("maximise", "backslash", "\\", "maximise", "Maximise the panel in focus, or restore all", LOOK,
           lambda on: on.dashboard.maximise(), 55,
           now=lambda on: "restore" if on.is_maximised else "maximise"),
    Action("back", "escape", "Esc", "back", "Close the detail, or restore a maximised panel", LOOK,
           lambda on: on.dashboard.back(), 86, now=lambda on: "back" if on.can_go_back else ""),
    Action("filter", "slash", "/", "filter", "Show only rows that contain a text", LOOK,
           lambda on: on.dashboard.listing().open_filter(), 65),
    Action("follow", "f", "f", "follow", "Follow the newest rows, or stop following", LOOK,
           _follow),
    Action("sort", "s", "s", "sort", "Sort the connections, or the tasks, by the next column", LOOK,
           lambda on: on.dashboard.listing().sort_by_next() or _connections(on).sort_by_next()),
    Action("switch_side", "w", "w", "other side", "Connections of the server, or of the clients", LOOK,
           lambda on: _connections(on).switch_side()),
    Action("close_connection", "x", "x", "close",
           "Close the connection that is selected; cancel the task that is selected (press it twice)", RUN,
           _end_selected),
    *(
        Action(f"focus_{p.digit}", p.digit, p.digit, p.label, p.about, GO, _focus(p.id))
        for p in PANELS if p.digit
    ),
    Action("knobs", "comma", ",", "all knobs", "All knobs, on the whole screen", GO,
           lambda on: on.dashboard.maximise_panel(on.dashboard.panel(KnobsPanel)), 40,
           now=lambda on: "restore" if on.has_screen(on.panel(KnobsPanel)) else "all knobs"),
    Action("copy", "y", "y", "copy", "Copy what is selected", KEEP,
           _copy, anywhere=True),
    Action("export", "e", "e", "export", "Write figures and a picture of the screen to files", KEEP,
           _export, 62, anywhere=True),
    Action("race", "r", "r", "race", "Server models side by side, under the same work", KEEP,
           lambda on: on.open_race(), 48),
    Action("sweep", "W", "W", "sweep", "Step through a knob: its curve, where it bends, and its law", KEEP,
           lambda on: on.open_sweep(), 28),
    Action("lessons", "L", "L", "lessons", "Lessons: predict, then see it happen on real sockets", GO,
           lambda on: on.open_lessons(), 88),
    Action("present", "P", "P", "present",
           "Show it to a room: the map and two graphs, large, and every key that is pressed; the same key "
           "goes back", GO, lambda on: on.present()),
    Action("light", "D", "D", "light/dark", "Change between light and dark colours", LOOK,
           lambda on: on.swap_light(), anywhere=True),
    Action("history", "h", "h", "history", "Finished runs, and two of them overlaid", KEEP,
           lambda on: on.open_history(), 45),
    Action("help", "question_mark,f1", "?", "help", "Keys, and what each figure means", APP,
           lambda on: on.toggle_help(), 95, anywhere=True),
    Action("palette", "ctrl+p", "^p", "palette", "Every action, by name", APP,
           lambda on: on.action_command_palette(), 30, anywhere=True),
    Action("suspend", "ctrl+z", "^z", "suspend", "Suspend the program", APP,
           lambda on: on.action_suspend_process(), anywhere=True),
    Action("quit", "q", "q", "quit", "Stop the run and leave its summary in the terminal", APP,
           lambda on: on.leave(), 99, anywhere=True),
    Action("interrupt", "ctrl+c", "^c", "stop", "Stop and quit; a second time leaves at once", APP,
           lambda on: on.interrupt(), priority=True, anywhere=True),
)  # fmt: skip
"""Every action of the dashboard."""

BY_ID = {action.id: action for action in ACTIONS}
"""The same by their identifiers."""


def labels_now(on: DashboardScreen) -> dict[str, str]:
    """Return, by id, the labels that depend on what is shown, as they are at the moment."""
    return {action.id: action.now(on) for action in ACTIONS if action.now is not None}


def footer_actions(width: int, labels: Mapping[str, str]) -> list[Action]:
    """Return the actions of a footer ``width`` cells wide in the order of the table, labelled by id."""
    actions = [replace(a, label=labels.get(a.id, a.label)) for a in ACTIONS if a.rank]
    chosen: list[Action] = []
    left = width
    for action in sorted((a for a in actions if a.label), key=lambda a: -a.rank):
        needed = len(action.shown) + len(action.label) + 3
        if needed <= left:
            chosen.append(action)
            left -= needed
    return [action for action in actions if action in chosen]
