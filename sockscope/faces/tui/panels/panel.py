"""What all panels have in common, and what the table of panels says about each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from textual.containers import Container
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from sockscope.core.run.snapshot import Cursors
from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.plain import plain

_AROUND_TITLE = 6
"""Cells of a border that a title leaves free at its ends."""
TURN_S = 0.08
"""Time between the turns in which panels draw. The screen is composed by lines, so panels that stand side by
side share a turn."""


class Kind(Enum):
    """What panels are alike in: of the graphs, and of the faces and listings, one at a time is the chosen."""

    GRAPH = "graph"
    LISTING = "listing"
    FACE = "face"
    """Shares the place of the listings without being one."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Place:
    """The cells of the grid that a panel takes; those of a ``group`` share theirs, one of them in front."""

    columns: int = 1
    rows: int = 1
    group: str = ""


class Places(NamedTuple):
    """Where a panel is in each layout; None: it is not there.

    The narrow layout is one column, and ``rows`` are rows of text there. The chosen graph and the listing in
    front share what the others leave of its height. ``present`` is for a room: few panels, large.
    """

    narrow: Place | None
    middle: Place | None
    wide: Place | None
    present: Place | None = None


@dataclass(frozen=True, slots=True)
class PanelEntry:
    """One row of the table of panels, :data:`sockscope.faces.tui.panels.table.PANELS`.

    ``id`` is the panel's in the style sheets; ``digit`` the key that leads to it ("" for none), ``label`` and
    ``about`` what the palette and the help call that. ``title`` stands in its border. ``slow`` panels draw at
    every second tick, which has the rows of tables; the others at each. They draw in different turns after
    the tick (``turn`` 0 is at once), so as not to hold up the loop for long; those that are a fraction of a
    turn apart are painted together. ``yields_to`` is the id of a panel that takes the place of this one in
    the wide layout while it shows a detail.
    """

    id: str
    digit: str
    title: str
    label: str
    about: str
    make: type[Panel]
    places: Places
    kind: Kind = Kind.OTHER
    slow: bool = False
    turn: float = 0.0
    yields_to: str = ""


class Panel(Container):
    """A framed part of the dashboard that shows a :class:`ScreenState`.

    ``state`` is bound to the screen's. Subclasses override :meth:`draw`, which is called when the panel can
    be seen, at the rate that its entry in the table tells.
    """

    uses_arrows = False
    """Whether left and right mean something here, so that they cannot move through time."""

    state: reactive[ScreenState | None] = reactive(None, init=False, repaint=False)
    _due: ScreenState | None = None
    """The state that is drawn in the panel's next turn."""
    _drawn: ScreenState | None = None
    _title: Content | None = None
    _more = ""
    tabs: tuple[PanelEntry, ...] = ()
    """The panels that share the place of this one, itself included; none when it stands alone."""

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(id=entry.id)
        self.entry = entry

    def on_mount(self) -> None:
        """Write the title."""
        self.retitle()

    def retitle(self, more: str = "") -> None:
        """Write digit, title and what else there is to say into the border.

        Where there is no room for that beside the titles of other tabs, these are named by their keys.
        """
        self._more = more
        tabs = self.tabs or (self.entry,)
        titles = Content(" │ ").join(map(self._tab, tabs))
        told = Content(f"  {plain(more)}" if more else "").stylize("not bold")
        title = titles + told
        if more and title.cell_length + _AROUND_TITLE > self.outer_size.width:
            title = Content(" │ ").join(self._tab(entry, by_key=True) for entry in tabs) + told
        # To write the same again would paint the whole panel anew.
        if self._title != title:
            self._title = title
            self.border_title = title

    def _tab(self, entry: PanelEntry, *, by_key: bool = False) -> Content:
        """Return digit and title of a panel, which lead there when they are clicked."""
        if by_key and entry is not self.entry:
            name = Content(entry.digit)
        else:
            name = Content(f"{entry.digit} {entry.title}".lstrip())
        if entry is self.entry:
            return name
        click = Style.from_meta({"@click": f"app.do('focus_{entry.digit}')"})
        return name.stylize("not bold $foreground 60%").stylize(click)

    def share_place(self, tabs: tuple[PanelEntry, ...]) -> None:
        """Name these panels in the border, which share the place of this one: it is one of them."""
        if tabs != self.tabs:
            self.tabs = tabs
            self.retitle(self._more)

    def resubtitle(self, subtitle: str) -> None:
        """Write into the lower border."""
        if (self.border_subtitle or "") != subtitle:
            self.border_subtitle = subtitle

    def watch_state(self, state: ScreenState | None) -> None:
        """Draw, unless nobody can see it or it is not this panel's turn."""
        if state is None or not self.is_on_screen or (self.entry.slow and not state.tables):
            return
        self._due = state
        delay_s = self.entry.turn * TURN_S
        if delay_s and not state.at_once:
            self.set_timer(delay_s, self._draw_due)
        else:
            self._draw_due()

    def _draw_due(self) -> None:
        """Draw what waits for its turn; not the newest state, which may be one without rows."""
        state, self._due = self._due, None
        if state is not None:
            self._drawn = state
            with state.cost.spent():
                self.draw(state)

    def forget_rows(self) -> None:
        """Draw no state again whose rows are not those that are shown now."""
        self._due = self._drawn = None

    @property
    def is_on_screen(self) -> bool:
        """Whether any of it can be seen at the moment."""
        return self.size.height > 0 and self.display

    def draw(self, state: ScreenState) -> None:
        """Show ``state``."""

    def redraw(self) -> None:
        """Show the state once more, after the panel itself has changed."""
        state = self.state
        if self.entry.slow and state is not None and not (state.tables or state.frozen):
            state = self._drawn
        if state is not None:
            with state.cost.spent():
                self.draw(state)

    def interest(self, cursors: Cursors, *, still: bool) -> Cursors:
        """Add to ``cursors`` which rows the next snapshot should hold for this panel.

        While all is ``still`` people scroll back, so that more rows are worth having.
        """
        return cursors

    @property
    def focus_target(self) -> Widget | None:
        """What gets the focus when the panel is called."""
        return next((child for child in self.query(Widget) if child.can_focus and child.display), None)

    @property
    def is_typing(self) -> bool:
        """Whether keys are characters of a value at the moment, so that they must not run actions."""
        return False

    @property
    def has_detail(self) -> bool:
        """Whether the detail of a row is shown, or asked for."""
        return False

    def close_detail(self) -> None:
        """Close the detail of the selected row."""

    def clipboard_text(self) -> str:
        """Return what ``y`` copies."""
        return ""

    def clipping(self) -> Clipping:
        """Return what ``y`` copies, and what that is."""
        return Clipping(self.clipboard_text(), " ".join(self.entry.title.lower().split()))
