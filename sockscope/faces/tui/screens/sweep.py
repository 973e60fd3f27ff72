"""The Sweep screen: a knob is stepped through, and its curve, knee and law grow as results come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from sockscope.core.config.applicability import idle_fields
from sockscope.core.config.experiment import Experiment
from sockscope.core.results.axis import Axis
from sockscope.core.results.design import Design
from sockscope.core.results.lap_figures import NAMES
from sockscope.core.results.scaling import Curve, curves
from sockscope.core.results.standing import Standing
from sockscope.core.results.thresholds import Threshold
from sockscope.core.roles import SERVER
from sockscope.errors import ConfigError
from sockscope.faces.race_table import workload_line
from sockscope.faces.rounds import RoundsFace
from sockscope.faces.sweep import SweepFace
from sockscope.faces.sweep_plot import plotted
from sockscope.faces.sweep_table import columns, curve_title, headline, remarks, remarks_of
from sockscope.faces.tui.screens.rounds import RoundsScreen
from sockscope.faces.tui.widgets.plain import plain, plain_lines
from sockscope.faces.tui.widgets.table import Column, Row, Table
from sockscope.lab.find import Find
from sockscope.lab.sweep import Sweep
from sockscope.store.history import History

_PRIORITIES = {
    "req/s": 98, "": 50, "p50": 80, "p99": 90, "resp. p50": 86, "resp. p99": 88, "limit": 85, "CPU s + c": 70,
    "failed": 82, "min … max": 65,
}  # fmt: skip
"""Which columns stay when there is no room for all."""
_WIDTHS = {
    "": 10,
    "limit": 14,
    "CPU s + c": 11,
    "req/s": 9,
    "p50": 8,
    "p99": 8,
    "resp. p50": 9,
    "resp. p99": 9,
}
MOST_TYPED = 200
"""Characters of a line."""
PLOT_HEIGHT = 8


class SweepScreen(RoundsScreen):
    """What is swept above, the curve below. The base is the run as it is tuned, in processes of its own."""

    CSS_PATH = "sweep.tcss"
    BINDINGS: ClassVar = [
        Binding("escape", "leave", "close", show=False),
        Binding("q", "leave", "close", show=False),
        Binding("s", "finish", "stop", show=False),
        Binding("slash", "type", "type", show=False),
        Binding("enter", "begin", "start", show=False),
        Binding("up", "propose(-1)", show=False, priority=True),
        Binding("down", "propose(1)", show=False, priority=True),
    ]

    kind = "sweep"

    def __init__(
        self,
        environment: Mapping[str, object],
        history: History | None,
        rest: Callable[[bool], None],
        experiment: Experiment,
    ) -> None:
        super().__init__(environment, history, rest)
        self._experiment = _apart(experiment)
        self._proposals = [*_proposals(self._experiment)]
        self._over = Input(self._proposals[0], id="sweep-over", max_length=MOST_TYPED, compact=True)
        self._find = Input("", id="sweep-find", max_length=MOST_TYPED, compact=True, placeholder=_NO_SEARCH)

    def compose(self) -> ComposeResult:
        """What is swept; how far it is; the steps; the curve and what it tells."""
        yield Static(_HEAD, id="sweep-head", markup=False)
        with Horizontal(classes="sweep-line"):
            yield Static("over", classes="sweep-label")
            yield self._over
        with Horizontal(classes="sweep-line"):
            yield Static("find", classes="sweep-label")
            yield self._find
        yield Static("", id="sweep-progress", markup=False)
        yield Table((Column("step", "step", 20),), empty_text=_EMPTY, id="sweep-table")
        with VerticalScroll(id="sweep-remarks"):
            yield Static("", id="sweep-text", markup=False)
        yield Static(_KEYS, id="sweep-foot", markup=False)

    def on_mount(self) -> None:
        """Begin where one types."""
        self._over.focus()

    # A sweep.

    def action_type(self) -> None:
        """Go to what is swept."""
        self._over.focus()

    def action_propose(self, by: int) -> None:
        """Offer another field, move in the table, or scroll the text."""
        if self.focused is self._over:
            at = self._proposals.index(self._over.value) if self._over.value in self._proposals else -by
            self._over.value = self._proposals[(at + by) % len(self._proposals)]
            self._over.cursor_position = len(self._over.value)
        elif isinstance(self.focused, Table):
            (self.focused.action_cursor_down if by > 0 else self.focused.action_cursor_up)()
        elif isinstance(self.focused, VerticalScroll):
            self.focused.scroll_relative(y=by, animate=False)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Start with what stands there."""
        message.stop()
        self.action_begin()

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Start once more."""
        message.stop()
        self.action_begin()

    def action_begin(self) -> None:
        """Start, unless something is wrong with what is asked, or one is running."""
        try:
            design = self._design()
        except ConfigError as error:
            self._say(str(error))
            return
        except ValueError as error:
            self._say(f"{self._over.value.strip() or 'over'}: {error}")
            return
        self.query_one("#sweep-table", Table).focus()
        self.start(lambda: self._face(design))

    def _design(self) -> Design:
        if self._experiment.role == SERVER:
            raise ConfigError.of("role", SERVER, "has no clients, which a sweep takes")
        axes = [Axis.parse(text) for text in self._over.value.split()]
        condition = Threshold.parse(self._find.value, NAMES) if self._find.value.strip() else None
        return Design.of(self._experiment, axes, condition)

    def _face(self, design: Design) -> RoundsFace:
        return SweepFace(Sweep(design) if design.find is None else Find(design), self.environment)

    async def action_leave(self) -> None:
        """End a sweep that is going on, and keep what it has measured; else go back."""
        if self.goes_on:
            self.action_finish()
        else:
            self.dismiss()

    # Drawing.

    def watch_standing(self, standing: Standing | None) -> None:
        """Draw how the sweep stands."""
        if standing is None or not isinstance(self.face, SweepFace):
            return
        design = self.face.design
        found = curves(design, standing)
        self.query_one("#sweep-head", Static).update(Content(plain(f" {headline(design, standing)}")))
        self.add_class("-raced")
        self.draw_progress(standing)
        self._draw_table(found, standing)
        lines = [workload_line(standing.contest)]
        for curve in found:
            lines += ["", *([curve_title(curve)] if curve.of else [])]
            lines += plotted(curve, max(20, min(64, self.size.width - 16)), PLOT_HEIGHT)
            lines += [f"· {told}" for told in remarks_of(curve)]
        lines += [f"· {told}" for told in remarks(design, standing, found)]
        self.query_one("#sweep-text", Static).update(Content(plain_lines(lines)))

    def _draw_table(self, found: tuple[Curve, ...], standing: Standing) -> None:
        shown, first = self.query_one("#sweep-table", Table), columns(found[0], bars=True)
        names = [one.step.name for curve in found for one in curve.steps]
        shown.columns = [
            Column("step", "step", max(map(len, names)), priority=99),
            *(
                Column(
                    column.head or "bar", column.head, _WIDTHS.get(column.head, len(column.head)),
                    "left" if column.left else "right", priority=_PRIORITIES.get(column.head, 10),
                )
                for column in first[1:]
            ),
        ]  # fmt: skip
        shown.show(
            [
                Row(
                    one.step.name,
                    (one.step.name, *(column.cell(one) for column in columns(curve, bars=True)[1:])),
                    _style(one.step.name, standing),
                )
                for curve in found
                for one in curve.steps
            ]
        )


def _style(name: str, standing: Standing) -> str:
    if name in standing.faults:
        return "error"
    return "changed" if name == standing.running and not standing.finished else ""


def _apart(experiment: Experiment) -> Experiment:
    """Return what is swept: the run as it is tuned, at an address and in processes of its own."""
    tuning = experiment.tuning
    return replace(
        experiment, bind="", port=0, requests=0, duration_s=0.0, warmup_s=WARMUP_S,
        tuning=replace(tuning, place=PLACE if tuning.place == "loop" else tuning.place),
    )  # fmt: skip


def _proposals(experiment: Experiment) -> Iterator[str]:
    """Yield what may be swept, about what the run is tuned to."""
    tuning = experiment.tuning
    idle = idle_fields(experiment, tuning)
    most = max(64, 4 * tuning.clients)
    offered = {
        "clients": f"clients=1..{min(most, 10_000)}",
        "permits": f"permits=1..{max(2, tuning.clients)}",
        "rate": "rate=10..10k",
        "service_time": "service_time=1ms..100ms",
        "size": "size=64..64K",
        "depth": "depth=1..64",
        "pool": f"pool=1..{max(2, tuning.clients)}",
    }
    yield from (text for key, text in offered.items() if key not in idle)


PLACE = "apart"
"""Where the roles of a run on the loop of the screen are swept."""
WARMUP_S = 0.3
"""Left out at the beginning of each slice."""
_NO_SEARCH = "highest value that keeps a bound, such as p99<20ms; empty: every step"
_EMPTY = "Enter steps through the values above; the curve grows as results come in"
_HEAD = " Sweep  step through a knob, from the run as it is tuned"
_KEYS = " ↑ ↓ choose   Tab next   Enter start   s stop and keep   / type   Esc dashboard"
