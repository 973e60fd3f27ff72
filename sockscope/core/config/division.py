"""How a role is divided among several processes: each gets its part of the fields that are ``divided``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SWARM


def divided(tuning: Tuning, role: str, index: int, of: int) -> Tuning:
    """Return what of ``tuning`` number ``index`` of ``of`` processes of ``role`` is to do.

    The parts of a divided field add up to the whole. Zero means no limit, so a process whose part of a limit
    would be none is not busy: it gets nothing of the other fields either, of a swarm no clients.
    """
    busy = busy_processes(tuning, of, role)
    parts: dict[str, Any] = {
        name: part(getattr(tuning, name), index, busy) for name in divided_attributes(role)
    }
    return replace(tuning, **parts)


def busy_processes(tuning: Tuning, of: int, role: str = SWARM) -> int:
    """Return how many of ``of`` processes of ``role`` get something to do."""
    wholes: list[int] = [getattr(tuning, name) for name in divided_attributes(role)]
    return min([of, *(whole for whole in wholes if whole)])


def part(whole: int, index: int, of: int) -> int:
    """Return part ``index`` of ``whole`` divided as evenly as it goes; all ``of`` parts add up to it."""
    return (whole + of - 1 - index) // of if index < of else 0


def divided_attributes(role: str) -> tuple[str, ...]:
    """Return the attributes of the fields that the processes of ``role`` share among them."""
    return tuple(
        entry.attribute for entry in FIELDS.values() if entry.spec.divided and entry.spec.role == role
    )
