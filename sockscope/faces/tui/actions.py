"""Everything that a key, a click or the palette can do: one table.

Bindings, the footer, the help screen and the command palette are made from it. ``Commands`` (see
:mod:`commands`) has a method of the same name for each id.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """One action: the method of ``Commands`` it calls, its keys as Textual names them and as people write
    them, and its words. ``rank`` orders the footer (0 = not there; low numbers go last when it is narrow).
    """

    id: str
    keys: str
    shown: str
    label: str
    tooltip: str
    group: str
    rank: int = 0
    priority: bool = False


RUN, LOOK, GO, KEEP, APP = "The run", "The view", "Panels", "Keep and share", "The program"

ACTIONS: tuple[Action, ...] = (
    Action("toggle_transport", "t", "t", "TCP/UDP", "Go over to the other transport, live", RUN, 90),
    Action("toggle_family", "v", "v", "IPv4/6", "Go over to the other address family", RUN, 60),
    Action("fewer_clients", "left_square_bracket", "[", "fewer clients", "One step fewer clients", RUN),
    Action("more_clients", "right_square_bracket", "]", "more clients", "One step more clients", RUN),
    Action("fewer_permits", "left_curly_bracket", "{", "fewer permits", "One step fewer permits", RUN),
    Action("more_permits", "right_curly_bracket", "}", "more permits", "One step more permits", RUN),
    Action("undo", "u", "u", "undo", "Take the last change of a knob back", RUN, 50),
    Action("redo", "U", "U", "redo", "Make the change again that was taken back", RUN),
    Action("pause", "p", "p", "pause", "Pause the traffic, or let it go on; connections stay open", RUN, 80),
    Action("reset_figures", "R", "R", "reset", "Let figures and graphs begin anew", RUN),
    Action("mark", "m", "m", "marker", "Set a marker on every graph and in the log", RUN),
    Action("new_run", "N", "N", "new run", "Start a new run with the loop that was chosen", RUN),
    Action("freeze", "space", "space", "freeze", "Hold the view still; the traffic goes on", LOOK, 85),
    Action("earlier", "left", "←", "earlier", "While frozen: look at an earlier moment", LOOK),
    Action("later", "right", "→", "later", "While frozen: look at a later moment", LOOK),
    Action("zoom_in", "equals_sign,plus", "=", "zoom in", "Show a shorter time", LOOK),
    Action("zoom_out", "minus", "-", "zoom out", "Show a longer time", LOOK),
    Action("zoom_reset", "0", "0", "zoom 30 s", "Show the last 30 seconds", LOOK),
    Action("maximise", "backslash", "\\", "maximise", "The panel in focus alone, or all again", LOOK, 55),
    Action("filter", "slash", "/", "filter", "Show only rows that contain a text", LOOK, 65),
    Action("follow", "f", "f", "follow", "Follow the newest rows, or stop following", LOOK),
    Action("sort", "s", "s", "sort", "Sort the connections by the next column", LOOK),
    Action("switch_side", "w", "w", "other side", "Connections of the server, or of the clients", LOOK),
    Action("close_connection", "x", "x", "close", "Close the connection that is selected", RUN),
    Action("focus_1", "1", "1", "knobs", "Knobs", GO),
    Action("focus_2", "2", "2", "throughput", "Throughput", GO),
    Action("focus_3", "3", "3", "latency", "Service time", GO),
    Action("focus_4", "4", "4", "CPU", "CPU and loop lag", GO),
    Action("focus_5", "5", "5", "concurrency", "Concurrency", GO),
    Action("focus_6", "6", "6", "connections", "Connections", GO),
    Action("focus_7", "7", "7", "log", "Event log", GO),
    Action("focus_8", "8", "8", "exchanges", "Exchanges and their bytes", GO),
    Action("knobs", "comma", ",", "all knobs", "All knobs, on the whole screen", GO, 40),
    Action("copy", "y", "y", "copy", "Copy what is selected", KEEP),
    Action("export", "e", "e", "export", "Write figures and a picture of the screen to files", KEEP, 62),
    Action("race", "r", "r", "race", "Server models side by side, under the same work", KEEP, 48),
    Action("history", "h", "h", "history", "Finished runs, and two of them over each other", KEEP, 45),
    Action("help", "question_mark,f1", "?", "help", "Keys, and what each figure means", APP, 95),
    Action("palette", "ctrl+p", "^p", "palette", "Every action, by name", APP, 30),
    Action("suspend", "ctrl+z", "^z", "suspend", "Suspend the program", APP),
    Action("quit", "q", "q", "quit", "Stop the run and leave its summary in the terminal", APP, 99),
    Action("interrupt", "ctrl+c", "^c", "stop", "Stop and quit; a second time leaves at once", APP, 0, True),
)  # fmt: skip

BY_ID = {action.id: action for action in ACTIONS}


def footer_actions(width: int) -> list[Action]:
    """Return the actions of a footer ``width`` cells wide, in the order of the table."""
    chosen: list[Action] = []
    left = width
    for action in sorted((a for a in ACTIONS if a.rank), key=lambda a: -a.rank):
        needed = len(action.shown) + len(action.label) + 3
        if needed <= left:
            chosen.append(action)
            left -= needed
    return [action for action in ACTIONS if action in chosen]
