"""Help: every key, and what each figure means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

from sockscope.faces.tui.actions import ACTIONS

FIGURES = (
    ("req/s", "answers the clients got in the last second"),
    ("bytes/s", "payload of these answers, framing not counted"),
    (
        "p50 p99 max",
        "service time: from writing a request until its answer is read, without the wait for a permit; "
        "where that makes a difference the response time stands beside it, from when the client wanted to "
        "ask or the request was due",
    ),
    (
        "heat map",
        "how many of the requests of a moment took how long: · less than 1 % of them, ░ from 1, ▒ from 5, "
        "▓ from 20, █ from 50 %; × at the top got no answer, ╱ is the warm-up",
    ),
    ("≥", "a lower bound: so many requests got no answer that the figure falls among them"),
    ("failed", "requests that ended without an answer since the figures began: timeouts, and other errors"),
    ("lost", "over UDP, those of them that were not answered late either"),
    ("held", "requests that had to wait for room in the queue of a Unix socket"),
    (
        "CPU",
        "of a process, in percent of one core; main draws the screen, and with place loop "
        "is server and clients, too",
    ),
    ("loop lag", "how late a heartbeat of the event loop ran; up to 1 ms is the resolution of its timers"),
    ("in flight", "requests that were written and not yet answered: holders of a permit"),
    ("waiting", "clients that queue for a permit or a connection of the pool"),
    ("rtt", "the kernel's own smoothed round-trip time of a connection (TCP_INFO)"),
    ("retrans", "segments that the kernel sent again on it, since it was opened"),
    ("limit", "what everybody waits for at the moment; i shows the figures that say so"),
    (
        "windows",
        "header and legends: the last second; a point of a graph: 200 ms; failed, lost: since figures began",
    ),
    ("closed loop", "each client waits for its answer before it asks again, so latency limits the rate"),
)
"""Figures of the screen, and what each one is."""

_IN_THE_KNOBS = (
    ("↑ ↓", "choose a knob"),
    ("← →", "turn it one step (1-2-5)"),
    ("⇧← ⇧→", "turn it a decade"),
    ("Enter", "type a value: 10k, 64K, 250ms"),
)
_ON_THE_CARD = (
    ("1 … 9", "make the turn that is advised; the card stays and shows what comes of it"),
    ("u", "take it back"),
    ("↑ ↓ PgDn", "scroll: the rules that do not hold come last"),
)

_IN_A_LESSON = (
    ("1 … 9", "predict"),
    ("v", "type the votes of the room: a number for each choice, such as 12 3 5"),
    ("Enter", "carry the step out; then the next one"),
    ("b  a", "back to the step before; ask about this one again"),
    ("c", "more of the code that runs"),
    ("Esc", "end the lesson; the run goes on"),
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
            yield HelpText()


class HelpText(Static):
    """The text, as tall as it is at its width."""

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines there are."""
        return len(help_lines(width))

    def render(self) -> Content:
        """Draw it."""
        return Content("\n").join(help_lines(self.content_size.width))


def help_lines(width: int) -> list[Content]:
    """Return the lines of the help screen, made from the table of actions; a long one goes on indented."""
    lines: list[Content] = []
    ordered = sorted(ACTIONS, key=lambda a: _group_order(a.group))
    for group, actions in groupby(ordered, key=lambda a: a.group):
        lines += _section(
            group, [(action.shown, action.tooltip) for action in actions], "bold $text-accent", width
        )
    lines += _section("In the knobs", _IN_THE_KNOBS, "bold $text-accent", width)
    lines += _section("On the card of the limit", _ON_THE_CARD, "bold $text-accent", width)
    lines += _section("In a lesson", _IN_A_LESSON, "bold $text-accent", width)
    lines += _section("What the figures mean", FIGURES, "bold", width)
    return lines[1:]


def _section(title: str, rows: Iterable[tuple[str, str]], style: str, width: int) -> Iterator[Content]:
    rows = list(rows)
    label = max(9, *(len(name) + 4 for name, _ in rows))
    yield Content("")
    yield Content.styled(title, "bold")
    for name, text in rows:
        first, *rest = wrap(text, max(20, width - label))
        yield Content.styled(f"  {name}".ljust(label), style) + Content(first)
        yield from (Content(" " * label + line) for line in rest)


def _group_order(group: str) -> int:
    return [action.group for action in ACTIONS].index(group)
