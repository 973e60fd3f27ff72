from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.wire.requests import Requests, Template, parse_weights
from tests.each import each


@each(
    ("written", "sent"),
    [
        (b"PING", b"PING"),
        (b"{n}", b"7"),
        (b"GET /{client}/{n}/{n}\r\n", b"GET /12/7/7\r\n"),
        (b"{{n}} {{client}} {n}", b"{n} {client} 7"),
        (b'{"a": {"b": {n}}}', b'{"a": {"b": 7}}'),
        (b"{} {m} {N} {{x}}", b"{} {m} {N} {{x}}"),
    ],
)
def test_places_are_filled_in_and_other_braces_stay(written: bytes, sent: bytes) -> None:
    template = Template.of(written)
    assert template.filled(7, 12) == sent
    assert template.is_fixed == (template.filled(8, 13) == sent)


@given(st.binary(max_size=60))
def test_what_has_no_place_is_sent_as_it_is(data: bytes) -> None:
    template = Template.of(data)
    assert template.filled(1, 1) == data or b"{n}" in data or b"{client}" in data


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_each_request_has_its_share_of_the_turns_and_is_never_far_behind(weights: list[int]) -> None:
    requests = Requests.of([b"%d" % index for index in range(len(weights))], weights)
    turns = requests.turns
    counts = Counter(turns)
    assert {counts[index] * sum(weights) for index in counts} <= {w * len(turns) for w in weights}
    assert [counts[i] * weights[0] for i in range(len(weights))] == [counts[0] * w for w in weights]
    for asked in range(1, len(turns) + 1):
        for index, weight in enumerate(weights):
            share = weight / sum(weights) * asked
            assert abs(turns[:asked].count(index) - share) < len(weights)


def test_many_turns_are_soon_known() -> None:
    # A step for each pair of them would be 33 million.
    assert len(Requests.of([b"x"] * 256, range(745, 1_001)).turns) == sum(range(745, 1_001))


def test_clients_begin_at_different_turns_and_number_their_own_requests() -> None:
    requests = Requests.of([b"a{n}", b"b{client}"])
    assert list(islice(requests.asked_by(1), 3)) == [(0, b"a1"), (1, b"b1"), (0, b"a3")]
    assert list(islice(requests.asked_by(2), 3)) == [(1, b"b2"), (0, b"a2"), (1, b"b2")]
    assert not requests.is_one
    assert Requests.of([b"PING"]).is_one
    assert not Requests.of([b"PING {n}"]).is_one


@each(
    ("text", "why"),
    [
        ("3", "is one weight for 2 requests"),
        ("3,0", "has '0' as weight 2; a weight is 1 to 1,000"),
        ("x,1", "has 'x' as weight 1"),
        ("3,,1", "has '' as weight 2"),
        ("1,1001", "has '1001' as weight 2"),
    ],
)
def test_what_are_no_weights_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_weights(text, 2)


def test_weights_are_read() -> None:
    assert parse_weights("3, 1", 2) == (3, 1)
