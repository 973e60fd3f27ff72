"""What passes a relay, told apart as requests and answers, where the relay runs alone.

HTTP/1 and RESP are told apart as they say themselves; TLS passes as bytes. Anything else is told apart by
turns: a request is what the client sends until it is answered, and the answer ends when the client speaks
again, or when the server has been silent for :data:`QUIET_S`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Protocol

from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import Event, EventKind
from sockscope.core.run.snapshot import Payload
from sockscope.core.wire.framing import Frame, FramingError
from sockscope.core.wire.http import HttpCount
from sockscope.core.wire.recognise import (
    BY_TURNS,
    HTTP,
    RESP,
    TLS,
    TURNS,
    Recognised,
    is_dns_query,
    recognise,
)
from sockscope.core.wire.resp import RespDecoder
from sockscope.engine.captures import CAPTURE_BYTES, Clip, Unfinished, clip
from sockscope.engine.recorder import Recorder

QUIET_S = 0.1
"""A server that has been silent for so long has answered, where nothing else tells the end."""
MOST_AWAITED = 1_024
"""Requests of a connection without an answer that are known; with more of them they are told by turns."""
MOST_NAMES = 64
"""Protocols that are named in the log; any more are not."""
NO_ANSWER = Unfinished("no answer")


class Overheard:
    """What is overheard on all connections of one relay."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.under_way = 0
        """Requests that have gone to the server and have not been answered."""
        self.answering: set[Turns] = set()
        """Where an answer has begun whose end only time tells."""
        self._named: dict[str, None] = {}

    @property
    def names(self) -> str:
        """What has been spoken so far."""
        return ", ".join(self._named)

    def name(self, record: ConnectionRecord, name: str) -> None:
        """Say once in the log that this is spoken."""
        if name not in self._named and len(self._named) < MOST_NAMES:
            self._named[name] = None
            self.note(
                record, f"speaks {name}" if name != BY_TURNS.name else "requests are told apart by turns"
            )

    def note(self, record: ConnectionRecord, text: str) -> None:
        """Write a line about a connection into the log."""
        recorder = self.recorder
        recorder.events.append(
            Event(perf_counter(), EventKind.RUN, recorder.role, text=f"r{record.conn_id} {text}")
        )

    def look(self, now_s: float) -> None:
        """End the answers of servers that have been silent for long enough."""
        for turns in [turns for turns in self.answering if now_s - turns.heard_s >= QUIET_S]:
            turns.finish()

    def asked(self, record: ConnectionRecord, count: int = 1) -> None:
        """Count requests."""
        record.odd_frames_in += count
        record.tally.changed = True
        self.under_way += count

    def answered(
        self, record: ConnectionRecord, sent_s: float, at_s: float, request: Clip, said: Clip
    ) -> None:
        """Count and keep an answer and its request."""
        record.odd_frames_out += 1
        record.tally.changed = True
        self.under_way -= 1
        self.recorder.on_exchange((sent_s, max(at_s, sent_s), record, request, said))

    def unanswered(self, record: ConnectionRecord, sent_s: float, request: Clip) -> None:
        """Keep a request that gets no answer any more: that need not be a fault, for some want none."""
        self.under_way -= 1
        self.recorder.fold()
        self.recorder.exchanges.extend([sent_s, 0.0, record, request, NO_ANSWER])


class Form(Protocol):
    """How requests and answers of one connection are told apart. Each may raise FramingError."""

    def ask(self, data: bytes, now_s: float) -> None:
        """The client has sent this, and the relay passes it on now."""

    def answer(self, data: bytes, now_s: float) -> None:
        """The server has sent this."""

    def end(self) -> None:
        """There is nothing more to come."""


