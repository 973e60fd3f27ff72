"""Help: every key, and what each figure means."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from sockscope.faces.tui.actions import ACTIONS

FIGURES = (
    ("req/s", "answers that the clients got in the last second"),
    ("bytes/s", "payload of these answers, framing not counted"),
    (
        "p50 p99 max",
        "service time: from writing a request until its answer is read, without the wait for a permit",
    ),
    ("failed", "requests without an answer since the figures began: timeouts, and other errors"),
    ("lost", "of these over UDP, those that were not answered later either"),
    ("CPU", "of a process, in percent of one core; placed in the loop, server, clients and screen are one"),
    ("loop lag", "how much later than due a heartbeat of the event loop ran; up to 1 ms is the timer's grid"),
    ("in flight", "requests that were written and not yet answered: holders of a permit"),
    ("waiting", "clients that queue for a permit"),
    ("rtt", "the kernel's own smoothed round-trip time of a connection (TCP_INFO)"),
    ("limit", "what everybody waits for at the moment, with the figures that say so"),
    ("closed loop", "each client waits for its answer before it asks again, so latency limits the rate"),
)


class HelpScreen(ModalScreen[None]):
    """A sheet over the dashboard."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar = [Binding("escape,q,question_mark,f1", "dismiss", "close", show=False)]

    def compose(self) -> ComposeResult:
        """Keys by group, then figures."""
        with VerticalScroll(id="sheet") as sheet:
            sheet.border_title = "Help"
            sheet.border_subtitle = "Esc closes"
            yield Static(help_content(), markup=False)


def help_content() -> Content:
    """Return the text of the help screen, made from the table of actions."""
    lines: list[Content] = []
    for group, actions in groupby(
        sorted(ACTIONS, key=lambda a: _group_order(a.group)), key=lambda a: a.group
    ):
        lines.extend(
            (Content(""), Content.styled(group, "bold")) if lines else (Content.styled(group, "bold"),)
        )
        lines.extend(
            Content.styled(f"  {action.shown:<7}", "bold $text-accent") + Content(action.tooltip)
            for action in actions
        )
    lines.extend((Content(""), Content.styled("In the knobs", "bold")))
    for key, text in (
        ("↑ ↓", "choose a knob"),
        ("← →", "turn it one step (1-2-5)"),
        ("⇧← ⇧→", "turn it a decade"),
        ("Enter", "type a value: 10k, 64K, 250ms"),
    ):
        lines.append(Content.styled(f"  {key:<7}", "bold $text-accent") + Content(text))
    lines.extend((Content(""), Content.styled("What the figures mean", "bold")))
    lines.extend(Content.styled(f"  {name:<13}", "bold") + Content(text) for name, text in FIGURES)
    return Content("\n").join(lines)


def _group_order(group: str) -> int:
    return [action.group for action in ACTIONS].index(group)
