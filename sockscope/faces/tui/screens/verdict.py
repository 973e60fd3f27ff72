"""The card of the limit: what the verdict stands on, what was looked at besides, and what to turn next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
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
from sockscope.core.config.experiment import FIELDS
from sockscope.core.run.advice import Turn, again, besides, turns
from sockscope.core.run.evidence import Evidence, Looked, weighed
from sockscope.core.run.findings import Finding, Verdict, verdict_of
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.widgets.plain import plain

FIGURE = 10
"""Cells of a value, and of a threshold."""
SOURCE = 24
"""The most cells of a source that has a column of its own."""
ROOMY = 60
"""From this width on it has."""
_HEAD, _QUIET, _KEY, _NO = "bold", "$foreground 60%", "bold $text-accent", "$text-warning"


class VerdictScreen(ModalScreen[None]):
    """A sheet over the dashboard with the limit as it was when it was opened, or last asked for with ``r``.

    A digit makes the turn that stands beside it, however the run is judged meanwhile; that another limit has
    come is told.
    """

    CSS_PATH = "verdict.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,i,enter", "dismiss", "close", show=False),
        *(Binding(str(digit), f"turn({digit})", show=False) for digit in range(1, 10)),
        Binding("u", "undo", show=False),
        Binding("r", "judge", show=False),
    ]

    def __init__(self, session: Session, dashboard: DashboardScreen) -> None:
        super().__init__()
        self._session = session
        self._dashboard = dashboard

    def compose(self) -> ComposeResult:
        """Put the text on a sheet that scrolls."""
        with VerticalScroll(id="sheet") as sheet:
            sheet.border_title = "Limit"
            sheet.border_subtitle = "digits turn, u undoes, r judges anew, Esc closes"
            yield VerdictText()

    def on_mount(self) -> None:
        """Follow what the dashboard shows."""
        self.watch(self._dashboard, "state", self._show)

    def _show(self, state: ScreenState | None) -> None:
        if state is not None:
            self.query_one(VerdictText).show(state)

    def action_turn(self, number: int) -> None:
        """Make the turn with this number."""
        advised = self.query_one(VerdictText).advised
        if 0 < number <= len(advised) and (turn := advised[number - 1]).is_one:
            self._session.tuner.set({turn.field: turn.after})
            self._show_request()

    def action_undo(self) -> None:
        """Take the last turn back."""
        self._session.undo()
        self._show_request()

    def action_judge(self) -> None:
        """Show the limit as it is now."""
        if (state := self._dashboard.state) is not None:
            self.query_one(VerdictText).judge(replace(state, requested=self._session.tuner.requested))

    def _show_request(self) -> None:
        """Let the next press of a digit turn on from what has just been requested."""
        if (state := self._dashboard.state) is not None:
            self._show(replace(state, requested=self._session.tuner.requested))


class VerdictText(Static):
    """The text, as tall as it is at its width."""

    def __init__(self) -> None:
        super().__init__()
        self.advised: list[Turn] = []
        """By their digits, from 1 on: these stay until it is judged anew."""
        self._judged: ScreenState | None = None
        self._verdict: Verdict | None = None
        self._now: ScreenState | None = None

    def show(self, state: ScreenState) -> None:
        """Follow the dashboard: judge at first; then tell whether the limit is another one now."""
        if self._judged is None:
            self.judge(state)
            return
        self._now = state
        self.advised = again(
            self.advised, self._judged.finding.kind, state.snapshot.experiment, state.requested
        )
        self.refresh(layout=True)

    def judge(self, state: ScreenState) -> None:
        """Show the verdict of what the dashboard shows."""
        self._judged = self._now = state
        self._verdict = verdict_of(state.headline)
        self.advised = turns(state.finding.kind, state.snapshot.experiment, state.requested)
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines there are."""
        return len(self._lines(width))

    def render(self) -> Content:
        """Draw it."""
        return Content("\n").join(self._lines(self.content_size.width))

    def _lines(self, width: int) -> list[Content]:
        if self._judged is None or self._verdict is None:
            return [Content("nothing has been judged yet: the run begins")]
        return card_lines(self._judged, self._verdict, self.advised, width, self._now)


