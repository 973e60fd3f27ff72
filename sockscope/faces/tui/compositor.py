"""Painting no more of the screen than what has changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textual._compositor import ChopsUpdate, Compositor
from textual._context import active_app
from textual.geometry import Region
from textual.strip import Strip


class PacedCompositor(Compositor):
    """Begins no picture while the app says that the terminal has not taken the last one.

    What has changed stays marked, and is in the next picture. ``pictures`` counts them.
    """

    pictures = 0

    def render_update(self, *args: Any, **options: Any) -> Any:
        """Render what has changed; None while nothing may be drawn."""
        may_draw: Any = getattr(active_app.get(), "may_draw", None)
        if may_draw is not None and not may_draw():
            return None
        update = super().render_update(*args, **options)
        self.pictures += update is not None
        return update


class FrugalCompositor(PacedCompositor):
    """Renders for a partial update only what is seen in the regions that have changed.

    Textual 8.2 asks every widget whose container overlaps the rectangle around the changed regions for all
    its lines, containers that are covered altogether included: a few milliseconds of the loop each time.
    """

    _changed: frozenset[Region] = frozenset()

    def render_partial_update(self) -> ChopsUpdate | None:
        """Render what has changed; None when nothing has."""
        self._changed = frozenset(self._dirty_regions)
        return super().render_partial_update()

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        left, self._changed = self._changed, frozenset()
        if crop is None or not left:
            yield from super()._get_renders(crop)
            return
        rows = Region(0, crop.y, self.size.width, crop.height)
        # From front to back: what the first widget shows of a region is not painted by another.
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip).intersection(rows)
            if any(seen.overlaps(changed) for changed in left):
                yield region, seen, widget.render_lines(seen.translate(-region.offset))
                left = frozenset(changed for changed in left if not seen.contains_region(changed))
                if not left:
                    return
