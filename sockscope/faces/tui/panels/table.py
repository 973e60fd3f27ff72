"""Every panel of the dashboard: one table, in the order in which the grid is filled.

The screen is composed from it, and the keys that lead to a panel come from it.
"""

from __future__ import annotations

from sockscope.faces.tui.panels.changes import ChangesPanel
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.panels.exchanges import ExchangesPanel
from sockscope.faces.tui.panels.graphs import (
    ConcurrencyPanel,
    CpuPanel,
    DistributionPanel,
    ThroughputPanel,
)
from sockscope.faces.tui.panels.knobs import KnobsPanel
from sockscope.faces.tui.panels.latency import LatencyPanel
from sockscope.faces.tui.panels.lens import LensPanel
from sockscope.faces.tui.panels.log import LogPanel
from sockscope.faces.tui.panels.panel import Kind, PanelEntry, Place, Places
from sockscope.faces.tui.panels.swarm_map import SwarmMapPanel
from sockscope.faces.tui.panels.tasks import TasksPanel

_TAB = Place(group="faces")
_TABS = Place(columns=2, group="faces")
_LEFT_TAB = Place(columns=3, group="clients")
_WIDE_TAB = Place(columns=4, group="faces")
_GRAPH = Places(narrow=Place(), middle=Place(), wide=Place(columns=3))
_PRESENTED = _GRAPH._replace(present=Place())

PANELS: tuple[PanelEntry, ...] = (
    PanelEntry(
        "knobs", "1", "Knobs", "knobs", "Knobs", KnobsPanel,
        Places(narrow=Place(rows=2), middle=Place(rows=2), wide=Place(rows=2)),
    ),
    PanelEntry(
        "throughput", "2", "Throughput", "throughput", "Throughput", ThroughputPanel, _PRESENTED, Kind.GRAPH,
        turn=0.06,
    ),
    PanelEntry(
        "latency", "3", "Latency  ms", "latency", "Service and response time", LatencyPanel, _PRESENTED,
        Kind.GRAPH, turn=0.09,
    ),
    PanelEntry(
        "cpu", "4", "CPU  %   loop lag  ms", "CPU", "CPU and loop lag", CpuPanel, _GRAPH, Kind.GRAPH, turn=1,
    ),
    PanelEntry(
        "concurrency", "5", "Concurrency", "concurrency", "Concurrency", ConcurrencyPanel, _GRAPH, Kind.GRAPH,
        turn=1.03,
    ),
    PanelEntry(
        "distribution", "", "Distribution of service time  ms, last second", "distribution",
        "How the service times are distributed", DistributionPanel,
        Places(narrow=None, middle=None, wide=Place(columns=3)), turn=1,
    ),
    PanelEntry(
        "changes", "", "Last change", "changes", "What the last changes did", ChangesPanel,
        Places(narrow=None, middle=Place(), wide=Place(columns=3)), slow=True, turn=2,
    ),
    PanelEntry(
        "swarm", "M", "Swarm map", "swarm map", "What every client is doing now: a cell for each",
        SwarmMapPanel, Places(narrow=_TAB, middle=_TABS, wide=_LEFT_TAB, present=Place(columns=2)),
        Kind.FACE, slow=True, turn=2,
    ),
    PanelEntry(
        "connections", "6", "Connections", "connections", "Connections", ConnectionsPanel,
        Places(narrow=_TAB, middle=_TABS, wide=_LEFT_TAB), Kind.LISTING, slow=True, turn=2,
    ),
    PanelEntry(
        "log", "7", "Log", "log", "Event log", LogPanel,
        Places(narrow=_TAB, middle=_TABS, wide=Place(columns=3)), Kind.LISTING, slow=True, turn=2,
        yields_to="exchanges",
    ),
    PanelEntry(
        "exchanges", "8", "Exchanges", "exchanges", "Exchanges and their bytes", ExchangesPanel,
        Places(narrow=_TAB, middle=_TABS, wide=_WIDE_TAB), Kind.LISTING, slow=True, turn=2,
    ),
    PanelEntry(
        "lens", "9", "Lens", "lens", "The event loops: how busy, and what holds them up", LensPanel,
        Places(narrow=_TAB, middle=_TABS, wide=_WIDE_TAB), Kind.LISTING, slow=True, turn=2,
    ),
    PanelEntry(
        "tasks", "T", "Tasks", "tasks", "The tasks of the event loops: how old they are, and where they wait",
        TasksPanel, Places(narrow=_TAB, middle=_TABS, wide=_WIDE_TAB), Kind.LISTING, slow=True, turn=2,
    ),
)  # fmt: skip
