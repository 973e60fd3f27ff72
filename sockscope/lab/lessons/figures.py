"""The figures that a lesson may name: those of a run's report, and a few that need no report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

from sockscope.core.results.run_figures import NAMES
from sockscope.core.results.run_result import reading
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.figures import ProcessFigures, process_figures
from sockscope.core.run.snapshot import Snapshot

ELAPSED = "elapsed_s"
"""How long the figures of a step are of."""
CPU_PER_REQUEST = "cpu_s_per_request"
"""Processor time of all processes per answer that the clients got, in seconds."""
_PROCESSES = {"server_process": SERVER, "clients_process": SWARM}
_OF_RESOURCES = ("cpu_s", "descriptors")
_OF_PROCESS = (
    *(f.name for f in fields(ProcessFigures) if str(f.type).startswith(("int", "float"))),
    *_OF_RESOURCES,
)

FIGURES: Mapping[str, str] = {
    **NAMES,
    ELAPSED: ELAPSED,
    "elapsed": ELAPSED,
    CPU_PER_REQUEST: CPU_PER_REQUEST,
    **{f"{process}.{name}": f"{process}.{name}" for process in _PROCESSES for name in _OF_PROCESS},
}
"""What a lesson with a run may call figures, with their full names.

``server_process.rss_bytes`` and the like are of the first process that hosts the role.
"""
Read = Callable[[str], float | None]


def reader(window: Snapshot) -> Read:
    """Return what reads the figures of a window by their full names; None: not known."""
    of_report = reading(window)

    def read(name: str) -> float | None:
        if name == ELAPSED:
            return window.measured_s
        if name == CPU_PER_REQUEST:
            return _cpu_s_per_request(window)
        section, _, figure = name.partition(".")
        if section in _PROCESSES:
            return _of_process(window, _PROCESSES[section], figure)
        return of_report(name)

    return read


def _cpu_s_per_request(window: Snapshot) -> float | None:
    uses, answered = [use.resources.cpu_s for use in window.processes], window.main.totals.responses
    known = [use for use in uses if use is not None]
    return sum(known) / answered if answered and len(known) == len(uses) else None


def _of_process(window: Snapshot, role: str, figure: str) -> float | None:
    for found, use in zip(process_figures(window), window.processes, strict=True):
        if role in found.roles:
            owner = use.resources if figure in _OF_RESOURCES else found
            value: float | None = getattr(owner, figure)
            return value
    return None
