"""Requests and answers of HTTP/1.1 as they go by at a server, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.wire.framing import FramingError
from sockscope.core.wire.http import HttpCount
from tests.each import each

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
PUT = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\n\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHTTP/\r\n0\r\nTrailer: x\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
UNCHANGED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
OTHERS = [SIZED + b"hello", SIZED + b"HTTP/", CHUNKED, INTERIM + SIZED + b"world", UNCHANGED, EMPTY]
exchanges = st.one_of(
    st.tuples(st.sampled_from([GET, POST, PUT]), st.sampled_from(OTHERS)),
    st.tuples(st.just(HEAD), st.just(SIZED)),
)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({0, len(stream), *(number % (len(stream) + 1) for number in at)})
    return [stream[start:end] for start, end in pairwise(ends)]


@given(st.lists(exchanges, min_size=1, max_size=8), st.lists(st.integers(0, 2_000), max_size=6))
def test_however_they_are_cut_as_many_are_counted(messages: list[tuple[bytes, bytes]], at: list[int]) -> None:
    pipelined, in_turn = HttpCount(), HttpCount()
    requests, answers = (b"".join(stream) for stream in zip(*messages, strict=True))
    assert sum(map(pipelined.requests, cut(requests, at))) == len(messages)
    assert sum(map(pipelined.answers, cut(answers, at))) == len(messages)
    for request, answer in messages:
        assert sum(map(in_turn.requests, cut(request, at))) == 1
        assert not in_turn.is_within_request
        assert sum(map(in_turn.answers, cut(answer, at))) == 1
    assert pipelined.end() == in_turn.end() == 0


def test_the_same_header_has_content_or_not_by_what_was_asked() -> None:
    count = HttpCount()
    for request, answer in ((HEAD, SIZED), (HEAD, SIZED), (GET, SIZED + b"hello"), (HEAD, SIZED)):
        assert (count.requests(request), count.answers(answer)) == (1, 1)


def test_an_answer_may_begin_before_its_request_has_ended_and_end_with_the_connection() -> None:
    count = HttpCount()
    assert count.requests(POST[:-1]) == 0
    assert count.answers(b"HTTP/1.0 413 No\r\n\r\ntoo") == 0
    assert count.is_within_request
    assert count.answers(b" large") == 0
    assert (count.end(), count.end()) == (1, 0)


@each(
    ("request_", "answer", "why"),
    [
        (b"hello\n", b"", "not a request of HTTP/1.1"),
        (b"GET / HTTP/2.0\r\n", b"", "not a request of HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nbad header\r\n", b"", "no field of a header"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"", "no Content-Length"),
        (GET * 1_025, b"", "more than 1,024 requests"),
        (GET, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "another protocol"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", "another protocol"),
        (GET, b"nothing\n", "not an answer of HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n" + b"a" * 70_000, b"", "a header line of more than"),
    ],
)
def test_what_is_not_counted(request_: bytes, answer: bytes, why: str) -> None:
    count = HttpCount()
    with pytest.raises(FramingError, match=why):
        _ = count.requests(request_), count.answers(answer)
