"""How requests and answers of one connection are told apart: one class for each way to do so.

A form is told of everything that passes: what the client says with the moments at which it was read (0 = not
known: a fault held it back) and at which the relay began to write it on, what the server says with those at
which it was read and at which all of it had been passed back (0 = not known).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sockscope.core.connection import ConnectionRecord
from sockscope.core.run.snapshot import Payload
from sockscope.core.wire.framing import Decoder, Frame, FramingError
from sockscope.core.wire.http import HttpCount, Upgraded
from sockscope.core.wire.lockstep import MOST_BYTES, exchanges_in
from sockscope.core.wire.postgres import PostgresCount
from sockscope.core.wire.recognise import BYTES, HTTP, POSTGRES, RESP, TLS, TURNS, is_dns_query
from sockscope.core.wire.resp import RespDecoder
from sockscope.core.wire.websocket import WebsocketDecoder, is_control
from sockscope.engine.captures import CAPTURE_BYTES, Clip, clip

if TYPE_CHECKING:
    from sockscope.engine.relay.overheard import Overheard

MOST_AWAITED = 1_024
"""Requests of a connection without an answer that are known; with more of them they are told by turns."""


class Asked(NamedTuple):
    """A request that awaits its answer: when its end was read, when that was written on, and its bytes."""

    read_s: float
    sent_s: float
    request: Clip


class Answered(NamedTuple):
    """An answer: when its end was read, when that had been passed back, and its bytes."""

    read_s: float
    passed_back_s: float
    answer: Clip


class Form(Protocol):
    """How requests and answers of one connection are told apart. Each may raise FramingError."""

    def ask(self, data: bytes, read_s: float, sent_s: float) -> None:
        """The client has sent this, and the relay passes it on now."""

    def answer(self, data: bytes, read_s: float, passed_back_s: float) -> None:
        """The server has sent this."""

    def end(self) -> None:
        """There is nothing more to come."""


class Opaque:
    """There is nothing to be told apart in what passes: TLS, or what nobody wants to have told apart."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        """Nothing is kept."""

    def ask(self, data: bytes, read_s: float, sent_s: float) -> None:
        """Nothing is told."""

    def answer(self, data: bytes, read_s: float, passed_back_s: float) -> None:
        """Nothing is told."""

    def end(self) -> None:
        """Nothing is kept."""


class Turns:
    """A request is what a client sends until the server speaks; what that says is the answer.

    A turn that was several messages, each answered by one, is as many requests.
    """

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        self._overheard = overheard
        self._record = record
        self._request, self._answer = Saying(MOST_BYTES), Saying(MOST_BYTES)
        self._read_s = self._sent_s = self._passed_back_s = 0.0
        self.heard_s = 0.0
        """When the server has spoken last."""

    def ask(self, data: bytes, read_s: float, sent_s: float) -> None:
        """The client speaks: what the server has said before was its answer."""
        self.finish()
        if not self._request.reads:
            self._overheard.asked(self._record)
        self._request.add(data)
        self._read_s, self._sent_s = read_s, sent_s

    def answer(self, data: bytes, read_s: float, passed_back_s: float) -> None:
        """The server speaks; where nothing was asked it is a greeting, or goes on after a silence."""
        if self._request.reads:
            self._answer.add(data)
            self.heard_s, self._passed_back_s = read_s, passed_back_s
            self._overheard.answering.add(self)

    def finish(self) -> None:
        """The answer is whole, if one has begun."""
        if not self._answer.reads:
            return
        count, what = exchanges_in(self._request.whole, self._answer.whole)
        overheard, several = self._overheard, count > 1
        overheard.answering.discard(self)
        if several:
            overheard.asked(self._record, count - 1)
        if what:
            overheard.name(self._record, what)
        asked = Asked(self._read_s, self._sent_s, self._request.take(several))
        answer = Answered(self.heard_s, self._passed_back_s, self._answer.take(several))
        for _ in range(count):
            overheard.answered(self._record, asked, answer)

    def end(self) -> None:
        """An answer that has begun is whole, and none is to come otherwise."""
        self.finish()
        if self._request.reads:
            self._overheard.unanswered(self._record, Asked(self._read_s, self._sent_s, self._request.take()))


class Saying:
    """The first bytes of what one side says, and how much that is."""

    __slots__ = ("_data", "_most", "_size", "reads")

    def __init__(self, most: int = CAPTURE_BYTES) -> None:
        self._most = most
        self._data = b""
        self._size = 0
        self.reads = 0
        """How many reads it has come in so far; 0: nothing was said."""

    def add(self, data: bytes) -> None:
        """More of it has come."""
        if not self.reads:
            self._data = data[: self._most]
        elif len(self._data) < self._most:
            self._data += data[: self._most - len(self._data)]
        self._size += len(data)
        self.reads += 1

    @property
    def whole(self) -> bytes:
        """All of it; nothing where it is too much to be kept."""
        return self._data if self._size == len(self._data) else b""

    def take(self, merged: bool = False) -> Clip:
        """Return what is kept of it, and begin anew."""
        size, reads = self._size, self.reads
        said: Clip = self._data
        if size > CAPTURE_BYTES or reads > 1 or merged:
            said = Payload(self._data[:CAPTURE_BYTES], size, (), reads, merged)
        self._data, self._size, self.reads = b"", 0, 0
        return said


class Paired:
    """Requests that are answered in their order."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        self._overheard = overheard
        self._record = record
        self._awaited: deque[Asked] = deque()

    def asked(self, asked: Asked) -> None:
        """A request is whole."""
        if len(self._awaited) == MOST_AWAITED:
            raise FramingError(f"more than {MOST_AWAITED:,} requests without an answer")
        self._awaited.append(asked)
        self._overheard.asked(self._record)

    def answered(self, answer: Answered) -> None:
        """An answer is whole; one that nobody has asked for is only counted as such."""
        if not self._awaited:
            self._overheard.recorder.unexpected += 1
            return
        self._overheard.answered(self._record, self._awaited.popleft(), answer)

    def end(self) -> None:
        """What has not been answered will not be."""
        for asked in self._awaited:
            self._overheard.unanswered(self._record, asked)
        self._awaited.clear()


