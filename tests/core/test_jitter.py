"""The jitter of RFC 3550, against what its formula gives by hand."""

import pytest

from sockscope.core.wire.jitter import jitter_after


def test_a_difference_goes_in_by_a_sixteenth_whichever_way_it_goes() -> None:
    assert jitter_after(0.0, 0.010, 0.026) == pytest.approx(0.001)
    assert jitter_after(0.0, 0.026, 0.010) == pytest.approx(0.001)
    assert jitter_after(0.001, 0.010, 0.010) == pytest.approx(0.001 * 15 / 16)


def test_an_even_stream_has_none_and_an_uneven_one_comes_to_its_mean_difference() -> None:
    even = uneven = 0.0
    for number in range(400):
        even = jitter_after(even, 0.005, 0.005)
        uneven = jitter_after(uneven, 0.005 + number % 2 * 0.002, 0.007 - number % 2 * 0.002)
    assert even == 0.0
    assert uneven == pytest.approx(0.002)
