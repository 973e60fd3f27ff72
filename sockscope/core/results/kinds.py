"""The kinds of result, and how one that comes back from a file or from the history is recognised.

It may have been written by another version, edited by hand, or be something else altogether, so its shape is
checked before anything is made of it. To add a kind, write a module that makes its :class:`ResultKind`, and
enter that in :data:`KINDS`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sockscope.core.results.race_result import RACE
from sockscope.core.results.run_result import RUN
from sockscope.core.results.schema import SCHEMA_VERSION, ResultKind
from sockscope.core.results.shape import Shape, list_of
from sockscope.core.results.sweep_result import SWEEP

KINDS: Mapping[str, ResultKind] = {kind.name: kind for kind in (RUN, RACE, SWEEP)}
"""Each kind of result by its name."""


def kind_of(value: object) -> ResultKind:
    """Return what a JSON object is the result of.

    Raises ValueError with the reason when it is none, or not as they are.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"is {_NO_RESULT}")
    kind = next((kind for kind in KINDS.values() if kind.type == value.get("type")), None)
    if kind is None:
        raise ValueError(f"is {_NO_RESULT}")
    version = value.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("has no schema_version")
    if version > SCHEMA_VERSION:
        raise ValueError(f"was written by a newer SockScope (schema_version {version})")
    _check(kind.shape, "", value)
    return kind


def check_intervals(kind: ResultKind, intervals: object) -> None:
    """Raise ValueError with the reason where these are no intervals of a result of ``kind``."""
    if kind.interval is not None:
        _check(list_of(kind.interval), "intervals", intervals)
    elif intervals != []:
        raise ValueError(f"has intervals, which a {kind.name} has not")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise ValueError when it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None


_NO_RESULT = "not the JSON object of a run, a race or a sweep"


def _check(shape: Shape, path: str, value: object) -> None:
    fault = next(shape.faults(path, value), None)
    if fault is not None:
        raise ValueError(f"is not as SockScope writes it: {fault}")
