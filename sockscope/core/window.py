"""What happened between two snapshots of the same run."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.snapshot import LimiterStatistics, ProcessUse, Resources, RoleSnapshot, Snapshot


def window(before: Snapshot, after: Snapshot) -> Snapshot:
    """Return ``after`` with its cumulative figures counted from ``before`` on.

    ``measured_s`` of the result is the length of the window. When the figures were cleared in between
    (the end of the warm-up), the window begins there.
    """
    if after.measured_since_s != before.measured_since_s:
        return after
    return difference(before, after)


def difference(before: Snapshot, after: Snapshot) -> Snapshot:
    """Return ``after`` with its cumulative figures counted from ``before`` on, whatever lies between."""
    return replace(
        after,
        measured_since_s=before.time_s,
        server=_role(before.server, after.server),
        swarm=_role(before.swarm, after.swarm),
        resources=_resources(before.resources, after.resources),
        processes=tuple(_process(before, process) for process in after.processes),
    )


def _role(before: RoleSnapshot | None, after: RoleSnapshot | None) -> RoleSnapshot | None:
    if before is None or after is None:
        return after
    return replace(
        after,
        totals=after.totals - before.totals,
        service_time=after.service_time - before.service_time,
        limiter=_limiter(before.limiter, after.limiter),
    )


def _limiter(before: LimiterStatistics, after: LimiterStatistics) -> LimiterStatistics:
    return replace(
        after,
        acquired=after.acquired - before.acquired,
        waited=after.waited - before.waited,
        wait_s=after.wait_s - before.wait_s,
    )


def _process(before: Snapshot, after: ProcessUse) -> ProcessUse:
    """Return what a process used since ``before``; a younger one is counted from its own beginning."""
    for process in before.processes:
        if process.pid == after.pid:
            return replace(after, resources=_resources(process.resources, after.resources))
    return after


def _resources(before: Resources, after: Resources) -> Resources:
    kernel = after.kernel_udp
    if kernel is not None and before.kernel_udp is not None:
        kernel = kernel - before.kernel_udp
    busy_s = after.machine_busy_s
    if busy_s is not None and before.machine_busy_s is not None:
        busy_s -= before.machine_busy_s
    return replace(
        after,
        since_s=before.time_s,
        machine_busy_s=busy_s,
        cpu_s=after.cpu_s - before.cpu_s,
        voluntary_switches=after.voluntary_switches - before.voluntary_switches,
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        loop_lag=after.loop_lag - before.loop_lag,
        kernel_udp=kernel,
    )
