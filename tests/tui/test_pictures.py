"""Pictures of moments made by hand.

After a wanted change: ``pytest tests/tui/test_pictures.py --snapshot-update``, then look at them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import RunState
from sockscope.faces.tui.panels.graphs import CpuPanel
from sockscope.faces.tui.screen_state import ScreenState
from tests.tui.still import START_S, Script, Still, losing, of_every_kind, on_workers, running

MOMENTS: dict[str, Callable[[], ScreenState | None]] = {
    "running": lambda: running().shown(),
    "frozen": lambda: running().shown(frozen=True, cursor_s=START_S + 8.0),
    "paused": lambda: running().shown(RunState.PAUSED),
    "failed": lambda: running().shown(RunState.FAILED, "cannot listen on [::1]:7007: [red]it is taken[/]"),
    "empty": lambda: Script(Tuning()).shown(),
    "nothing": lambda: None,
    "losses": lambda: losing().shown(),
}
SIZES = [(60, 16), (80, 24), (120, 40), (200, 60)]


@pytest.mark.parametrize("size", SIZES, ids=["tiny", "small", "middle", "large"])
def test_layouts(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert snap_compare(Still(MOMENTS["running"]()), terminal_size=size)


@pytest.mark.parametrize("moment", ["losses", "frozen", "paused", "failed", "empty", "nothing"])
def test_moments(snap_compare: Callable[..., bool], moment: str) -> None:
    assert snap_compare(Still(MOMENTS[moment]()), terminal_size=(120, 40))


def test_the_map_of_the_swarm(snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(Still(of_every_kind(), "swarm"), terminal_size=(120, 40))


def test_the_workers_of_a_cluster(snap_compare: Callable[..., bool]) -> None:
    still = Still(on_workers(), maximised=CpuPanel)
    assert snap_compare(still, terminal_size=(120, 40))


def test_too_small(snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(Still(running().shown()), terminal_size=(30, 8))
