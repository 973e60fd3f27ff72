"""How much of a field a run takes: what one process of its role does, times how many of these there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from sockscope.core.config.cluster import CLUSTER, local_workers
from sockscope.core.config.fields import FieldSpec, spec_of
from sockscope.core.roles import SERVER, SWARM
from sockscope.errors import FieldFault

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment
    from sockscope.core.config.tuning import Tuning

MAX_CONNECTIONS = 20_000
"""What a process of the server holds at once, unless it is told."""
_MORE = {
    SWARM: "; --swarm-processes, or the workers of a cluster, take so many each",
    SERVER: "; --server-processes take so many each",
}


def most_of(spec: FieldSpec, tuning: Tuning, workers: int | None = None) -> float:
    """Return the highest value of a field, with so many ``workers`` of a cluster for the clients.

    While their number is not known, only what bounds a run of any size does.
    """
    processes = _processes(spec.role, tuning, workers)
    return min(spec.high, spec.each * processes) if processes is not None else spec.high


def bound_faults(tuning: Tuning, workers: int | None = None) -> Iterator[FieldFault]:
    """Yield each field of which more is asked than its processes take."""
    for field in fields(tuning):
        spec, value = spec_of(field), getattr(tuning, field.name)
        if workers is not None and spec.role != SWARM:
            continue  # the others are known without
        if math.isfinite(spec.each) and value > (most := most_of(spec, tuning, workers)):
            processes = _processes(spec.role, tuning, workers)
            at_most = f"must be at most {spec.format(most)}"
            if processes == 1:
                yield FieldFault(spec.key, value, f"{at_most} in one process{_MORE.get(spec.role, '')}")
            else:
                whose = "on each of {} workers" if tuning.place == CLUSTER else "in each of {} processes"
                why = f"{at_most}: {spec.format(spec.each)} {whose.format(processes)}"
                yield FieldFault(spec.key, value, why)


def local_workers_for_clients(experiment: Experiment) -> int | None:
    """Return how many workers of a cluster of this machine get clients; None of one that is elsewhere."""
    try:
        workers = local_workers(experiment.cluster)
    except ValueError:
        return None
    return (workers - (experiment.role != SWARM) or 1) if workers else None


def room_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what is too much for the workers of a cluster of this machine, or for the server.

    It is for the latter where nobody has told the server how many connections to hold.
    """
    most, tuning = experiment.max_connections, experiment.tuning
    workers = local_workers_for_clients(experiment) if tuning.place == CLUSTER else None
    if workers and (faults := list(bound_faults(tuning, workers))):
        yield from faults
        return
    whole = most * tuning.server_processes
    if experiment.role == "both" and tuning.connections > whole and most == MAX_CONNECTIONS:
        why = f"is less than the {tuning.connections:,} connections of the clients: set it higher"
        yield FieldFault("max_connections", most, why)


def _processes(role: str, tuning: Tuning, workers: int | None) -> int | None:
    """Return how many processes a role has; None where a cluster decides that, which is not known yet."""
    if tuning.place == CLUSTER:
        return workers if role == SWARM else 1
    return {SERVER: tuning.server_processes, SWARM: tuning.swarm_processes}.get(role, 1)