class Talk:
    """What one connection says: its client's first bytes tell the form, in which the rest is told apart."""

    __slots__ = ("_begun", "_form", "_overheard", "_record")

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        self._overheard = overheard
        self._record = record
        self._begun = b""
        self._form: Form | None = None

    def ask(self, data: bytes | memoryview, now_s: float) -> None:
        """The client has sent this, and the relay passes it on now."""
        if self._form is not None:
            self._go(bytes(data), now_s, is_answer=False)
            return
        self._begun += data
        if found := recognise(self._begun):
            self._begin(found, now_s)

    def answer(self, data: bytes | memoryview, now_s: float) -> None:
        """The server has sent this."""
        if self._form is None:  # it has not waited for what would tell
            self._begin(BY_TURNS, now_s)
        self._go(bytes(data), now_s, is_answer=True)

    def end(self) -> None:
        """The connection has ended."""
        if self._form is None and self._begun:
            self._begin(BY_TURNS, perf_counter())
        if self._form is not None:
            self._form.end()

    def _begin(self, found: Recognised, now_s: float) -> None:
        self._overheard.name(self._record, found.name)
        self._record.tls = found.form == TLS
        self._form = _FORMS[found.form](self._overheard, self._record)
        begun, self._begun = self._begun, b""
        if begun:
            self._go(begun, now_s, is_answer=False)

    def _go(self, data: bytes, now_s: float, *, is_answer: bool) -> None:
        form = self._form
        assert form is not None
        try:
            (form.answer if is_answer else form.ask)(data, now_s)
        except FramingError as error:
            # What was said up to now was told apart; from here on only turns are left.
            form.end()
            self._overheard.note(self._record, f"is told apart by turns from here on: {error}")
            self._form = Turns(self._overheard, self._record)


class Opaque:
    """TLS: there is nothing to be told apart in what passes."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        """Nothing is kept."""

    def ask(self, data: bytes, now_s: float) -> None:
        """Nothing is told."""

    def answer(self, data: bytes, now_s: float) -> None:
        """Nothing is told."""

    def end(self) -> None:
        """Nothing is kept."""


class Turns:
    """A request is what a client sends until the server speaks; what that says is the answer."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        self._overheard = overheard
        self._record = record
        self._request, self._answer = Saying(), Saying()
        self._asked_s = 0.0
        self.heard_s = 0.0
        """When the server has spoken last."""

    def ask(self, data: bytes, now_s: float) -> None:
        """The client speaks: what the server has said before was its answer."""
        self.finish()
        if not self._request.reads:
            self._overheard.asked(self._record)
        self._request.add(data)
        self._asked_s = now_s

    def answer(self, data: bytes, now_s: float) -> None:
        """The server speaks; where nothing was asked it is a greeting, or goes on after a silence."""
        if self._request.reads:
            self._answer.add(data)
            self.heard_s = now_s
            self._overheard.answering.add(self)

    def finish(self) -> None:
        """The answer is whole, if one has begun."""
        if not self._answer.reads:
            return
        self._overheard.answering.discard(self)
        self._overheard.answered(
            self._record, self._asked_s, self.heard_s, self._request.take(), self._answer.take()
        )

    def end(self) -> None:
        """An answer that has begun is whole, and none is to come otherwise."""
        self.finish()
        if self._request.reads:
            self._overheard.unanswered(self._record, self._asked_s, self._request.take())


class Saying:
    """The first bytes of what one side says, and how much that is."""

    def __init__(self) -> None:
        self._data = b""
        self._size = 0
        self.reads = 0
        """How many reads it has come in so far; 0: nothing was said."""

    def add(self, data: bytes) -> None:
        """More of it has come."""
        if len(self._data) < CAPTURE_BYTES:
            self._data += data[: CAPTURE_BYTES - len(self._data)]
        self._size += len(data)
        self.reads += 1

    def take(self, merged: bool = False) -> Clip:
        """Return what is kept of it, and begin anew."""
        said = (
            self._data
            if self._size == len(self._data) and self.reads <= 1 and not merged
            else Payload(self._data, self._size, (), self.reads, merged)
        )
        self._data, self._size, self.reads = b"", 0, 0
        return said


