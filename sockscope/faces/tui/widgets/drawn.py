"""What widgets have in common that draw a whole picture on a `Grid`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from sockscope.faces.tui.widgets.grid import Grid, Ink


class Drawn(Widget):
    """Draws its picture at once into strips, and has only those rows repainted that came out different.

    A subclass draws in `draw`, and names in `INK_CLASSES` the component class of each ink after `Ink.BASE`.
    """

    ALLOW_SELECT = False
    INK_CLASSES: ClassVar[Sequence[str]] = ()

    _strips: list[Strip]
    _is_stale = True
    _ink_styles: list[Style]
    _ink_background: object = None

    def __init__(self, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._strips = []
        self._ink_styles = []

    def draw(self, grid: Grid) -> None:
        """Draw the picture on a grid of the widget's size."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw now, and repaint only rows that came out different."""
        self._is_stale = True
        if not self.is_mounted or not self.size:
            return
        before, self._strips = self._strips, self._draw()
        width = self.size.width
        if len(before) != len(self._strips):
            self.refresh()
            return
        changed = [
            Region(0, y, width, 1)
            for y, (old, new) in enumerate(zip(before, self._strips, strict=True))
            if old != new
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """Hand over one row of the picture."""
        if self._is_stale:
            self._strips = self._draw()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self._styles()[Ink.BASE])

    def notify_style_update(self) -> None:
        """Forget everything that holds a colour."""
        super().notify_style_update()
        self._ink_styles = []
        self._is_stale = True

    def on_resize(self) -> None:
        """Draw anew in the new size."""
        self._is_stale = True
        self.refresh()

    def _draw(self) -> list[Strip]:
        grid = Grid(*self.size)
        self._is_stale = False
        self.draw(grid)
        return grid.strips(self._styles())

    def _styles(self) -> list[Style]:
        """Styles by ink, looked up again only when the style sheet or the background has changed."""
        background = self.background_colors
        if not self._ink_styles or background != self._ink_background:
            self._ink_background = background
            base = self.rich_style
            named = [self.get_component_rich_style(name) for name in self.INK_CLASSES]
            self._ink_styles = [base, base, *named]
        return self._ink_styles
