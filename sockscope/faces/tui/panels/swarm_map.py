"""The map of the swarm: a cell for each client, by what it is doing now, and what the server has of them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from sockscope.core.run.client_states import (
    MOST_CLIENTS,
    ClientStates,
    Doing,
    Reception,
    client_states,
    reception,
)
from sockscope.core.run.snapshot import Cursors
from sockscope.core.units import counted
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.cell_map import CellMap


class Look(NamedTuple):
    """The character of a state and its colour in the legend; that of its cells is in the style sheet."""

    glyph: str
    color: str
    name: str


LOOKS = {
    Doing.CONNECTING: Look("╱", "$accent", "connecting"),
    Doing.IN_BACKLOG: Look("▒", "$foreground 60%", "in the backlog"),
    Doing.WAITING: Look("○", "$warning", "waiting, permit"),
    Doing.IN_FLIGHT: Look("▲", "$primary", "in flight"),
    Doing.SERVED: Look("█", "$success", "being served"),
    Doing.THINKING: Look("·", "$foreground 60%", "thinking"),
    Doing.TIMED_OUT: Look("✗", "$error", "timed out"),
    Doing.BACKING_OFF: Look("↻", "$error", "backing off"),
    Doing.IDLE: Look("▁", "$foreground 60%", "idle"),
    Doing.GONE: Look("‹", "$foreground 40%", "gone"),
}
"""How the states look; without colour their characters differ, and so do those in ASCII."""


LEAST_BESIDE = 60
"""From this width on the legend is beside the cells, one state a line; else under them, several in a line."""
EMPTY = "each client gets a cell here; L has lessons"


class SwarmMapPanel(Panel):
    """One cell for each client, a legend that adds up to them, and the server's side."""

    uses_arrows = True
    _states = ClientStates()

    def compose(self) -> ComposeResult:
        """The cells, and beside or under them what they mean."""
        with Container(classes="map-body"):
            yield CellMap("".join(LOOKS[doing].glyph for doing in Doing), empty_text=EMPTY)
            meaning = Static("", classes="map-legend", markup=False)
            meaning.display = False
            yield meaning

    def interest(self, cursors: Cursors, *, still: bool) -> Cursors:
        """Ask what each client is doing, or of too many how many do what."""
        return replace(cursors, clients=True, ends=self._clients() <= MOST_CLIENTS)

    def _clients(self) -> int:
        swarm = self.state.snapshot.swarm if self.state is not None else None
        return swarm.clients if swarm is not None else 0

    def draw(self, state: ScreenState) -> None:
        """Show the clients of the moment; the picture before stays where nobody has asked for another."""
        snapshot = state.snapshot
        if snapshot.swarm is None:
            self._cells.empty_text = "the clients are not of this run"
        elif not snapshot.swarm.client_samples and self._states.states:
            return
        self._states = client_states(snapshot)
        self._cells.show(self._states.states)
        width = self.content_size.width
        shown = self.query_one(".map-legend", Static)
        shown.display = bool(self._states.states)
        self.query_one(".map-body").set_class(0 < width < LEAST_BESIDE, "-under")
        server = reception(snapshot)
        if width < LEAST_BESIDE:
            shown.update(short_legend(self._states, server, width))
        else:
            shown.update(legend(self._states, server))
        self._tell()

    @property
    def _cells(self) -> CellMap:
        return self.query_one(CellMap)

    @property
    def focus_target(self) -> Widget | None:
        """The cells take the focus."""
        return self._cells

    def on_cell_map_pointed(self, message: CellMap.Pointed) -> None:
        """Say which client it is."""
        message.stop()
        self._tell()

    def _tell(self) -> None:
        place, states = self._cells.pointed, self._states
        told = ""
        if place is not None and place < len(states.states):
            doing = Doing(states.states[place])
            who = f"client {states.numbers[place]:,}" if states.numbers else "a client"
            told = f"{who}: {doing.title}"
        elif self._cells.layout_now.each > 1:
            told = f"1 cell = {self._cells.layout_now.each:,} clients, in order of their states"
        # Where there is a lower border; the titles of the tabs need the upper one.
        has_border = self.styles.border_bottom[0] not in ("", "none")
        self.resubtitle(told or counted(len(states.states), "client") if has_border and states.states else "")
        self.retitle("" if has_border else told)

    def clipboard_text(self) -> str:
        """Return the counts, a state a line."""
        return "\n".join(f"{doing.title}\t{count}" for doing, count in self._states.counts().items() if count)


def legend(states: ClientStates, server: Reception) -> Content:
    """Return the states that there are with their counts, which add up, and what the server has."""
    wide = max(6, len(f"{len(states.states):,}"))
    lines = [
        Content.assemble(
            (LOOKS[doing].glyph * 2, f"bold {LOOKS[doing].color}"),
            f" {LOOKS[doing].name:<15}{count:>{wide},}",
        )
        for doing, count in states.counts().items()
        if count
    ]
    if states.states:
        lines.append(Content(f"{'clients':<18}{len(states.states):>{wide},}").stylize("bold"))
    known = _known(server)
    if known and states.states:
        if not states.is_whole:
            lines.append(Content("in flight may be served").stylize("$foreground 60%"))
        lines.append(Content("server").stylize("bold"))
        lines += [Content(f"   {name:<15}{value:>{wide},}") for name, value in known.items()]
    return Content("\n").join(lines)


def short_legend(states: ClientStates, server: Reception, width: int) -> Content:
    """Return what :func:`legend` tells in few lines of ``width``, and the clients in two at least.

    So the cells keep their size while states come and go. What is in service is being served where all of it
    is known, and is not told twice.
    """
    clients = [
        Content.assemble(
            (LOOKS[doing].glyph, f"bold {LOOKS[doing].color}"), f" {LOOKS[doing].name} {count:,}"
        )
        for doing, count in states.counts().items()
        if count
    ]
    if not clients:
        return Content("")
    known = [
        Content(f"{name} {value:,}")
        for name, value in _known(server).items()
        if name != "in service" or not states.is_whole
    ]
    if known and not states.is_whole:
        known.append(Content("in flight may be served").stylize("$foreground 60%"))
    if known:
        known[0] = Content.assemble(("server ", "bold"), known[0])
    lines = _packed(clients, width)
    spare = [Content("")] * (2 - len(lines))
    return Content("\n").join([*lines, *spare, *_packed(known, width)])


def _packed(pieces: list[Content], width: int) -> list[Content]:
    """Return lines of pieces, as many in each as it has room for."""
    lines: list[Content] = []
    for piece in pieces:
        if lines and lines[-1].cell_length + 2 + piece.cell_length <= width:
            lines[-1] = Content.assemble(lines[-1], "  ", piece)
        else:
            lines.append(piece)
    return lines


def _known(server: Reception) -> dict[str, int]:
    told = {"backlog": server.backlog, "accepted": server.accepted, "in service": server.in_service}
    return {name: value for name, value in told.items() if value is not None}
