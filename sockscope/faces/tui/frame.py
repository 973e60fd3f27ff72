"""What one tick shows: the only thing that flows from the app to its panels."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.config.experiment import Tuning
from sockscope.core.run.figures import Figures
from sockscope.core.run.findings import Finding
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.trace import Trace


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of the run.

    ``wanted`` is the tuning that was asked for last; it runs ahead of ``snapshot.tuning`` while a change is
    being applied. ``now_s`` is the right edge of the graphs and ``cursor_s`` the time that is looked at
    while the view is frozen, both monotonic seconds. ``tables`` tells whether this tick redraws the tables
    too, which is done at half the rate of the graphs. ``at_once`` asks all panels to draw now, because a
    person waits for it; else they take turns, so that no single pause of the loop is long. ``idle`` are the
    keys of knobs that mean nothing to what runs, ``servers`` the server models that can be chosen.
    """

    snapshot: Snapshot
    trace: Trace
    figures: Figures
    finding: Finding
    wanted: Tuning
    now_s: float
    window_s: float
    cursor_s: float | None = None
    frozen: bool = False
    tables: bool = True
    at_once: bool = False
    idle: frozenset[str] = frozenset()
    servers: tuple[str, ...] = ()
