"""The faults that can be made now, on the link and in the server: switched and turned during the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region, Size
from textual.screen import ModalScreen
from textual.widgets import Static

from sockscope.core.impairment.fault import BOTH, Fault
from sockscope.core.impairment.kinds import LINK, SERVER, FaultKind
from sockscope.core.impairment.quantity import Quantity, format_quantity
from sockscope.core.impairment.turning import redirected, reshaped, stepped
from sockscope.faces.tui.faults import inject, offered, toggle
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.session import Session

_NAME, _VALUE, _WAY = 15, 11, 4
"""Cells of a name, of a value, and of a direction."""
_ROW = 4 + _NAME + _VALUE + 1 + _WAY
_TOLD = 3
"""Lines for what the chosen fault does."""
_HEAD, _QUIET, _ON, _KEY = "bold", "$foreground 60%", "bold $text-warning", "bold $text-accent"
_HEADINGS = {LINK: "on the link", SERVER: "in the server"}
_SIGNS = {BOTH: "", "up": "↑ up", "down": "↓ dn"}


class FaultsScreen(ModalScreen[None]):
    """A sheet over the dashboard; what is switched here acts at once."""

    CSS_PATH = "faults.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,F", "dismiss", "close", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("tab,shift+tab", "other", show=False),
        Binding("enter,space", "switch", show=False),
        Binding("left", "turn(-1)", show=False),
        Binding("right", "turn(1)", show=False),
        Binding("shift+left", "turn(-1, True)", show=False),
        Binding("shift+right", "turn(1, True)", show=False),
        Binding("d", "redirect", show=False),
        Binding("s", "reshape", show=False),
        Binding("c", "clear", show=False),
        Binding("u", "undo", show=False),
        Binding("U", "redo", show=False),
    ]

    def __init__(self, session: Session, dashboard: DashboardScreen) -> None:
        super().__init__()
        self._session = session
        self._dashboard = dashboard

    def compose(self) -> ComposeResult:
        """Put the list on a sheet that scrolls where it is higher than the screen."""
        with VerticalScroll(id="sheet", can_focus=False) as sheet:
            sheet.border_title = "Faults"
            sheet.border_subtitle = "Enter on/off, ◂ ▸ turn, d way, s shape, c all off, u undo, Esc"
            yield FaultList(self.action_switch)

    def on_mount(self) -> None:
        """Follow the run: another server model, or a refusal, changes what is there."""
        self.watch(self._dashboard, "state", self._follow)

    def _follow(self, _: ScreenState | None) -> None:
        self._show()

    def _show(self) -> None:
        self._list.show(offered(self._session), self._session.tuner.requested.faults)

    @property
    def _list(self) -> FaultList:
        return self.query_one(FaultList)

    def _request(self, faults: Sequence[Fault]) -> None:
        inject(self._session, faults)
        self._show()

    def action_move(self, by: int) -> None:
        """Choose another fault."""
        self._list.move(by)

    def action_other(self) -> None:
        """Go to the other list."""
        self._list.cross()

    def action_switch(self) -> None:
        """Switch the chosen fault on or off."""
        if (kind := self._list.chosen) is not None:
            toggle(self._session, kind)
            self._show()

    def action_turn(self, way: int, coarse: bool = False) -> None:
        """Turn its value a step, or a decade."""
        if (kind := self._list.chosen) is None:
            return
        if any(fault.kind == kind.name for fault in self._on):
            self._request(stepped(self._on, kind, way, coarse=coarse))
        else:
            self.action_switch()

    def action_redirect(self) -> None:
        """Let it act both ways, on what goes to the server, or on what comes from there."""
        if (kind := self._list.chosen) is not None:
            self._request(redirected(self._on, kind))

    def action_reshape(self) -> None:
        """Let it be drawn at random in another way."""
        if (kind := self._list.chosen) is not None:
            self._request(reshaped(self._on, kind))

    def action_clear(self) -> None:
        """Switch all faults off."""
        self._request(())

    def action_undo(self) -> None:
        """Take the last change back."""
        self._session.undo()
        self._show()

    def action_redo(self) -> None:
        """Make the change again that was undone."""
        self._session.redo()
        self._show()

    @property
    def _on(self) -> tuple[Fault, ...]:
        return self._session.tuner.requested.faults


class FaultList(Static):
    """Both lists side by side, or below each other where it is narrow, and what the chosen fault does."""

    def __init__(self, on_switched: Callable[[], None]) -> None:
        """``on_switched`` is called when the chosen fault is clicked."""
        super().__init__()
        self._on_switched = on_switched
        self._kinds: list[FaultKind] = []
        self._on: dict[str, list[Fault]] = {}
        self._cursor = 0

    def show(self, kinds: Sequence[FaultKind], on: Sequence[Fault]) -> None:
        """Show the faults that can be made, and those that are on."""
        chosen = self.chosen
        before = (self._kinds, self._on)
        self._kinds = list(kinds)
        self._on = {}
        for fault in on:
            self._on.setdefault(fault.kind, []).append(fault)
        self._cursor = self._kinds.index(chosen) if chosen in self._kinds else 0
        if before != (self._kinds, self._on):
            self.refresh(layout=len(before[0]) != len(kinds))

    @property
    def chosen(self) -> FaultKind | None:
        """The fault that keys act on."""
        return self._kinds[self._cursor] if self._kinds else None

    def move(self, by: int) -> None:
        """Choose another one; the list goes round."""
        if self._kinds:
            self._cursor = (self._cursor + by) % len(self._kinds)
            self._follow()

    def cross(self) -> None:
        """Choose one of the other list, as far down."""
        link, server = self._lists
        if not link or not server:
            return
        here, there, start = (link, server, len(link)) if self._cursor < len(link) else (server, link, 0)
        place = self._cursor if here is link else self._cursor - len(link)
        self._cursor = start + min(place, len(there) - 1)
        self._follow()

    def _follow(self) -> None:
        self.refresh()
        x, y = self._spots[self._cursor]
        if isinstance(self.parent, VerticalScroll):
            self.parent.scroll_to_region(Region(x, y, 1, 1), animate=False)

    def on_click(self, event: events.Click) -> None:
        """Choose what is clicked; what was chosen already is switched."""
        column = self._column if self._is_wide and event.x >= self._column else 0
        if (column, event.y) not in self._spots:
            return
        before, self._cursor = self._cursor, self._spots.index((column, event.y))
        if before == self._cursor:
            self._on_switched()
        self.refresh()

    @property
    def _spots(self) -> list[tuple[int, int]]:
        """Where each fault stands: its column and its row, below the headings."""
        link, server = self._lists
        column, first = (self._column, 1) if self._is_wide else (0, len(link) + 3)
        return [(0, 1 + y) for y in range(len(link))] + [(column, first + y) for y in range(len(server))]

    @property
    def _lists(self) -> tuple[list[FaultKind], list[FaultKind]]:
        return (
            [kind for kind in self._kinds if kind.where == LINK],
            [kind for kind in self._kinds if kind.where == SERVER],
        )

    @property
    def _is_wide(self) -> bool:
        return self.content_size.width >= 2 * _ROW

    @property
    def _column(self) -> int:
        return self.content_size.width // 2

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines there are."""
        link, server = self._lists
        rows = max(len(link), len(server)) + 1 if width >= 2 * _ROW else len(link) + len(server) + 3
        return rows + 1 + _TOLD

    def render(self) -> Content:
        """Draw it."""
        return Content("\n").join(self._lines(self.content_size.width))

    def _lines(self, width: int) -> Iterator[Content]:
        link, server = self._lists
        left = list(self._rows(LINK, link, 0))
        right = list(self._rows(SERVER, server, len(link)))
        if width >= 2 * _ROW:
            for one, other in zip_longest(left, right, fillvalue=Content("")):
                yield one.pad_right(self._column - one.cell_length) + other
        else:
            yield from (*left, Content(""), *right)
        yield Content("")
        told = [] if self.chosen is None else wrap(self._about(self.chosen), width)[:_TOLD]
        for row in range(_TOLD):
            yield Content.styled(told[row] if row < len(told) else "", _QUIET)

    def _rows(self, where: str, kinds: Sequence[FaultKind], first: int) -> Iterator[Content]:
        yield Content.styled(_HEADINGS[where] + ("" if kinds else ": none here"), _HEAD)
        for place, kind in enumerate(kinds, first):
            yield self._row(kind, place == self._cursor)

    def _row(self, kind: FaultKind, is_chosen: bool) -> Content:
        faults = self._on.get(kind.name, [])
        if faults:
            value = faults[0].shown_value or "on"
            way = _SIGNS[faults[0].direction] if len(faults) == 1 else "↑↓"
        else:
            value, way = format_quantity(kind.quantity, kind.default), ""
        sign = Content.styled("● ", _ON) if faults else Content.styled("○ ", _QUIET)
        name = Content.styled(f"{kind.name:<{_NAME}}", "bold" if faults else "")
        row = sign + name + Content.styled(f"{value:>{_VALUE}} {way:<{_WAY}}", _ON if faults else _QUIET)
        return Content.styled("▸ ", _KEY) + row.stylize("reverse") if is_chosen else Content("  ") + row

    def _about(self, kind: FaultKind) -> str:
        faults = self._on.get(kind.name, [])
        told = f"{kind.name}: {kind.sentence}"
        if len(faults) > 1:
            told += "; on: " + ", ".join(map(str, faults))
        elif faults and kind.shapes:
            told += f"; {faults[0].shape or kind.shapes[0]} now"
        if kind.quantity is not Quantity.SWITCH:
            low, high = (format_quantity(kind.quantity, value) for value in (kind.low, kind.high))
            told += f" ({low} to {high})"
        return told
