"""What the three panels with rows have in common: a table, a filter line, and a detail beside or below."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.table import Column, Row, Table

FILTER_S = 0.25
"""How soon the rows are those that contain what was typed."""


class FilterLine(Input):
    """The text that rows must contain; Escape clears it and goes back to the rows."""

    BINDINGS: ClassVar = [Binding("escape", "leave", show=False)]

    class Left(Message):
        """The filter is done with."""

    def action_leave(self) -> None:
        """Clear the filter and close the line."""
        self.value = ""
        self.post_message(self.Left())


class ListingPanel(Panel):
    """A table of live rows."""

    class DetailChanged(Message):
        """The detail of a row was opened or closed: the screen gives it room, or takes that back."""

        def __init__(self, panel: ListingPanel) -> None:
            super().__init__()
            self.panel = panel

    columns: ClassVar[tuple[Column, ...]] = ()
    tapped: ClassVar[tuple[int, Column] | None] = None
    """The column that tells at which of several addresses of a relay it came in, and its place."""
    follows: ClassVar[bool] = False
    empty: ClassVar[str] = ""
    _filtering: Timer | None = None

    def compose(self) -> ComposeResult:
        """A table, and below it the filter line, which is hidden until it is asked for."""
        with Container(classes="listing-body"):
            yield Table(self.columns, follow=self.follows, empty_text=self.empty)
            yield from self.compose_detail()
        line = FilterLine(placeholder="only rows that contain …", compact=True, classes="filter")
        line.display = False
        yield line

    def compose_detail(self) -> ComposeResult:
        """Add what shows the selected row."""
        yield from ()

    @property
    def table(self) -> Table:
        """The rows."""
        return self.query_one(Table)

    def tell_taps(self, taps: bool) -> None:
        """Have the column of taps, or do without it."""
        if self.tapped is None or taps == (len(self.table.columns) > len(self.columns)):
            return
        place, column = self.tapped
        self.table.columns = (*self.columns[:place], column, *self.columns[place:]) if taps else self.columns

    @property
    def focus_target(self) -> Widget | None:
        """The table takes the focus."""
        return self.table

    @property
    def filter_text(self) -> str:
        """What rows must contain, in lower case."""
        return self.query_one(FilterLine).value.strip().lower()

    def open_filter(self) -> None:
        """Show the filter line and go there."""
        line = self.query_one(FilterLine)
        line.display = True
        # At once: the next key is text already.
        self.screen.set_focus(line)

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter in a moment: with what is typed until then, since each time takes a picture of the run."""
        message.stop()
        if self._filtering is None:
            self._filtering = self.set_timer(FILTER_S, self._filter)

    def _filter(self) -> None:
        self._filtering = None
        self.filter_changed()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Go back to the rows, with the filter on."""
        message.stop()
        self._close_filter()

    def on_filter_line_left(self, message: FilterLine.Left) -> None:
        """Go back to the rows, without a filter."""
        message.stop()
        self._close_filter()

    def _close_filter(self) -> None:
        line = self.query_one(FilterLine)
        line.display = bool(line.value)
        self.table.focus()
        self.filter_changed()

    def filter_changed(self) -> None:
        """Show the rows that match now."""
        text = self.filter_text
        self.table.empty_text = f"no row contains “{text}”: / and Esc show all again" if text else self.empty
        self.redraw()

    def toggle_follow(self) -> None:
        """Follow the newest rows, or stop."""
        self.table.follow = not self.table.follow
        self.table.post_message(Table.FollowChanged(self.table, self.table.follow))

    def sort_by_next(self) -> bool:
        """Sort by the next column; return whether rows can be sorted here."""
        return False

    def end_selected(self) -> bool:
        """Ask for what is under the cursor to be ended; return whether anything can be here."""
        return False

    def matching(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows that the filter lets through."""
        text = self.filter_text
        return [row for row in rows if text in " ".join(row.cells).lower()] if text else rows

    def clipboard_text(self) -> str:
        """Return the row under the cursor, its cells separated by tabs."""
        row = self.row_of(self.table.cursor_key)
        return "\t".join(plain(cell) for cell in row.cells) if row else ""

    def row_of(self, key: object) -> Row | None:
        """Return the row with this key, if it is here."""
        return next((row for row in self.shown_rows if row.key == key), None)

    shown_rows: Sequence[Row] = ()
    """The rows that the table has."""


class DetailListing(ListingPanel):
    """A table of live rows; Enter opens a text with all that is known of one.

    While it is open it follows the cursor, so that the two never speak of different rows.
    """

    selected: Hashable = None
    _detail = ""
    _is_open = False

    def compose_detail(self) -> ComposeResult:
        """A block of text, hidden until a row is selected."""
        with VerticalScroll(classes="detail") as detail:
            yield Static("", markup=False)
        detail.display = False

    def detail_of(self, key: Hashable) -> str | None:
        """Return all that is known of a row; None when it is gone."""
        raise NotImplementedError

    @property
    def has_detail(self) -> bool:
        """Whether the text of a row is open."""
        return self._is_open

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Open the text of the row."""
        message.stop()
        self.selected = message.key
        self._show_detail(True)
        self.redraw()

    def on_table_row_highlighted(self, message: Table.RowHighlighted) -> None:
        """Follow the cursor."""
        message.stop()
        if self.selected is not None and message.key is not None:
            self.selected = message.key
            self.redraw()

    def draw_detail(self) -> None:
        """Write the text of the row if it has changed; hide a row that is gone, until there is another."""
        if self.selected is None:
            return
        detail = self.detail_of(self.selected)
        if detail is not None and detail != self._detail:
            self._detail = detail
            self.query_one(".detail Static", Static).update(Content(detail))
        if detail is not None or not self.filter_text:  # a row that the filter hides may be there still
            self._show_detail(detail is not None)

    def _show_detail(self, shown: bool) -> None:
        if shown != self._is_open:
            self._is_open = shown
            self.query_one(".detail").display = shown
            self.post_message(self.DetailChanged(self))

    def close_detail(self) -> None:
        """Close the detail of the selected row."""
        self.selected = None
        self._show_detail(False)
        self.table.focus()

    def clipboard_text(self) -> str:
        """Return the text that is open, or the row under the cursor."""
        return self._detail if self.has_detail else super().clipboard_text()