class Framed(Paired):
    """Requests and answers that decoders cut, each in its direction; ``is_aside`` tells what is neither."""

    def __init__(
        self,
        overheard: Overheard,
        record: ConnectionRecord,
        requests: Decoder,
        answers: Decoder,
        is_aside: Callable[[bytes], bool] | None = None,
    ) -> None:
        super().__init__(overheard, record)
        self._requests, self._answers = requests, answers
        self._is_aside = is_aside

    def ask(self, data: bytes, read_s: float, sent_s: float) -> None:
        """Take requests."""
        for frame in _frames(self._requests, data):
            if self._is_aside is None or not self._is_aside(frame.wire):
                self.asked(Asked(read_s, sent_s, clip(frame.wire, frame.reads)))

    def answer(self, data: bytes, read_s: float, passed_back_s: float) -> None:
        """Take answers."""
        for frame in _frames(self._answers, data):
            if self._is_aside is None or not self._is_aside(frame.wire):
                self.answered(Answered(read_s, passed_back_s, clip(frame.wire, frame.reads)))

    def end(self) -> None:
        """What is held may end with the connection."""
        if (last := self._answers.end()) is not None:
            now_s = perf_counter()
            self.answered(Answered(now_s, now_s, clip(last.wire, last.reads)))
        super().end()


class Resp(Framed):
    """Commands and replies of Redis; a push (RESP3) is none."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        answers = RespDecoder()
        super().__init__(overheard, record, RespDecoder(), answers, answers.is_aside)


class Websocket(Framed):
    """Messages of both sides in their order; pings and other frames of control are none."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        requests, answers = WebsocketDecoder(of_client=True), WebsocketDecoder()
        super().__init__(overheard, record, requests, answers, is_control)


