"""What is overheard does not depend on how the bytes were cut, and nothing that peers say raises."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.connection import ConnectionRecord
from sockscope.engine.recorder import Recorder
from sockscope.engine.relay.edges import Edges
from sockscope.engine.relay.overheard import Overheard, Talk
from tests.core.test_postgres import HELLO, READY, START, message

HTTP = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REDIS = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"$3\r\n1\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 101 ok\r\nUpgrade: websocket\r\n\r\n"
FRAME = b"\x82\x83\1\2\3\4abc", b"\x82\3abc"
QUERY = message(b"Q", b"select 1\0"), message(b"D") + READY
TURN = b"some line\n", b"another\n"
Said = tuple[bytes, bytes]


class Heard:
    """A connection, and what was overheard there."""

    def __init__(self) -> None:
        self.recorder = Recorder("relay")
        self.overheard = Overheard(self.recorder, Edges())
        record = ConnectionRecord(1, "tcp", ("a", 1), ("b", 2), 0.0)
        self.talk = Talk(self.overheard, record)
        self._now_s = 0.0

    def turn(self, said: Said, cuts: list[int]) -> None:
        """Let the client ask and the server answer, both in parts."""
        for part in parts(said[0], cuts):
            self._now_s += 1.0
            self.talk.ask(memoryview(part), self._now_s, self._now_s)
        for part in parts(said[1], cuts):
            self._now_s += 1.0
            self.talk.answer(memoryview(part), self._now_s, self._now_s)

    @property
    def counts(self) -> tuple[int, int, int, str]:
        found = self.overheard
        return found.requests, found.responses, found.under_way, found.names


def parts(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(ends)]


@pytest.mark.parametrize(
    ("first", "then", "names", "before"),
    [
        ((b"", b""), HTTP, "HTTP/1", 0),
        ((b"", b""), REDIS, "RESP", 0),
        (UPGRADE, FRAME, "HTTP/1, websocket", 1),
        ((START, HELLO), QUERY, "PostgreSQL", 0),
        ((b"", b""), TURN, "by turns, lines", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@settings(max_examples=12)
@given(st.integers(1, 5), st.lists(st.integers(0, 200), max_size=6))
def test_however_it_is_cut(
    first: Said, then: Said, names: str, before: int, turns: int, cuts: list[int]
) -> None:
    heard = Heard()
    heard.turn(first, cuts)
    for _ in range(turns):
        heard.turn(then, cuts)
    heard.talk.end()
    assert heard.counts == (before + turns, before + turns, 0, names)


begun = st.sampled_from([b"", *(said[0] for said in (HTTP, REDIS, UPGRADE, (START, b""), TURN))])
answered = st.sampled_from([b"", *(said[1] for said in (HTTP, REDIS, UPGRADE, (b"", HELLO), TURN))])


@settings(max_examples=60)
@given(
    begun, answered, st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0, 200), max_size=4)
)
def test_whatever_is_said_every_request_has_an_outcome(
    asked: bytes, told: bytes, more: bytes, yet_more: bytes, cuts: list[int]
) -> None:
    heard = Heard()
    for _ in range(2):
        heard.turn((asked + more, told + yet_more), cuts)
    heard.talk.end()
    found = heard.overheard
    assert found.under_way == 0
    assert found.requests == found.responses + found.without_answer
    heard.recorder.fold()
    assert heard.recorder.exchanges.recorded == found.requests
