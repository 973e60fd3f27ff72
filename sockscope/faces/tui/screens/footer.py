"""The footer: the keys that matter and what each will do now, as many as fit; each can be clicked."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from sockscope.faces.tui.actions import footer_actions


class FooterBar(Widget):
    """One row of keys, made from the table of actions."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._labels: Mapping[str, str] = {}

    def show(self, labels: Mapping[str, str]) -> None:
        """Label these actions anew."""
        if labels != self._labels:
            self._labels = labels
            self.refresh()

    def render(self) -> Content:
        """Return the row for the present width."""
        pieces: list[Content] = []
        for action in footer_actions(self.size.width - 2, self._labels):
            click = Style.from_meta({"@click": f"app.do('{action.id}')"})
            key = Content.styled(action.shown, "bold $text-accent")
            pieces.append((key + Content(f" {action.label}  ")).stylize(click))
        return Content("").join(pieces)
