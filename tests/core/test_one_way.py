"""Times between two clocks: never one that is below what these may be off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.run.one_way import one_way_s

MOMENTS = st.floats(0.0, 1e6)


@given(MOMENTS, MOMENTS, st.floats(1e-7, 10.0))
def test_a_time_is_told_only_from_the_error_of_the_clocks_on(
    sent_s: float, received_s: float, error_s: float
) -> None:
    took_s = one_way_s(sent_s, received_s, error_s)
    assert (took_s is None) == (received_s - sent_s < error_s)
    assert took_s is None or took_s >= error_s
    assert one_way_s(sent_s, received_s, 0.0) == received_s - sent_s
