"""JSON objects of SockScope that come back: from a file, or from the history.

They may have been written by another version, edited by hand, or be something else altogether, so their shape
is checked before anything is made of them. Fields that are missing are fine: they count as not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sockscope.core.config.fields import Value
from sockscope.core.results.report import FIGURES, SCHEMA_VERSION

KINDS = {"summary": "run", "race": "race", "sweep": "sweep"}
"""What an object of each ``type`` is the result of."""
_ROLES = ("both", "server", "swarm")
_TEXTS = ("address", "loop", "error", "last_trouble", "state")
_NUMBERS = ("tunings", "elapsed_s", "duration_s")
_SPREAD = ("median", "min", "max")
_NEEDED = ("totals", "server")
"""Sections that every version has written."""
_LARGEST = 1e30
"""No figure is as large."""


def kind_of(value: object) -> str:
    """Return what a JSON object is the result of: ``run``, ``race`` or ``sweep``.

    Raises ValueError with the reason when it is none of these, or not as they are.
    """
    kind = KINDS.get(str(value.get("type"))) if isinstance(value, Mapping) else None
    if kind is None or not isinstance(value, Mapping):
        raise ValueError("is not the JSON object of a run or a race")
    version = value.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("has no schema_version")
    if version > SCHEMA_VERSION:
        raise ValueError(f"was written by a newer SockScope (schema_version {version})")
    fault = next(iter(_faults(kind, value)), None)
    if fault is not None:
        raise ValueError(f"is not as SockScope writes it: {fault}")
    return kind


def _faults(kind: str, value: Mapping[str, Any]) -> Iterator[str]:
    for section in ("experiment", "workload"):
        yield from _wrong(section, value.get(section, {}), Value)
    yield from _wrong("environment", value.get("environment", {}), object)
    if kind == "run":
        yield from _faults_of_run(value)
    if kind == "race":
        yield from _faults_of_race(value)


def _faults_of_run(value: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(value.get("experiment"), Mapping) or value["experiment"].get("role") not in _ROLES:
        yield "experiment.role is missing"
    yield from (f"{section} is missing" for section in _NEEDED if section not in value)
    for section in FIGURES:
        yield from _wrong(section, value.get(section, {}), int | float)
    yield from _faults_of_processes(value.get("processes", []))
    yield from _wrong("", {name: value.get(name) for name in _TEXTS}, str)
    yield from _wrong("", {name: value.get(name) for name in _NUMBERS}, int | float)


def _faults_of_processes(processes: object) -> Iterator[str]:
    if not isinstance(processes, list):
        yield "processes are no list"
        return
    for use in processes:
        if not isinstance(use, Mapping) or not all(isinstance(use.get(n), str) for n in ("name", "state")):
            yield "a process has no name or no state"
        else:
            figures = {name: use.get(name) for name in FIGURES["resources"]}
            yield from _wrong(f"processes.{use['name']}", figures, int | float)


def _faults_of_race(value: Mapping[str, Any]) -> Iterator[str]:
    contestants = value.get("contestants")
    if not isinstance(contestants, list):
        yield "contestants are missing"
        return
    for one in contestants:
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            yield "a contestant has no name"
            continue
        for name, spread in one.items():
            if isinstance(spread, Mapping) and "median" in spread:
                yield from _faults_of_spread(f"{one['name']}.{name}", spread)


def _faults_of_spread(name: str, spread: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrong(name, {key: spread.get(key) for key in _SPREAD}, int | float)
    interval = spread.get("interval")
    if interval is None:
        return
    if not isinstance(interval, list) or len(interval) != 2:
        yield f"{name}.interval"
    else:
        yield from _wrong(f"{name}.interval", dict(enumerate(interval)), int | float)


def _wrong(section: str, values: object, wanted: Any) -> Iterator[str]:
    """Yield the name of each value that is neither of the wanted kind nor null."""
    if not isinstance(values, Mapping):
        yield f"{section} is no object"
        return
    for name, value in values.items():
        truth = isinstance(value, bool) and wanted == int | float
        # Python reads NaN and Infinity, and numbers of any length.
        number = isinstance(value, int | float) and not -_LARGEST < value < _LARGEST
        if truth or number or not isinstance(value, wanted | None):
            yield ".".join(part for part in (section, str(name)) if part)