class Counted(Paired):
    """Requests and answers that are counted as they go by. Of several that end in one read, each is shown as
    that read."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        super().__init__(overheard, record)
        self._request, self._answer = Saying(), Saying()
        # Answers that were whole before their requests were.
        self._ahead = 0

    def take_requests(self, count: int, read_s: float, sent_s: float) -> None:
        """So many have ended with what was said last."""
        for request in _ended(self._request, count):
            asked = Asked(read_s, sent_s, request)
            if self._ahead:
                self._ahead -= 1
                self._overheard.asked(self._record)
                self._overheard.answered(self._record, asked, Answered(sent_s, sent_s, b""))
            else:
                self.asked(asked)

    def take_answers(self, count: int, read_s: float, passed_back_s: float) -> None:
        """So many have ended with what was said last."""
        for answer in _ended(self._answer, count):
            if self._awaited:
                self.answered(Answered(read_s, passed_back_s, answer))
            else:
                self._ahead += 1


class Http(Counted):
    """Requests and answers of HTTP/1; raises Upgraded where the connection goes over to another protocol."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        super().__init__(overheard, record)
        self._count = HttpCount()

    def ask(self, data: bytes, read_s: float, sent_s: float) -> None:
        """Take requests."""
        self._request.add(data)
        self.take_requests(self._count.requests(data), read_s, sent_s)

    def answer(self, data: bytes, read_s: float, passed_back_s: float) -> None:
        """Take answers."""
        self._answer.add(data)
        try:
            count = self._count.answers(data)
        except Upgraded as upgraded:
            self.take_answers(upgraded.answers, read_s, passed_back_s)
            raise
        self.take_answers(count, read_s, passed_back_s)

    def end(self) -> None:
        """The end of the connection is the end of an answer whose size nothing else tells."""
        now_s = perf_counter()
        self.take_answers(self._count.end(), now_s, now_s)
        super().end()


class Postgres(Counted):
    """Queries and what PostgreSQL says to them; raises Upgraded where it goes over to TLS."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        super().__init__(overheard, record)
        self._count = PostgresCount()

    def ask(self, data: bytes, read_s: float, sent_s: float) -> None:
        """Take queries; what is said before the first of them is of none."""
        self._request.add(data)
        self.take_requests(self._count.requests(data), read_s, sent_s)
        if not self._count.is_ready:
            self._request.take()

    def answer(self, data: bytes, read_s: float, passed_back_s: float) -> None:
        """Take answers."""
        self._answer.add(data)
        was_ready = self._count.is_ready
        count = self._count.answers(data)
        if self._count.went_over:
            raise Upgraded("")
        self.take_answers(count, read_s, passed_back_s)
        if not was_ready:
            self._answer.take()


class Datagrams(Paired):
    """Datagrams of one client: a query of DNS is answered by its number, any other in turn."""

    def ask(self, data: bytes | memoryview, read_s: float, sent_s: float) -> None:
        """Take a request, and give up the oldest where too many await an answer."""
        octets = bytes(data)
        if len(self._awaited) == MOST_AWAITED:
            self._overheard.unanswered(self._record, self._awaited.popleft())
        self._overheard.name(self._record, "DNS" if is_dns_query(octets) else "datagrams")
        self.asked(Asked(read_s, sent_s, clip(octets)))

    def answer(self, data: bytes | memoryview, read_s: float, passed_back_s: float) -> None:
        """Take an answer."""
        octets = bytes(data)
        if self._awaited and is_dns_query(_octets_of(self._awaited[0].request)):
            for number, asked in enumerate(self._awaited):
                if _octets_of(asked.request)[:2] == octets[:2]:
                    self._awaited.rotate(-number)
                    break
            else:
                self._overheard.recorder.unexpected += 1
                return
        self.answered(Answered(read_s, passed_back_s, clip(octets)))


MakesForm = Callable[["Overheard", ConnectionRecord], Form]
FORMS: Mapping[str, MakesForm] = {
    HTTP: Http,
    RESP: Resp,
    POSTGRES: Postgres,
    TLS: Opaque,
    BYTES: Opaque,
    TURNS: Turns,
}
"""What tells apart each form that is recognised."""


def _frames(decoder: Decoder, data: bytes) -> Iterator[Frame]:
    yield from decoder.feed(data)
    while decoder.more:
        yield from decoder.feed(b"")


def _ended(saying: Saying, count: int) -> list[Clip]:
    """Return what is kept of the messages that have ended by now."""
    return [saying.take(merged=count > 1)] * count if count else []


def _octets_of(kept: Clip) -> bytes:
    return kept if isinstance(kept, bytes) else kept.data
