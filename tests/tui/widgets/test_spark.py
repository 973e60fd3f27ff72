"""One-line sparks."""

from math import inf, nan

from hypothesis import given
from hypothesis import strategies as st

from sockscope.faces.tui.widgets.graph import spark as exported
from sockscope.faces.tui.widgets.spark import spark


@given(st.lists(st.floats()), st.integers(-2, 60))
def test_it_fills_its_width_with_any_values(values: list[float], width: int) -> None:
    drawn = spark(values, width)
    assert len(drawn) == max(width, 0)
    assert set(drawn) <= set(" ▁▂▃▄▅▆▇█")


@given(st.lists(st.floats(0, 10), min_size=1, max_size=500), st.integers(1, 40), st.data())
def test_a_spike_is_never_lost(values: list[float], width: int, data: st.DataObject) -> None:
    values[data.draw(st.integers(0, len(values) - 1))] = 1000.0
    assert "█" in spark(values, width)


def test_zero_is_told_from_little() -> None:
    assert spark([0, 0.001, 100], 3) == "▁▂█"


def test_few_values_stand_at_the_right() -> None:
    assert spark([1], 4) == "   █"
    assert spark([], 3) == "   "
    assert spark([0, 0], 2) == "▁▁"


def test_gaps_and_infinities() -> None:
    assert spark([nan, 1, nan], 3) == " █ "
    assert spark([1, inf], 2) == "██"
    assert spark([-1, 0, 1], 3) == "▁▅█"
    assert exported is spark
