"""What happened between two snapshots of the same run."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.run.snapshot import LimiterStatistics, ProcessUse, Resources, RoleSnapshot, Snapshot


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


def joined(first: Snapshot, second: Snapshot) -> Snapshot:
    """Return the window that is as long as two, of the same run and one after the other, together.

    Counts and histograms add up exactly; what is of a moment is that of the second. Time between the two
    that neither covers (the figures were cleared in it) stays out of ``measured_s``.
    """
    return replace(
        second,
        measured_since_s=second.time_s - first.measured_s - second.measured_s,
        server=_joined_role(first.server, second.server),
        swarm=_joined_role(first.swarm, second.swarm),
        resources=_joined_resources(first.resources, second.resources),
        processes=tuple(_joined_process(first, process) for process in second.processes),
    )


def _joined_process(first: Snapshot, second: ProcessUse) -> ProcessUse:
    for process in first.processes:
        if process.pid == second.pid:
            return replace(second, resources=_joined_resources(process.resources, second.resources))
    return second


def _joined_role(first: RoleSnapshot | None, second: RoleSnapshot | None) -> RoleSnapshot | None:
    if first is None or second is None:
        return second
    return replace(
        second,
        totals=first.totals + second.totals,
        service_time=first.service_time + second.service_time,
        limiter=_joined_limiter(first.limiter, second.limiter),
        pool=_joined_limiter(first.pool, second.pool),
    )


def _joined_limiter(first: LimiterStatistics, second: LimiterStatistics) -> LimiterStatistics:
    return replace(
        second,
        acquired=first.acquired + second.acquired,
        waited=first.waited + second.waited,
        wait_s=first.wait_s + second.wait_s,
    )


def _joined_resources(first: Resources, second: Resources) -> Resources:
    kernel = second.kernel_udp
    if kernel is not None and first.kernel_udp is not None:
        kernel = kernel + first.kernel_udp
    busy_s = second.machine_busy_s
    if busy_s is not None and first.machine_busy_s is not None:
        busy_s += first.machine_busy_s
    return replace(
        second,
        since_s=second.time_s - first.measured_s - second.measured_s,
        machine_busy_s=busy_s,
        cpu_s=first.cpu_s + second.cpu_s,
        voluntary_switches=_sum(first.voluntary_switches, second.voluntary_switches),
        involuntary_switches=_sum(first.involuntary_switches, second.involuntary_switches),
        loop_lag=first.loop_lag + second.loop_lag,
        kernel_udp=kernel,
    )


def origin(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with which the figures of ``snapshot`` began: nothing is counted yet."""
    nothing = difference(snapshot, snapshot)
    began = zip(nothing.processes, snapshot.processes, strict=True)
    return replace(
        nothing,
        time_s=snapshot.measured_since_s,
        measured_since_s=snapshot.measured_since_s,
        resources=replace(nothing.resources, time_s=snapshot.resources.since_s),
        processes=tuple(
            replace(none, resources=replace(none.resources, time_s=some.resources.since_s))
            for none, some in began
        ),
    )


def _role(before: RoleSnapshot | None, after: RoleSnapshot | None) -> RoleSnapshot | None:
    if before is None or after is None:
        return after
    return replace(
        after,
        totals=after.totals - before.totals,
        service_time=after.service_time - before.service_time,
        limiter=_limiter(before.limiter, after.limiter),
        pool=_limiter(before.pool, after.pool),
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
        voluntary_switches=_gain(before.voluntary_switches, after.voluntary_switches),
        involuntary_switches=_gain(before.involuntary_switches, after.involuntary_switches),
        loop_lag=after.loop_lag - before.loop_lag,
        kernel_udp=kernel,
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _gain(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
