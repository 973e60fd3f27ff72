"""The footer: the keys that matter, as many as fit; each can be clicked."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from sockscope.faces.tui.actions import footer_actions


class FooterBar(Widget):
    """One row of keys, made from the table of actions."""

    def render(self) -> Content:
        """Return the row for the present width."""
        pieces: list[Content] = []
        for action in footer_actions(self.size.width - 2):
            click = Style.from_meta({"@click": f"app.do('{action.id}')"})
            key = Content.styled(action.shown, "bold $text-accent")
            pieces.append((key + Content(f" {action.label}  ")).stylize(click))
        return Content("").join(pieces)
