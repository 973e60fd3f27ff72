"""What a run was asked for and did not get."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.run.snapshot import LOST, SILENT_S, STOPPED, TARGET, Snapshot

_NEARLY = 0.95
"""From this share of a duration on it counts as reached: processes tell their figures a moment apart."""


def shortfall(end: Snapshot) -> str:
    """Return what the run was asked for and did not get, and why; nothing when it got all.

    ``end`` is the last snapshot of a run that nobody interrupted.
    """
    lacking = _lacking(end)
    ours = [process for process in end.processes if process.name != TARGET]
    broken = [process for process in ours if not process.alive or process.state == STOPPED]
    # A loop that is held up may be what the run is about, unless it has cost the run what was asked for.
    silent = [p for p in ours if lacking and p not in broken and p.silent_s >= SILENT_S]
    states = {LOST: f"{LOST}, and others have its part"}
    why = "; ".join(f"{p.name} process {p.pid}: {states.get(p.state, p.state)}" for p in broken + silent)
    return ": ".join(filter(None, (lacking, why)))


def _lacking(end: Snapshot) -> str:
    experiment, swarm = end.experiment, end.swarm
    # A run that was asked for both ends with whichever comes first.
    if experiment.duration_s and end.measured_s >= experiment.duration_s * _NEARLY:
        return ""
    if experiment.requests and swarm is not None:
        made = swarm.totals.responses + swarm.totals.failed
        # What was made before the figures began anew is not in them.
        if made >= experiment.requests or end.measured_since_s > end.started_s:
            return ""
        return f"{made:,} of the {experiment.requests:,} requests asked for were made"
    if experiment.duration_s:
        measured, asked = map(units.format_duration, (end.measured_s, experiment.duration_s))
        return f"{measured} of the {asked} asked for were measured"
    return ""
