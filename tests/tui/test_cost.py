"""What the screen costs is told of the last two seconds, and nothing is counted twice."""

from __future__ import annotations

import pytest

from sockscope.faces.tui.cost import ScreenCost


def test_pieces_within_pieces_count_once_and_old_ones_no_more() -> None:
    now_s = [100.0]
    cost = ScreenCost(lambda: now_s[0])
    assert cost.figures() is None
    with cost.spent():
        now_s[0] += 0.01
        with cost.spent():
            now_s[0] += 0.02
        cost.frame()
    cost.frame()
    found = cost.figures()
    assert found is not None
    assert found.frames_per_s == 1.0
    assert found.longest_s == pytest.approx(0.03)
    assert found.cpu_ratio >= 0
    now_s[0] += 3
    assert cost.figures() is None
