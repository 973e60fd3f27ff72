"""What passes a relay, told apart as requests and answers, where the relay runs alone.

HTTP/1, RESP and PostgreSQL are told apart as they say themselves; TLS passes as bytes. Anything else is told
apart by turns: a request is what the client sends until it is answered, and the answer ends when the client
speaks again, or when the server has been silent for :data:`QUIET_S`. Or the experiment says where they end.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import NamedTuple

from sockscope.core.config.experiment import ENDS, Experiment
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import Event, EventKind
from sockscope.core.histogram import Histogram
from sockscope.core.wire.ends import UntilLine
from sockscope.core.wire.framing import MAX_FRAME_BYTES, FramingError, NewlineDecoder, decoder_for
from sockscope.core.wire.http import Upgraded
from sockscope.core.wire.recognise import (
    AUTO,
    BY_TURNS,
    BYTES,
    HTTP,
    POSTGRES,
    RESP,
    TLS,
    TURNS,
    Recognised,
    recognise,
)
from sockscope.engine.captures import Unfinished
from sockscope.engine.recorder import Recorder
from sockscope.engine.relay.edges import Edges
from sockscope.engine.relay.forms import FORMS, Answered, Asked, Form, Framed, MakesForm, Turns, Websocket

QUIET_S = 0.1
"""A server that has been silent for so long has answered, where nothing else tells the end."""
MOST_NAMES = 64
"""Protocols that are named in the log; any more are not."""
MOST_NAMES_SHOWN = 4
"""And among the figures."""
MOST_TIMES = 4_096
"""Service times that are kept until they are counted."""
NO_ANSWER = Unfinished("no answer")
_WEBSOCKET = "websocket"


class Told(NamedTuple):
    """How messages are told apart, and what that is called."""

    make: MakesForm
    name: str


class Overheard:
    """What is overheard on all connections that came in at one address of a relay.

    ``asked_for`` is how it is to be told apart; None: as the first bytes of a client say.
    """

    def __init__(self, recorder: Recorder, edges: Edges, asked_for: Told | None = None) -> None:
        self.recorder = recorder
        self.asked_for = asked_for
        self.under_way = 0
        """Requests that have gone to the server and have not been answered."""
        self.requests = self.responses = self.without_answer = self.ended_by_silence = 0
        self.service_time = Histogram()
        self.answering: set[Turns] = set()
        """Where an answer has begun whose end only time tells."""
        self._edges = edges
        self._times: list[float] = []
        self._named: dict[str, None] = {}

    @property
    def names(self) -> str:
        """What has been spoken so far."""
        names = list(self._named)
        more = len(names) - MOST_NAMES_SHOWN
        return ", ".join([*names[:MOST_NAMES_SHOWN], *([f"and {more} more"] if more > 0 else [])])

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
            self.ended_by_silence += 1
            turns.finish()
        self.fold()

    def fold(self) -> None:
        """Count the service times."""
        if self._times:
            self.service_time.add_all(self._times)
            self._times.clear()

    def asked(self, record: ConnectionRecord, count: int = 1) -> None:
        """Count requests."""
        record.odd_frames_in += count
        record.tally.changed = True
        self.under_way += count
        self.requests += count

    def answered(self, record: ConnectionRecord, asked: Asked, answer: Answered) -> None:
        """Count and keep an answer and its request."""
        read_s, sent_s, request = asked
        at_s = max(answer.read_s, sent_s)
        record.odd_frames_out += 1
        record.tally.changed = True
        self.under_way -= 1
        self.responses += 1
        self._edges.add(read_s, answer.passed_back_s)
        self.recorder.on_exchange((sent_s, at_s, record, request, answer.answer))
        times = self._times
        times.append(at_s - sent_s)
        if len(times) >= MOST_TIMES:
            self.fold()

    def unanswered(self, record: ConnectionRecord, asked: Asked) -> None:
        """Keep a request that gets no answer any more: that need not be a fault, for some want none."""
        self.under_way -= 1
        self.without_answer += 1
        self.recorder.fold()
        self._edges.add(asked.read_s, 0.0)
        self.recorder.exchanges.extend([asked.sent_s, 0.0, record, asked.request, NO_ANSWER])


class Talk:
    """What one connection says: its client's first bytes tell the form, in which the rest is told apart."""

    __slots__ = ("_begun", "_begun_s", "_form", "_overheard", "_record")

    def __init__(self, overheard: Overheard, record: ConnectionRecord) -> None:
        self._overheard = overheard
        self._record = record
        self._begun = b""
        self._begun_s = 0.0, 0.0
        self._form: Form | None = None
        if (told := overheard.asked_for) is not None:
            self._go_over(told.make, told.name)

    def ask(self, data: bytes | memoryview, read_s: float, sent_s: float) -> None:
        """The client has sent this, and the relay passes it on now."""
        if self._form is None:
            self._begun += data
            self._begun_s = read_s, sent_s
            if (found := recognise(self._begun)) is None:
                return
            data = self._begin(found)
        self._ask(bytes(data), read_s, sent_s)

    def _ask(self, data: bytes, read_s: float, sent_s: float) -> None:
        form = self._form
        assert form is not None
        try:
            form.ask(data, read_s, sent_s)
        except FramingError as error:
            self._break_off(form, error)

    def answer(self, data: bytes | memoryview, read_s: float, passed_back_s: float) -> None:
        """The server has sent this."""
        # It has not waited for what would tell.
        if self._form is None and (begun := self._begin(BY_TURNS)):
            self._ask(begun, *self._begun_s)
        form = self._form
        assert form is not None
        try:
            form.answer(bytes(data), read_s, passed_back_s)
        except Upgraded as upgraded:
            form.end()
            self._upgrade(upgraded)
            if upgraded.rest:
                self.answer(upgraded.rest, read_s, passed_back_s)
        except FramingError as error:
            self._break_off(form, error)

    def end(self) -> None:
        """The connection has ended."""
        if self._form is None and self._begun:
            self._ask(self._begin(BY_TURNS), *self._begun_s)
        if self._form is not None:
            self._form.end()

    def _begin(self, found: Recognised) -> bytes:
        """Go over to what was found; return what has come of it."""
        self._record.tls = found.form == TLS
        self._go_over(FORMS[found.form], found.name)
        begun, self._begun = self._begun, b""
        return begun

    def _go_over(self, make: MakesForm, name: str) -> None:
        self._record.speaks = name
        self._overheard.name(self._record, name)
        self._form = make(self._overheard, self._record)

    def _upgrade(self, upgraded: Upgraded) -> None:
        """What follows is another protocol: its name tells which, else its first bytes do."""
        if upgraded.to == _WEBSOCKET:
            self._go_over(Websocket, _WEBSOCKET)
        else:
            self._form = None

    def _break_off(self, form: Form, error: FramingError) -> None:
        """What was said up to now was told apart; from here on only turns are left."""
        form.end()
        self._overheard.note(self._record, f"is told apart by turns from here on: {error}")
        self._go_over(Turns, BY_TURNS.name)


