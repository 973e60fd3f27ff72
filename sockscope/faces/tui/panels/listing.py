"""What the three panels with rows have in common: a table, a filter line, and a detail beside or below."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.table import Column, Row, Table


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
        """The detail of a row is shown, or no longer: whoever lays out the panels gives it room."""

        def __init__(self, panel: ListingPanel) -> None:
            super().__init__()
            self.panel = panel

    columns: ClassVar[tuple[Column, ...]] = ()
    follows: ClassVar[bool] = False
    empty: ClassVar[str] = ""

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
        """Filter at once."""
        message.stop()
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

    def matching(self, rows: list[Row]) -> list[Row]:
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

    shown_rows: list[Row] = []


class TellingPanel(ListingPanel):
    """A table of live rows, whose Enter tells everything about one of them.

    While it does, the text follows the cursor, so that the two never speak of different rows.
    """

    selected: Hashable = None
    _told = ""
    _is_telling = False

    def compose_detail(self) -> ComposeResult:
        """A block of text, hidden until a row is selected."""
        with VerticalScroll(classes="detail") as detail:
            yield Static("", markup=False)
        detail.display = False

    def tell(self, key: Hashable) -> str | None:
        """Return everything about a row; None when it is not known any longer."""
        raise NotImplementedError

    @property
    def has_detail(self) -> bool:
        """Whether everything about a row is shown."""
        return self._is_telling

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Tell everything about the row."""
        message.stop()
        self.selected = message.key
        self._show_detail(True)
        self.redraw()

    def on_table_row_highlighted(self, message: Table.RowHighlighted) -> None:
        """Tell about the row that the cursor is on now."""
        message.stop()
        if self.selected is not None and message.key is not None:
            self.selected = message.key
            self.redraw()

    def draw_detail(self) -> None:
        """Write what there is to tell, if it has changed; hide a row that is gone, until there is another."""
        if self.selected is None:
            return
        told = self.tell(self.selected)
        if told is not None and told != self._told:
            self._told = told
            self.query_one(".detail Static", Static).update(Content(told))
        if told is not None or not self.filter_text:  # a row that the filter hides may be there still
            self._show_detail(told is not None)

    def _show_detail(self, shown: bool) -> None:
        if shown != self._is_telling:
            self._is_telling = shown
            self.query_one(".detail").display = shown
            self.post_message(self.DetailChanged(self))

    def close_detail(self) -> None:
        """Close the detail of the selected row."""
        self.selected = None
        self._show_detail(False)
        self.table.focus()

    def clipboard_text(self) -> str:
        """Return what is told, or the row under the cursor."""
        return self._told if self.has_detail else super().clipboard_text()
