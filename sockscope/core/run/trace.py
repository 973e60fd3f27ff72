"""The past of a run, for those who draw it: series, markers, and what each change did."""

from __future__ import annotations

from collections import deque
from dataclasses import fields

from sockscope.core.events import Event, EventKind
from sockscope.core.roles import ROLE_NAMES
from sockscope.core.run.changes import GAP_S, Change, Changes
from sockscope.core.run.figures import Figures, figures, process_figures
from sockscope.core.run.latency_slices import LatencySlice
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.window import window
from sockscope.core.series import TimeSeries

POINTS = 3_000
"""Points kept per series: ten minutes at five a second."""
HEADLINE_S = 1.0
"""Length of the window that the large figures are of."""

_NUMBERS = tuple(f.name for f in fields(Figures) if str(f.type).startswith("float"))
"""The fields of :class:`Figures` that can be drawn."""
_CPU_OF: dict[tuple[str, ...], str] = {
    (role.name,): f"{role.title}_cpu_ratio" for role in ROLE_NAMES.values()
}
_CPU_OF_SEVERAL = "child_cpu_ratio"


class Trace:
    """Absorbs snapshots and keeps what is needed to draw the past of a run.

    ``series`` holds one :class:`TimeSeries` per number of :class:`Figures`, and the gauges ``clients``,
    ``connections``, ``in_flight``, ``waiting``, ``permits``; ``server_cpu_ratio``, ``clients_cpu_ratio`` (one
    for each role) are of the busiest other process of that role, ``child_cpu_ratio`` of one with several.
    ``service_time`` and ``response_time`` have the latencies between each two snapshots.
    """

    def __init__(self) -> None:
        names = [
            *_NUMBERS, "clients", "connections", "in_flight", "waiting", "permits", *_CPU_OF.values(),
            _CPU_OF_SEVERAL,
        ]  # fmt: skip
        self.series = {name: TimeSeries(POINTS) for name in names}
        self.service_time: deque[LatencySlice] = deque(maxlen=POINTS)
        self.response_time: deque[LatencySlice] = deque(maxlen=POINTS)
        self.markers: deque[Event] = deque(maxlen=200)
        self._changes = Changes()
        self._headline: Snapshot | None = None
        self._recent: deque[Snapshot] = deque()

    @property
    def changes(self) -> deque[Change]:
        """What each tuning did, the newest last."""
        return self._changes.all

    @property
    def headline(self) -> Snapshot | None:
        """The window of the last second; None before the first snapshot."""
        if self._headline is None and self._recent:
            last = self._recent[-1]
            self._headline = window(self._since(last.time_s - HEADLINE_S), last)
        return self._headline

    def absorb(self, snapshot: Snapshot, *, disturbed: bool = False) -> None:
        """Take the next snapshot of the run; ``disturbed`` if the screen held up the traffic before it."""
        for event in snapshot.events:
            if event.kind in (EventKind.TUNING, EventKind.MARKER) or event.text in ("paused", "resumed"):
                self.markers.append(event)
        if self._recent:
            self._add_points(self._recent[-1], snapshot)
        self._recent.append(snapshot)
        while snapshot.time_s - self._recent[0].time_s > HEADLINE_S + GAP_S:
            self._recent.popleft()
        self._headline = None
        self._changes.absorb(snapshot, disturbed=disturbed)

    def _add_points(self, before: Snapshot, now: Snapshot) -> None:
        series = self.series
        if now.time_s - before.time_s > GAP_S:
            for one in series.values():
                one.append(before.time_s + GAP_S / 2, None)
            return
        between = window(before, now)
        shown = figures(between)
        for name in _NUMBERS:
            series[name].append(now.time_s, getattr(shown, name))
        role = between.main
        series["clients"].append(now.time_s, role.clients)
        series["connections"].append(now.time_s, role.connections_open)
        series["in_flight"].append(now.time_s, role.in_flight)
        series["waiting"].append(now.time_s, role.limiter.waiting + role.pool.waiting)
        series["permits"].append(now.time_s, role.limiter.permits or None)
        self.service_time.append(LatencySlice.of(role.service_time, role.unanswered, between))
        self.response_time.append(LatencySlice.of(role.response_time, role.response_unanswered, between))
        for name, ratio in cpu_elsewhere(between).items():
            series[name].append(now.time_s, ratio)

    def _since(self, time_s: float) -> Snapshot:
        """Return the newest snapshot that is not after ``time_s``, or the oldest there is."""
        found = self._recent[0]
        for snapshot in self._recent:
            if snapshot.time_s > time_s:
                break
            found = snapshot
        return found

    def clear(self) -> None:
        """Forget the past, for figures that begin anew."""
        for one in self.series.values():
            one.clear()
        self.service_time.clear()
        self.response_time.clear()
        self.markers.clear()
        self._changes.clear()


def cpu_elsewhere(between: Snapshot) -> dict[str, float | None]:
    """Return the CPU of the busiest other process of each kind in a window, by the name of its series; None
    where there is none.
    """
    found: dict[str, float | None] = dict.fromkeys((*_CPU_OF.values(), _CPU_OF_SEVERAL))
    for process in process_figures(between)[1:]:
        name = _CPU_OF.get(process.roles, _CPU_OF_SEVERAL)
        if process.alive and process.cpu_ratio is not None:
            found[name] = max(found[name] or 0.0, process.cpu_ratio)
    return found