_BY_NAME: Mapping[str, Told] = {
    "http": Told(FORMS[HTTP], HTTP),
    "resp": Told(FORMS[RESP], RESP),
    "postgres": Told(FORMS[POSTGRES], POSTGRES),
    TURNS: Told(FORMS[TURNS], BY_TURNS.name),
    BYTES: Told(FORMS[BYTES], BYTES),
}


_ENDINGS = {
    "expect": "messages of {} B",
    "until": "messages until {}",
    "until_line": "answers until a line {}",
    "length_field": "messages with their length at {}",
    "answer": "messages of {}",
}
"""What it is called where the experiment says where messages end."""


def form_of(experiment: Experiment) -> Told | None:
    """Return how the experiment wants requests and answers to be told apart; None: as they say themselves."""
    if experiment.ends:
        key = experiment.ends[0]
        end = ENDS[key](experiment.value(key))

        def ending(overheard: Overheard, record: ConnectionRecord) -> Form:
            # Where a line ends an answer of several, a request is one line.
            requests = NewlineDecoder(MAX_FRAME_BYTES) if isinstance(end, UntilLine) else end.decoder()
            return Framed(overheard, record, requests, end.decoder())

        return Told(ending, _ENDINGS[key].format(experiment.value(key)))
    name = experiment.told_apart
    if name == AUTO:
        return None
    if name in _BY_NAME:
        return _BY_NAME[name]

    def framed(overheard: Overheard, record: ConnectionRecord) -> Form:
        return Framed(overheard, record, decoder_for(name, 0), decoder_for(name, 0))

    return Told(framed, "lines" if name == "newline" else "messages with their length before them")