def card_lines(
    state: ScreenState,
    verdict: Verdict,
    advised: Iterable[Turn],
    width: int,
    now: ScreenState | None = None,
) -> list[Content]:
    """Return the lines of the card at a width; ``now`` is what the dashboard has come to since."""
    finding = state.finding
    told = f"{finding.kind}: {finding.sentence}"
    lines = [Content.styled(line, "bold") for line in wrap(plain(told), width)]
    lines += [Content.styled(line, _QUIET) for line in wrap(_when(state), width)]
    if now is not None and now.finding.kind != finding.kind:
        since = f"now: {now.finding.kind}: {now.finding.sentence} (r shows that)"
        lines += [Content.styled(line, _NO) for line in wrap(plain(since), width)]
    lines += _section("What it stands on", _table(finding.evidence, width))
    lines += _section("What to turn next", _turns(finding, advised, width))
    lines += _section("Asked later, holds too", _held(finding, verdict.after, width))
    lines += _section("Asked before, does not hold", _not_held(verdict.before, width))
    lines += _section("Asked later, does not hold", _not_held(verdict.after, width))
    idle = [one.rule.title for one in (*verdict.before, *verdict.after) if not one.evidence]
    lines += _section("Nothing to look at", (Content(line) for line in _indented("; ".join(idle), width)))
    return lines


def _when(state: ScreenState) -> str:
    length = units.format_duration(state.headline.measured_s)
    if state.frozen:
        return f"frozen with the view: the last {length} until then"
    return f"the {length} until {units.format_elapsed(state.snapshot.elapsed_s)} of the run; r judges anew"


def _section(title: str, rows: Iterable[Content]) -> list[Content]:
    rows = list(rows)
    return [Content(""), Content.styled(title, _HEAD), *rows] if rows else []


def _indented(text: str, width: int, indent: str = "  ") -> list[str]:
    return [indent + line for line in wrap(plain(text), max(20, width - len(indent)))]


def _turns(finding: Finding, advised: Iterable[Turn], width: int) -> Iterator[Content]:
    for number, turn in enumerate(advised, start=1):
        spec = FIELDS[turn.field].spec
        change = f"{spec.label} {spec.format(turn.before)} → {spec.format(turn.after)}: {turn.why}"
        if not turn.is_one:
            change = f"{spec.label} {spec.format(turn.before)}: no further"
        first, *rest = wrap(change, max(20, width - 5))
        style = "" if turn.is_one else _QUIET
        yield Content.styled(f"  {number}  ", _KEY if turn.is_one else _QUIET) + Content.styled(first, style)
        yield from (Content.styled(" " * 5 + line, style) for line in rest)
    for told in besides(finding.kind):
        first, *rest = wrap(told, max(20, width - 5))
        yield Content.styled("  -  ", _QUIET) + Content(first)
        yield from (Content(" " * 5 + line) for line in rest)


def _held(finding: Finding, looked: Iterable[Looked], width: int) -> Iterator[Content]:
    """Yield other kinds whose figures hold; their sentences take for granted that nothing else does."""
    told = {finding.kind}
    for one in looked:
        if one.finding is not None and one.finding.kind not in told and any(e.holds for e in one.evidence):
            told.add(one.finding.kind)
            yield Content.styled(f"  {one.finding.kind}", _QUIET)
            yield from _table(one.evidence, width, indent="    ")


def _not_held(looked: Iterable[Looked], width: int) -> Iterator[Content]:
    for one in looked:
        if one.finding is None and one.evidence:
            yield from (Content.styled(line, _QUIET) for line in _indented(one.rule.title, width))
            yield from _table(one.evidence, width, indent="    ")


def _table(evidence: Iterable[Evidence], width: int, indent: str = "  ") -> Iterator[Content]:
    """Yield rows for each figure: a mark, name, value, threshold and source, or a line where it is narrow."""
    for one in evidence:
        mark = {True: "✓", False: "✗", None: " "}[one.holds]
        value, threshold = weighed(one.value, one.unit, one.threshold)
        if one.unit and width >= ROOMY:
            yield from _row(one, f"{indent}{mark} ", value, threshold, width)
        else:
            told = f"{mark} {one.name}: {value} {threshold}".rstrip()
            yield from map(Content, _indented(f"{told} ({one.source})", width, indent))


def _row(one: Evidence, lead: str, value: str, threshold: str, width: int) -> Iterator[Content]:
    source_width = min(SOURCE, width // 4)
    name_width = width - len(lead) - 2 * FIGURE - 5 - source_width
    names, sources = wrap(plain(one.name), name_width), wrap(one.source, source_width)
    style = _NO if one.holds is False else ""
    for name, source in zip_longest(names, sources, fillvalue=""):
        row = Content(f"{lead}{name:<{name_width}} ") + Content.styled(f"{value:>{FIGURE}}", style)
        yield row + Content(f"  {threshold:<{FIGURE + 1}} {source}".rstrip())
        lead, value, threshold = " " * len(lead), "", ""
