"""A table of live rows that stays cheap, however many there are.

    table = Table([Column("id", "id", 4, "right", priority=9), Column("remote", "remote", 15, flexible=True)])
    table.show([Row(1, ("1", "127.0.0.1:51234")), ...])

The table never copies nor walks through its rows: it asks for those it draws. `show` takes any sequence (a
list, a ring, a view that formats a row when it is asked for it) and repaints only the lines that read
differently.

Rows are known by their *key*. The cursor stays on its key when rows are added, sorted or evicted, and the
view stays on the keys it shows while nobody follows the tail. As long as the cursor was never moved, nor
its row selected, it belongs to a place, not to a row: to the first row, or to the last one when the tail is
followed.

*Following* means that the view stays at the last row while rows arrive. Whoever moves up stops it, End
resumes it.

A right-aligned cell is a figure: it is shown whole, its column growing as needed, or not at all.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollTo, ScrollUp
from textual.strip import Strip
from textual.widget import Widget

from sockscope.faces.tui.widgets.columns import ARROW_WIDTH, GAP, Column, Slot, lay_out
from sockscope.faces.tui.widgets.lines import STYLES, Lines, Row
from sockscope.faces.tui.widgets.plain import plain

__all__ = ["Column", "Row", "Table"]

_HEADER_LINES = 1


class Table(ScrollView, can_focus=True):
    """Rows under a header that stays in sight, with a cursor.

    Args:
        columns: The columns, from left to right.
        follow: Whether to begin with following the tail.
        empty_text: What is written as long as there are no rows.
    """

    ALLOW_SELECT = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor_up", "up", show=False),
        Binding("down", "cursor_down", "down", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
        Binding("home", "scroll_home", "first row", show=False),
        Binding("end", "scroll_end", "last row", show=False),
        Binding("enter", "select", "choose", key_display="Enter", show=False),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        "table--cursor-blurred",
        *(f"table--{style}" for style in STYLES),
    }

    DEFAULT_CSS = """
    Table {
        width: 1fr;
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;

        & > .table--header { color: $foreground 65%; text-style: bold; }
        & > .table--cursor { background: $primary; color: $text; text-style: bold; }
        & > .table--cursor-blurred { background: $foreground 12%; }
        & > .table--error { color: $text-error; }
        & > .table--muted { color: $foreground 50%; }
        & > .table--changed { color: $text-accent; text-style: bold; }
        & > .table--ok { color: $text-success; }
        & > .table--warning { color: $text-warning; }
    }
    """

    class OfTable(Message):
        """What all messages of a table have in common."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table:
            """The table that posted it."""
            return self.table

    class RowSelected(OfTable):
        """Enter was pressed on a row, or it was clicked."""

        def __init__(self, table: Table, key: Hashable) -> None:
            super().__init__(table)
            self.key = key

    class RowHighlighted(OfTable):
        """The cursor is on another row than before."""

        def __init__(self, table: Table, key: Hashable) -> None:
            super().__init__(table)
            self.key = key

    class HeaderSelected(OfTable):
        """The title of a column was clicked."""

        def __init__(self, table: Table, column_key: str) -> None:
            super().__init__(table)
            self.column_key = column_key

    class FollowChanged(OfTable):
        """Following the tail was switched on or off by the user."""

        def __init__(self, table: Table, follow: bool) -> None:
            super().__init__(table)
            self.follow = follow

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        follow: bool = False,
        empty_text: str = "no rows yet",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._columns = _cleaned(columns)
        self._rows: Sequence[Row] = ()
        self._row_count = 0
        self._follow = follow
        self._can_follow = follow
        self._empty_text = empty_text
        self._sort_key: str | None = None
        self._sort_reverse = False
        self._cursor = 0
        self._cursor_key: Hashable = None
        self._has_moved = False
        self._slots: list[Slot] = []
        self._needed = [0] * len(columns)
        self._keys_in_view: list[Hashable] = []
        self._drawn: dict[int, Strip] = {}
        self._drawing = Lines(self._style)
        self._header: Strip | None = None

    # What the caller sets ---------------------------------------------------------------------------------

    def show(self, rows: Sequence[Row]) -> None:
        """Replace the rows and repaint the lines that changed.

        The sequence is kept, not copied, and must not change its length until the next call.
        """
        anchors, first_row = self._keys_in_view, self._first_row
        self._rows = rows
        self._row_count = len(rows)
        was_in_view = self._is_in_view(self._cursor)
        self._resize_contents()
        self._restore_scroll(anchors, first_row)
        self._restore_cursor()
        if was_in_view and self.has_focus and self._has_moved:
            self._bring_into_view(self._cursor)
        self._refresh_lines()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, shown or not; setting them keeps the rows."""
        return self._columns

    @columns.setter
    def columns(self, columns: Sequence[Column]) -> None:
        self._columns = _cleaned(columns)
        self._needed = [0] * len(columns)
        self._lay_out()

    @property
    def hidden_columns(self) -> tuple[str, ...]:
        """Titles of the columns for which there is no room at present."""
        shown = {slot.index for slot in self._slots}
        return tuple(column.title for index, column in enumerate(self._columns) if index not in shown)

    @property
    def follow(self) -> bool:
        """Whether the view stays at the last row."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        self._can_follow = self._can_follow or follow
        if follow != self._follow:
            self._follow = follow
            if follow:
                self._to_tail()

    @property
    def sort_key(self) -> str | None:
        """Key of the column that shows the arrow of sorting; the rows are sorted by the caller."""
        return self._sort_key

    @sort_key.setter
    def sort_key(self, key: str | None) -> None:
        if key != self._sort_key:
            self._sort_key = key
            self._lay_out()

    @property
    def sort_reverse(self) -> bool:
        """Whether the arrow points down: largest first."""
        return self._sort_reverse

    @sort_reverse.setter
    def sort_reverse(self, reverse: bool) -> None:
        if reverse != self._sort_reverse:
            self._sort_reverse = reverse
            self._lay_out()

    @property
    def empty_text(self) -> str:
        """What is written as long as there are no rows: what will appear, and which key makes it appear."""
        return self._empty_text

    @empty_text.setter
    def empty_text(self, text: str) -> None:
        if text != self._empty_text:
            self._empty_text = text
            self.refresh()

    @property
    def cursor_key(self) -> Hashable:
        """Key of the row under the cursor; `None` when there are no rows."""
        return self._cursor_key

    @property
    def cursor_row(self) -> int:
        """Number of the row under the cursor, from 0."""
        return self._cursor

    @property
    def rows_down_to_view(self) -> int:
        """Rows from the first one down to the last that is in view, whether there are as many or not."""
        return self._first_row + self._lines

    def move_to(self, key: Hashable) -> bool:
        """Put the cursor on the row of a key; false if there is none."""
        found = self._find(key, self._cursor)
        if found is None:
            return False
        self._move(found)
        return True

    def show_cursor(self) -> None:
        """Scroll so far that the row under the cursor is in view."""
        self._bring_into_view(self._cursor)

    # Keys and mouse ---------------------------------------------------------------------------------------

    def action_cursor_up(self) -> None:
        """One row up; stops following."""
        self._step(-1)

    def action_cursor_down(self) -> None:
        """One row down."""
        self._step(1)

    def action_page_up(self) -> None:
        """One view up; stops following."""
        self._step(-max(self._lines - 1, 1))

    def action_page_down(self) -> None:
        """One view down."""
        self._step(max(self._lines - 1, 1))

    def action_scroll_home(self) -> None:
        """To the first row; stops following."""
        self._step(-self._row_count)

    def action_scroll_end(self) -> None:
        """To the last row; resumes following where that is in use."""
        if self._can_follow:
            self._set_follow(True)
            self._to_tail()
        else:
            self._step(self._row_count)

    def action_select(self) -> None:
        """Post the row under the cursor, which the cursor belongs to from now on."""
        if self._row_count:
            self._has_moved = True
            self.post_message(self.RowSelected(self, self._cursor_key))

    def on_click(self, event: events.Click) -> None:
        """Select a row, or tell which title was clicked."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < _HEADER_LINES:
            for slot in self._slots:
                if slot.start <= offset.x < slot.start + slot.width + len(GAP):
                    event.stop()
                    self.post_message(self.HeaderSelected(self, self._columns[slot.index].key))
                    return
            return
        row = self._first_row + offset.y - _HEADER_LINES
        if row < self._row_count:
            event.stop()
            if row != self._row_count - 1:
                self._set_follow(False)
            self._move(row)
            self.action_select()

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if self.max_scroll_y:
            self._set_follow(False)
        super()._on_mouse_scroll_up(event)

    def _on_scroll_up(self, event: ScrollUp) -> None:
        self._set_follow(False)
        super()._on_scroll_up(event)

    def _on_scroll_to(self, message: ScrollTo) -> None:
        if message.y is not None and message.y < self.max_scroll_y:
            self._set_follow(False)
        super()._on_scroll_to(message)

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show the cursor at full strength, or dimmed."""
        super().watch_has_focus(has_focus)
        self._refresh_lines()

    # What the screen asks for -----------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Hand over the header or a row."""
        strip = self._draw_line(y)
        self._drawn[y] = strip
        return strip

    def notify_style_update(self) -> None:
        """Forget everything that holds a colour."""
        super().notify_style_update()
        self._forget()

    def on_resize(self) -> None:
        """Choose columns for the new width."""
        self._resize_contents()
        self._lay_out()
        if self._follow:
            self._to_tail()
        self._look_at_view()

    def watch_show_vertical_scrollbar(self) -> None:
        """Choose columns anew: no resize is told when the scrollbar takes a column or gives it back."""
        self._lay_out()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Remember which rows are in view, so that they can be found again."""
        super().watch_scroll_y(old_value, new_value)
        self._look_at_view()

    # Rows and places --------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        """Cells from the left edge to the scrollbar, which the size includes."""
        return max(self.size.width - self.scrollbar_size_vertical, 0)

    @property
    def _lines(self) -> int:
        """Rows that fit under the header."""
        return max(self.size.height - _HEADER_LINES, 0)

    @property
    def _first_row(self) -> int:
        return self.scroll_offset.y

    def _is_in_view(self, row: int) -> bool:
        return self._first_row <= row < self._first_row + self._lines

    def _outwards(self, near: int) -> Iterator[int]:
        """All rows, the nearest first: rows are sought where they were, for they seldom move far."""
        count = self._row_count
        near = min(max(near, 0), count - 1)
        for distance in range(max(near + 1, count - near)):
            if near >= distance:
                yield near - distance
            if distance and near + distance < count:
                yield near + distance

    def _find(self, key: Hashable, near: int) -> int | None:
        rows = self._rows
        return next((row for row in self._outwards(near) if rows[row].key == key), None)

    def _resize_contents(self) -> None:
        size = Size(self._width, self._row_count + _HEADER_LINES)
        if size != self.virtual_size:
            # Assigning would lay out the whole screen anew, for each row that arrives. Only the scrollbar
            # has to know.
            self.set_reactive(Widget.virtual_size, size)
            self._scroll_update(size)

    def _restore_scroll(self, anchors: Sequence[Hashable], first_row: int) -> None:
        """Follow the tail, or find the rows again that were in view."""
        if self._follow:
            self._scroll_to_row(self._row_count)
        elif first_row > 0 and self._sort_key is None:
            # In a sorted table rows change places all the time: there the view keeps its place.
            lines = {key: line for line, key in enumerate(anchors)}
            found = next((row for row in self._outwards(first_row) if self._rows[row].key in lines), None)
            if found is not None:
                self._scroll_to_row(found - lines[self._rows[found].key])
        self._look_at_view()

    def _restore_cursor(self) -> None:
        count = self._row_count
        if not count:
            self._cursor, self._cursor_key = 0, None
            return
        row: int | None
        if not self._has_moved or self._follow:
            row = count - 1 if self._follow else 0
        else:
            row = self._find(self._cursor_key, self._cursor)
        self._put_cursor(min(self._cursor, count - 1) if row is None else row)

    def _put_cursor(self, row: int) -> None:
        key = self._rows[row].key
        changed = key != self._cursor_key
        self._cursor, self._cursor_key = row, key
        if changed:
            self.post_message(self.RowHighlighted(self, key))

    def _step(self, rows: int) -> None:
        if not self._row_count:
            return
        if rows < 0:
            self._set_follow(False)
        start = self._cursor
        if self._has_moved or self._is_in_view(start):
            start += rows
        else:
            # A cursor that was never used, out of sight after a scroll of the wheel, begins where the
            # reader looks.
            start = self._first_row
        self._move(min(max(start, 0), self._row_count - 1))

    def _move(self, row: int) -> None:
        self._has_moved = True
        self._put_cursor(row)
        self._bring_into_view(row)
        self._refresh_lines()

    def _bring_into_view(self, row: int) -> None:
        if row < self._first_row:
            self._scroll_to_row(row)
        elif self._lines and row >= self._first_row + self._lines:
            self._scroll_to_row(row - self._lines + 1)

    def _scroll_to_row(self, row: int) -> None:
        self.scroll_target_y = self.scroll_y = min(max(row, 0), self.max_scroll_y)

    def _to_tail(self) -> None:
        self._scroll_to_row(self._row_count)
        self._restore_cursor()
        self._refresh_lines()

    def _set_follow(self, follow: bool) -> None:
        if follow != self._follow:
            self._follow = follow
            # A cursor that went with the tail stays on the row where following ended.
            self._has_moved = True
            self.post_message(self.FollowChanged(self, follow))

    def _look_at_view(self) -> None:
        """Note the keys in view, and let columns grow to the widest cell seen."""
        visible = list(self._visible_rows())
        self._keys_in_view = [row.key for row in visible]
        grew = False
        for index, column in enumerate(self._columns):
            if column.align == "right" or column.flexible:
                cells = (plain(row.cells[index]) for row in visible if index < len(row.cells))
                widest = max(map(cell_len, cells), default=0)
                if widest > self._needed[index]:
                    self._needed[index] = widest
                    grew = grew or widest > self._width_of(index)
        if grew:
            self._lay_out()

    def _width_of(self, index: int) -> int:
        return next((slot.width for slot in self._slots if slot.index == index), self._columns[index].width)

    def _visible_rows(self) -> Iterator[Row]:
        first = self._first_row
        return (self._rows[row] for row in range(first, min(first + self._lines, self._row_count)))

    # Drawing ----------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        needed = [
            max(need, cell_len(column.title) + ARROW_WIDTH) if column.key == self._sort_key else need
            for column, need in zip(self._columns, self._needed, strict=True)
        ]
        self._slots = lay_out(self._columns, needed, self._width)
        self._drawing.lay_out(self._columns, self._slots, self._width)
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self._drawing.forget()
        self._drawn.clear()
        self._header = None

    def _refresh_lines(self) -> None:
        """Repaint the lines that would come out different from what is on the screen."""
        if not self.is_mounted:
            return
        width = self._width
        changed = [
            Region(0, y, width, 1)
            for y in range(self.size.height)
            if self._drawn.get(y) is not self._draw_line(y)
        ]
        if changed:
            self.refresh(*changed)

    def _draw_line(self, y: int) -> Strip:
        if y < _HEADER_LINES:
            if self._header is None:
                self._header = self._drawing.header(self._sort_key, reverse=self._sort_reverse)
            return self._header
        row = self._first_row + y - _HEADER_LINES
        if row < self._row_count:
            cursor = "cursor" if self.has_focus else "cursor-blurred"
            return self._drawing.row(self._rows[row], cursor if row == self._cursor else "")
        if not self._row_count and y == max(self.size.height // 2, _HEADER_LINES):
            return self._drawing.empty(self._empty_text)
        return self._drawing.blank()

    def _style(self, name: str) -> Style:
        style = self.rich_style
        if not name:
            return style
        # Only what the class itself says: laid over a row it must leave alone what it does not mention.
        said = self.get_component_styles(f"table--{name}")
        full = self.get_component_rich_style(f"table--{name}")
        part = Style(
            color=full.color if said.has_rule("color") else None,
            bgcolor=full.bgcolor if said.has_rule("background") else None,
        )
        part += said.text_style
        return part if name.startswith("cursor") else style + part


def _cleaned(columns: Sequence[Column]) -> tuple[Column, ...]:
    return tuple(
        Column(column.key, plain(column.title), column.width, column.align, column.flexible, column.priority)
        for column in columns
    )
