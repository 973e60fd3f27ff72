"""The dashboard: header, knobs, graphs and tables, in three layouts."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from sockscope.core.run.snapshot import ConnectionQuery
from sockscope.faces.tui.frame import Frame
from sockscope.faces.tui.panels.changes import ChangesPanel
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.panels.exchanges import LINES, ExchangesPanel
from sockscope.faces.tui.panels.footer import FooterPanel
from sockscope.faces.tui.panels.graphs import (
    ConcurrencyPanel,
    CpuPanel,
    DistributionPanel,
    GraphPanel,
    LatencyPanel,
    ThroughputPanel,
)
from sockscope.faces.tui.panels.header import HeaderPanel
from sockscope.faces.tui.panels.knobs import KnobList, KnobsPanel
from sockscope.faces.tui.panels.listing import ListingPanel
from sockscope.faces.tui.panels.log import LogPanel
from sockscope.faces.tui.panels.panel import Panel

NARROW = (110, 32)
"""Below this width or height: one graph, the others as sparks, and the short knobs."""
WIDE = (190, 54)
"""From this size on: three listings side by side and the distribution."""
SHORT = 20
"""Below this height: no sparks."""
SMALLEST = (40, 12)
"""Below this nothing can be shown in a way that does not mislead."""


class DashboardScreen(Screen[None]):
    """Everything on one screen."""

    CSS_PATH = "dashboard.tcss"

    frame: reactive[Frame | None] = reactive(None, init=False, repaint=False)

    def compose(self) -> ComposeResult:
        """Put the panels into one grid; the style sheet arranges them."""
        yield HeaderPanel(id="header").data_bind(DashboardScreen.frame)
        with Container(id="body"):
            for panel in (
                KnobsPanel(id="knobs"),
                ThroughputPanel(id="throughput", classes="graph"),
                LatencyPanel(id="latency", classes="graph"),
                CpuPanel(id="cpu", classes="graph"),
                ConcurrencyPanel(id="concurrency", classes="graph"),
                DistributionPanel(id="distribution"),
                ChangesPanel(id="changes"),
                ConnectionsPanel(id="connections"),
                LogPanel(id="log"),
                ExchangesPanel(id="exchanges"),
            ):
                yield panel.data_bind(DashboardScreen.frame)
        yield FooterPanel(id="footer")
        yield Static(
            f"This terminal is too small: SockScope needs {SMALLEST[0]}×{SMALLEST[1]}.\nq quits.",
            id="too-small",
            markup=False,
        )

    def on_mount(self) -> None:
        """Begin with the connections in front and the throughput as the one graph of a small terminal."""
        self._listing = "connections"
        self._graph = "throughput"
        self._maximised: Panel | None = None
        self._heading_for: Panel | None = None
        self._focus_before_freeze: Widget | None = None
        self._arrange()

    def on_resize(self) -> None:
        """Choose the layout."""
        self._arrange()

    # Layout.

    def _arrange(self) -> None:
        width, height = self.app.size
        narrow = width < NARROW[0] or height < NARROW[1]
        wide = width >= WIDE[0] and height >= WIDE[1]
        inspecting = wide and self._maximised is None and self.query_one(ExchangesPanel).has_detail
        self.set_class(width < SMALLEST[0] or height < SMALLEST[1], "-too-small")
        self.set_class(narrow, "-narrow")
        self.set_class(wide, "-wide")
        self.set_class(inspecting, "-inspecting")
        self.set_class(height < SHORT, "-short")
        self.set_class(self._maximised is not None, "-maximised")
        for panel in self.query(Panel):
            panel.set_class(panel is self._maximised, "-on-top")
            panel.set_class(self._is_behind(panel, wide, inspecting), "-behind")
            panel.set_class(isinstance(panel, GraphPanel) and panel.id == self._graph, "-chosen")
        self._name_tabs()
        self.call_after_refresh(self._redraw)

    def _is_behind(self, panel: Panel, wide: bool, inspecting: bool) -> bool:
        """Tell whether a listing gives its place to another one."""
        if not isinstance(panel, ListingPanel):
            return False
        return inspecting and isinstance(panel, LogPanel) if wide else panel.id != self._listing

    def _name_tabs(self) -> None:
        """Name the listings that are behind in the lower border of each one in front."""
        behind = [f"{p.digit} {p.name_shown}" for p in self.query(ListingPanel) if p.has_class("-behind")]
        for panel in self.query(ListingPanel):
            panel.border_subtitle = "   ".join(behind)

    def _redraw(self) -> None:
        for panel in self.query(Panel):
            if panel.is_on_screen:
                panel.redraw()

    def maximise(self) -> None:
        """Give the panel in focus the whole body, or take it back."""
        self._maximised = None if self._maximised is not None else self.focused_panel()
        self._arrange()

    def maximise_panel(self, panel_id: str) -> None:
        """Give one panel the whole body, or take it back."""
        panel = self.query_one(f"#{panel_id}", Panel)
        self._maximised = None if self._maximised is panel else panel
        self._arrange()
        if self._maximised is panel and (target := panel.focus_target) is not None:
            target.focus()

    def on_listing_panel_detail_changed(self, message: ListingPanel.DetailChanged) -> None:
        """Give a detail room: all of a small terminal; bytes, in a wide one, that of the log too."""
        message.stop()
        panel = message.panel
        if panel.has_detail and self.has_class("-narrow") and self._maximised is None:
            self.maximise_panel(panel.id or "")
        else:
            self._arrange()

    def focus_panel(self, digit: str) -> None:
        """Bring a panel to the front and go there."""
        panel = next(p for p in self.query(Panel) if p.digit == digit)
        if isinstance(panel, ListingPanel):
            self._listing = panel.id or ""
        if isinstance(panel, GraphPanel):
            self._graph = panel.id or ""
        if self._maximised is not None:
            self._maximised = panel
        if self.has_class("-inspecting") and panel.has_class("-behind"):
            self.query_one(ExchangesPanel).action_close_detail()
        hidden = not panel.is_on_screen
        self._arrange()
        self._heading_for = panel
        if hidden:
            # What is hidden cannot take the focus.
            self.call_after_refresh(self._enter, panel)
        else:
            self._enter(panel)

    def _enter(self, panel: Panel) -> None:
        """Focus the panel, unless a key that came at once leads elsewhere, or has opened its filter."""
        target = panel.focus_target
        if target is not None and panel is self._heading_for and not panel.has_focus_within:
            target.focus()

    def prepare_to_scrub(self, frozen: bool) -> None:
        """Take the focus from the knobs while the view is frozen: there, left and right would turn them."""
        if frozen and isinstance(self.focused, KnobList):
            self._focus_before_freeze = self.focused
            target = self.query_one(f"#{self._graph}", Panel).focus_target
            if target is not None:
                target.focus()
        elif not frozen and self._focus_before_freeze is not None:
            self._focus_before_freeze.focus()
            self._focus_before_freeze = None

    def focused_panel(self) -> Panel:
        """Return the panel that has the focus, or the listing in front."""
        node: Widget | None = self.focused
        while node is not None and not isinstance(node, Panel):
            parent = node.parent
            node = parent if isinstance(parent, Widget) else None
        return node if isinstance(node, Panel) else self.query_one(f"#{self._listing}", Panel)

    def listing(self) -> ListingPanel:
        """Return the listing that has the focus, or the one in front."""
        panel = self.focused_panel()
        return panel if isinstance(panel, ListingPanel) else self.query_one(f"#{self._listing}", ListingPanel)

    def exchanges_wanted(self, *, still: bool, hidden: bool = False) -> int:
        """Return how many of the newest exchanges the next snapshot should hold.

        While they stream by, those that can be seen are enough; when all is ``still``, readers scroll back.
        """
        panel = self.query_one(ExchangesPanel)
        if not (panel.is_on_screen or hidden):
            return 0
        return LINES if still else panel.size.height

    def exchanges_listed(self) -> int:
        """Return up to which exchange the list has them: what it was not shown is asked for again."""
        return self.query_one(ExchangesPanel).listed

    def connection_query(self, *, hidden: bool = False) -> ConnectionQuery | None:
        """Return which connections the next snapshot should hold; None when nobody looks."""
        panel = self.query_one(ConnectionsPanel)
        return panel.query_wanted() if panel.is_on_screen or hidden else None