class Paired:
    """Requests that are answered in their order."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        self._overheard = overheard
        self._record = record
        self._awaited: deque[tuple[float, Clip]] = deque()

    def asked(self, now_s: float, request: Clip) -> None:
        """A request is whole."""
        if len(self._awaited) == MOST_AWAITED:
            raise FramingError(f"more than {MOST_AWAITED:,} requests without an answer")
        self._awaited.append((now_s, request))
        self._overheard.asked(self._record)

    def answered(self, now_s: float, answer: Clip) -> None:
        """An answer is whole; one that nobody has asked for is only counted as such."""
        if not self._awaited:
            self._overheard.recorder.unexpected += 1
            return
        sent_s, request = self._awaited.popleft()
        self._overheard.answered(self._record, sent_s, now_s, request, answer)

    def end(self) -> None:
        """What has not been answered will not be."""
        for sent_s, request in self._awaited:
            self._overheard.unanswered(self._record, sent_s, request)
        self._awaited.clear()


class Resp(Paired):
    """Commands and replies of Redis."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        super().__init__(overheard, record)
        self._requests, self._answers = RespDecoder(), RespDecoder()

    def ask(self, data: bytes, now_s: float) -> None:
        """Take commands."""
        for frame in _frames(self._requests, data):
            self.asked(now_s, clip(frame.wire, frame.reads))

    def answer(self, data: bytes, now_s: float) -> None:
        """Take replies; a push (RESP3) is none."""
        for frame in _frames(self._answers, data):
            if not self._answers.is_aside(frame.wire):
                self.answered(now_s, clip(frame.wire, frame.reads))


class Http(Paired):
    """Requests and answers of HTTP/1. Of several that end in one read, each is shown as that read."""

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        super().__init__(overheard, record)
        self._count = HttpCount()
        self._request, self._answer = Saying(), Saying()
        # Answers that were whole before their requests were.
        self._ahead = 0

    def ask(self, data: bytes, now_s: float) -> None:
        """Take requests."""
        self._request.add(data)
        for request in _ended(self._request, self._count.requests(data)):
            if self._ahead:
                self._ahead -= 1
                self._overheard.asked(self._record)
                self._overheard.answered(self._record, now_s, now_s, request, b"")
            else:
                self.asked(now_s, request)

    def answer(self, data: bytes, now_s: float) -> None:
        """Take answers."""
        self._answer.add(data)
        self._take(self._count.answers(data), now_s)

    def end(self) -> None:
        """The end of the connection is the end of an answer whose size nothing else tells."""
        self._take(self._count.end(), perf_counter())
        super().end()

    def _take(self, count: int, now_s: float) -> None:
        for answer in _ended(self._answer, count):
            if self._awaited:
                self.answered(now_s, answer)
            else:
                self._ahead += 1


class Datagrams(Paired):
    """Datagrams of one client: a query of DNS is answered by its number, any other in turn."""

    def ask(self, data: bytes | memoryview, now_s: float) -> None:
        """Take a request, and give up the oldest where too many await an answer."""
        octets = bytes(data)
        if len(self._awaited) == MOST_AWAITED:
            sent_s, request = self._awaited.popleft()
            self._overheard.unanswered(self._record, sent_s, request)
        self._overheard.name(self._record, "DNS" if is_dns_query(octets) else "datagrams")
        self.asked(now_s, clip(octets))

    def answer(self, data: bytes | memoryview, now_s: float) -> None:
        """Take an answer."""
        octets = bytes(data)
        if self._awaited and is_dns_query(_octets_of(self._awaited[0][1])):
            for number, (_, request) in enumerate(self._awaited):
                if _octets_of(request)[:2] == octets[:2]:
                    self._awaited.rotate(-number)
                    break
            else:
                self._overheard.recorder.unexpected += 1
                return
        self.answered(now_s, clip(octets))


_FORMS: Mapping[str, Callable[[Overheard, ConnectionRecord], Form]] = {
    HTTP: Http,
    RESP: Resp,
    TLS: Opaque,
    TURNS: Turns,
}


def _frames(decoder: RespDecoder, data: bytes) -> Iterator[Frame]:
    yield from decoder.feed(data)
    while decoder.more:
        yield from decoder.feed(b"")


def _ended(saying: Saying, count: int) -> list[Clip]:
    """Return what is kept of the messages that have ended by now."""
    return [saying.take(merged=count > 1)] * count if count else []


def _octets_of(kept: Clip) -> bytes:
    return kept if isinstance(kept, bytes) else kept.data
