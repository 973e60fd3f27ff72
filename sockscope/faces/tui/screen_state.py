"""What the screen shows at one moment: the only thing that flows from the session to the panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sockscope.core.config.tuning import Tuning
from sockscope.core.run.figures import Figures
from sockscope.core.run.findings import Finding
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.trace import Trace
from sockscope.faces.tui.cost import ScreenCost


@dataclass(frozen=True, eq=False)
class ScreenState:
    """A moment of a run, and how it is looked at.

    ``headline`` is the window that ``figures`` and ``finding`` are of, the last second. ``requested`` is
    the tuning that was asked for last; it runs ahead of ``snapshot.tuning`` while a change is being
    applied. ``now_s`` is the right edge of the graphs, ``window_s`` the time that they show, and
    ``cursor_s`` the moment that is looked at while the view is frozen (None: the right edge); seconds on
    the clock of the run. ``tables`` tells whether this tick redraws the tables too, which happens at half
    the rate of the graphs. ``at_once`` makes all panels draw now, because a person waits for it, or
    because each turn would cost a whole picture; otherwise they take turns, so that no single pause of
    the loop is long. ``idle`` are the keys of the knobs without effect on what runs now, each with the
    reason, and ``servers`` the server models that can be chosen. ``dropped`` counts the pictures of the
    run that were not drawn, because the terminal had not taken the one before. ``cost`` is what the screen
    takes of the loop.
    """

    snapshot: Snapshot
    trace: Trace
    figures: Figures
    finding: Finding
    headline: Snapshot
    requested: Tuning
    now_s: float
    window_s: float
    cursor_s: float | None = None
    frozen: bool = False
    tables: bool = True
    at_once: bool = False
    idle: Mapping[str, str] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    dropped: int = 0
    cost: ScreenCost = field(default_factory=ScreenCost)
