"""What a closed loop leaves out of the latencies, and the switch to an open one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, isfinite
from statistics import median
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

from sockscope.core import units
from sockscope.core.censoring import percentiles
from sockscope.core.config.experiment import FIELDS
from sockscope.core.run.omission import Omission, omission
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.session import Session

_RATIOS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
OFFERED_RATIO = 0.75
"""How much of the rate of the clients an open loop asks at: at all of it what queues up would never drain."""
_QUIET, _KEY = "$foreground 60%", "bold $text-accent"
_COLUMN = 22
_IS_OPEN = (
    "The loop is open: {rate} requests are due per second, whatever the answers do, and the response time of "
    "each runs from when it was due. Nothing is left out."
)
_IS_CLOSED = (
    "The loop is closed: a client asks again only when it has its answer. What the clients would have asked "
    "while they waited is in no figure, so that a stall counts as a few slow requests."
)
_HOW = (
    "Estimated as HdrHistogram corrects for an expected interval: each client asks every {interval} (clients "
    "by the median rate); who waited longer is joined by the requests that were due meanwhile, each of which "
    "waits an interval less. That they would have queued up behind each other is not in it: only an open "
    "loop measures that."
)


class OpenLoopScreen(ModalScreen[None]):
    """A sheet over the dashboard: the whole run as it is at the moment at which it was opened."""

    CSS_PATH = "open_loop.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,enter", "dismiss", "close", show=False),
        Binding("o", "switch", show=False),
    ]

    def __init__(self, session: Session, state: ScreenState) -> None:
        super().__init__()
        self._session = session
        # A tuning that is being applied is in no state yet.
        self._state = replace(state, requested=session.tuner.requested)
        self._rate = usual_rate(state)

    def compose(self) -> ComposeResult:
        """Put the text on a sheet that scrolls."""
        with VerticalScroll(id="sheet") as sheet:
            sheet.border_title = "Closed and open loop"
            sheet.border_subtitle = "o switches, Esc closes"
            yield OpenLoopText(self._state, self._rate)

    def action_switch(self) -> None:
        """Go over to an open loop at a part of the rate that the clients had, or back to the closed one."""
        if self._state.requested.rate:
            self._session.tuner.set({"rate": 0})
        elif rate := offered_rate(self._rate):
            self._session.tuner.set({"rate": rate})
        self.dismiss()


class OpenLoopText(Static):
    """The text, as tall as it is at its width."""

    def __init__(self, state: ScreenState, rate: int) -> None:
        super().__init__()
        self._state = state
        self._rate = rate

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines there are."""
        return len(self._lines(width))

    def render(self) -> Content:
        """Draw it."""
        return Content("\n").join(self._lines(self.content_size.width))

    def _lines(self, width: int) -> list[Content]:
        return list(sheet_lines(self._state, self._rate, width))


def usual_rate(state: ScreenState) -> int:
    """Return the requests per second that the clients make when nothing keeps them from it: the median."""
    rates = [rate for rate in state.trace.series["requests_per_s"].values if isfinite(rate) and rate > 0]
    return round(median(rates)) if rates else 0


def offered_rate(usual: int) -> int:
    """Return the rate of an open loop in place of clients that made so many requests per second."""
    return ceil(usual * OFFERED_RATIO)


def sheet_lines(state: ScreenState, rate: int, width: int) -> Iterator[Content]:
    """Yield the lines of the sheet at a width."""
    if due := state.requested.rate:
        yield from map(Content, wrap(_IS_OPEN.format(rate=units.format_count(due)), width))
        yield from (Content(""), Content.styled(" o  ", _KEY) + Content("back to the closed loop"))
        return
    found = omission(state.snapshot, rate)
    if found is None:
        yield Content("Nothing has been answered yet that would tell.")
        return
    yield from map(Content, wrap(_IS_CLOSED, width))
    yield from (Content(""), *_table(found, state), Content(""))
    how = _HOW.format(interval=units.format_duration(found.interval_s))
    yield from (Content.styled(line, _QUIET) for line in wrap(how, width))
    yield Content("")
    if why := state.idle.get("rate"):
        yield from (Content.styled(line, _QUIET) for line in wrap(f"no open loop here: {why}", width))
    else:
        shown = FIELDS["rate"].spec.format(offered_rate(rate))
        part = units.format_ratio(OFFERED_RATIO)
        told = f"open loop of {shown} requests/s, {part} of this rate: queues can drain"
        yield Content.styled(" o  ", _KEY) + Content(told)


def _table(found: Omission, state: ScreenState) -> Iterator[Content]:
    length = units.format_duration(state.snapshot.measured_s)
    yield Content.styled(f"whole run, {length}", "bold")
    yield Content.styled(f"{'':14}{'measured':>{_COLUMN}}{'open loop, estimated':>{_COLUMN}}", _QUIET)
    measured = percentiles(*found.measured, tuple(_RATIOS.values()))
    estimated = percentiles(*found.estimated, tuple(_RATIOS.values()))
    for name, one, other in zip(_RATIOS, measured, estimated, strict=True):
        figures = f"{units.format_duration(one):>{_COLUMN}}{units.format_duration(other):>{_COLUMN}}"
        yield Content(f"{'response ' + name:14}{figures}")
    total = found.measured[0].total + found.measured[1].total
    asked = f"{total + found.omitted:,}"
    yield Content(f"{'requests':14}{f'{total:,}':>{_COLUMN}}{asked:>{_COLUMN}}")
