"""What all TCP links share: how a request is framed, and how its answer is recognised."""

from __future__ import annotations

import contextlib
import socket
import ssl
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.dialogue import COUNT, FAULT
from sockscope.core.wire.framing import (
    LENGTH_HEADER_BYTES,
    Decoder,
    Frame,
    FramingError,
    decoder_for,
    encode,
    torn_and_merged,
)
from sockscope.core.wire.http import HttpDecoder
from sockscope.core.wire.prologue import Prologue
from sockscope.engine.addresses import family_of
from sockscope.engine.captures import Clip, Unfinished, clip
from sockscope.engine.options import buffer_options, no_delay_options, set_buffers, set_no_delay
from sockscope.engine.swarm.links.link import Link
from sockscope.engine.tls.contexts import ClientTls, told
from sockscope.engine.unix_sockets import name_client

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

NUMBER_DIGITS = 8
"""Digits that begin a request while several are under way at once, and tell them and their answers apart."""
TWICE = "an earlier answer came again: the server answers more than once"
"""What is wrong with an answer that is the one to an earlier request."""
NO_ECHO = "the answer is not the request: the server does not echo (--expect or --until take other answers)"
"""What is wrong with an answer where none was described."""
MORE = (
    "the server speaks unasked (--unasked, --greeting), or something else ends an answer (--until, --expect)"
)
LONGEST_KEPT_BYTES = 16 << 10
"""Longest answer that each link keeps for each of several requests."""
# linux/in.h: let several destinations share a local port when the source address is bound first.
_IP_BIND_ADDRESS_NO_PORT = 24


class TcpLink(Link):
    """A link over TCP; how it comes to its reads is the model's affair."""

    __slots__ = (
        "_answers", "_asked", "_closing", "_decoder", "_former", "_framing", "_no_delay", "_number_at",
        "_over", "_place", "_prologue", "_session", "_spoke_s", "_tls", "_told", "_unproved", "_whole",
        "truncated",
    )  # fmt: skip

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._framing = ""
        # Whether the connection is being closed: what is still read belongs to nobody.
        self._closing = False
        # What TCP_NODELAY is; None: the loop has set it.
        self._no_delay: bool | None = None
        # Where in a request its number stands, and the number of the last one.
        self._number_at = slice(0, 0)
        self._asked = 0
        self._decoder: Decoder = decoder_for("none", 0)
        # Which of several requests is under way, and the last whole answer to each of them.
        self._place = 0
        self._answers: dict[int, tuple[bytes, Clip]] = {}
        # Whether something tells where an answer ends.
        self._told = False
        # What is said before the first request, while it is.
        self._prologue: Prologue | None = None
        # The bytes that are a whole answer, where that is known before it comes.
        self._whole: bytes | None = None
        # The request before it was made anew.
        self._former = b""
        # How TLS is spoken, what speaks it on the connection, and the last session.
        self._tls: ClientTls | None = None
        self._over: ssl.SSLObject | ssl.SSLSocket | None = None
        self._session: ssl.SSLSession | None = None
        self.truncated = False
        # The first answer of a server, and when it came, while it is not known whether it is one.
        self._unproved: tuple[float, Frame] | None = None

    def begin(self) -> None:
        """Make ready for a new connection, which is what the tuning of this moment calls for."""
        tuning, dialogue = self._swarm.tuning, self._swarm.dialogue
        self._framing = tuning.framing
        self._closing = self.truncated = False
        self._tls, self._over = self._swarm.tls, None
        self._unproved = None
        self._decoder = dialogue.decoder(tuning.framing, tuning.request_bytes)
        self._prologue = None
        self._told = tuning.framing != "none" or dialogue.tells_ends or dialogue.wants_echo

    def new_socket(self, target: Address) -> socket.socket:
        """Return a socket with the options of the tuning, bound where it is to connect from."""
        tuning, source = self._swarm.tuning, self._swarm.source
        sock = socket.socket(family_of(target[0]), socket.SOCK_STREAM)
        try:
            set_buffers(sock, tuning)
            set_no_delay(sock, tuning.no_delay)
            self._no_delay = tuning.no_delay
            if sock.family is socket.AF_UNIX:
                name_client(sock)
            elif source and family_of(source) is sock.family:
                with contextlib.suppress(OSError):  # older than Linux 4.2: binding alone does as well
                    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
        except BaseException:
            sock.close()
            raise
        return sock

    def open(self, record: ConnectionRecord) -> None:
        """There is a new connection, whose counters are in ``record``."""
        record.tls = self._over is not None
        super().open(record)

    def _secured(self, over: ssl.SSLObject | ssl.SSLSocket, began_s: float, ended_s: float) -> None:
        """The TLS handshake is over."""
        self._over = over
        self._swarm.recorder.on_handshake(ended_s - began_s, told(over), reused=bool(over.session_reused))

    def _unsecured(self, *, truncated: bool) -> None:
        """The connection is over: keep its session for the next one, and count an end that may be none.

        The tickets of TLS 1.3 come at any time after the handshake (RFC 8446, section 4.6.1).
        """
        over, self._over = self._over, None
        if over is not None:
            self._session = over.session
            if truncated and not self._closing:
                self.truncated = True
                # It may be a thread that says so.
                self._swarm.recorder.post(partial(self._swarm.recorder.count, "truncated"))

    @property
    def sock(self) -> socket.socket | None:
        """The socket of the connection; None without one."""
        raise NotImplementedError

    def socket_options(self, tuning: Tuning) -> list[SocketOption]:
        """Return TCP_NODELAY and the buffer sizes, requested and effective."""
        sock = self.sock
        return [] if sock is None else [*no_delay_options(sock, tuning), *buffer_options(sock, tuning)]

    def _set_options(self) -> None:
        """Set what can change on an open socket."""
        no_delay, sock = self._swarm.tuning.no_delay, self.sock
        if no_delay is self._no_delay or sock is None:
            return
        with contextlib.suppress(OSError):  # of a connection that is gone, as will be noticed
            set_no_delay(sock, no_delay)
        self._no_delay = no_delay

    def prepare(self, payload: bytes) -> None:
        """Frame the payload once; every request is the same bytes, but for its number if it has one."""
        self._set_options()
        self._answers.clear()  # the next one may be none that is accepted
        self._former, self._wire = self._wire, encode(self._framing, payload)
        dialogue, is_first = self._swarm.dialogue, self._swarm.opening.first is self._client
        known = not (dialogue.tells_ends or is_first or dialogue.fault_of(self._wire))
        self._whole = self._wire if known else None
        if self._framing == "none":
            # The size may have changed, with nothing under way.
            self._decoder = dialogue.decoder("none", len(payload))
        if isinstance(self._decoder, HttpDecoder):
            self._decoder.without_body = payload.startswith(b"HEAD ")
        self._kept = self._kept_answer = clip(self._wire)
        begin = LENGTH_HEADER_BYTES if self._framing == "length" else 0
        digits = min(NUMBER_DIGITS, len(payload)) if self._swarm.numbered else 0
        self._number_at = slice(begin, begin + digits)

    def _ask_next(self) -> None:
        """Make the next of several requests, and know its answer if it comes again."""
        assert self._asks is not None
        self._place, payload = next(self._asks)
        self._wire = encode(self._framing, payload)
        self._kept = clip(self._wire)
        self._whole, self._kept_answer = self._answers.get(self._place, (None, b""))
        if isinstance(self._decoder, HttpDecoder):
            self._decoder.without_body = payload.startswith(b"HEAD ")

    def next_wire(self) -> bytes:
        """Return the request with the next number; a short one has only the last digits."""
        if self._asks is not None:
            return encode(self._framing, next(self._asks)[1])
        at = self._number_at
        if at.start == at.stop:
            return self._wire
        self._asked += 1
        number = b"%0*d" % (NUMBER_DIGITS, self._asked % 10**NUMBER_DIGITS)
        return self._wire[: at.start] + number[at.start - at.stop :] + self._wire[at.stop :]

    def time_out(self, before_s: float) -> None:
        """Give the connection up: what else was sent on it is lost with it."""
        if self._unproved is not None:
            return
        recorder = self._swarm.recorder
        held = self.unfinished_bytes
        part = f"only {held:,} B of the answer came in time" if held else ""
        recorder.timeouts += self.give_up("timeout", before_s)
        recorder.errors += self.give_up("closed")
        self._client.leave(CloseReason.TIMEOUT, part)

    # The prologue.

    def opens(self) -> bool:
        """Begin with what is said before the first request; return whether anything is."""
        self._prologue = self._swarm.dialogue.prologue(self._framing)
        if self._prologue is None:
            return False
        self._speak()
        return True

    @property
    def prologue_waits_for(self) -> str:
        """What the prologue waits for, and what has come of it."""
        assert self._prologue is not None
        part = len(self._prologue.part)
        return self._prologue.waits_for + (f"; {part:,} B of it came" if part else "")

    def _speak(self) -> None:
        """Say what is to be said now."""
        assert self._prologue is not None
        assert self.record is not None
        self._spoke_s = perf_counter()
        says = self._prologue.says
        if says:
            self.record.odd_write(len(says), 0)
        self.converse(says)

    def converse(self, says: bytes) -> None:
        """Write these bytes, if there are any, and have the next read told to :meth:`_take_read`."""
        raise NotImplementedError

    def _take_prologue(self, prologue: Prologue, record: ConnectionRecord, data: bytes) -> None:
        """Take a read of what the server says before it is asked, which exchanges show."""
        record.odd_read(len(data))
        recorder = self._swarm.recorder
        recorder.unused_bytes += len(data)
        said, outcome = prologue.says, prologue.outcome
        try:
            done = prologue.take(data)
        except FramingError as error:
            self._client.leave(CloseReason.GARBAGE, str(error))
            return
        if done:
            answer = Unfinished(outcome, clip(done.wire, done.reads))
            recorder.on_prologue(self._spoke_s, record, clip(said), answer)
            if said and (fault := self._swarm.dialogue.refusal_in(done.wire)):
                self._client.leave(CloseReason.GARBAGE, f"the preamble was refused: {fault}")
                return
        if prologue.is_over:
            self._prologue = None
            self._client.opened()
        elif done:
            self._speak()

    # Recognising answers.

    def _take_read(self, data: bytes, now: float) -> None:
        """Take a read that is not the whole answer in one, or not in a hurry."""
        record = self.record
        if record is None:
            return
        self._expect = None
        if self._sent_s and now - self._sent_s > self._timeout_s:
            self._time_out_at(now)
        if self._prologue is not None and not self._closing:
            self._take_prologue(self._prologue, record, data)
            return
        if self._closing or not self.under_way:
            self._take_unasked(record, data)
            return
        if self._unproved is not None:
            self._disprove(record, len(data))
            return
        frames, passed, garbage = self._cut(data)
        if len(frames) == 1 and not (garbage or passed) and self._is_the_answer(frames[0]):
            self._take_the_answer(frames[0], record, len(data), now)
        else:
            self._take_frames(frames, passed, garbage, record, data, now)

    def _is_the_answer(self, frame: Frame) -> bool:
        """Tell whether this is all that was waited for, and is to be accepted."""
        dialogue = self._swarm.dialogue
        return (
            self._told
            and not self._pipeline
            and not self._decoder.pending_bytes
            and (not dialogue.wants_echo or frame.wire == self._wire)
            and self._swarm.opening.first is not self._client
            and not dialogue.fault_of(frame.wire)
        )

    def _take_the_answer(self, frame: Frame, record: ConnectionRecord, size: int, now: float) -> None:
        """Take what a read is as a rule. If it came in one, it needs no decoder when it comes again."""
        wire, reads = frame
        record.odd_read(size, 1)
        self._swarm.recorder.unused_bytes += size - len(wire)
        if reads:
            self._swarm.recorder.torn += 1
        elif size == len(wire):
            self._keep_answer(wire, record)
        self._take_answer(now, clip(wire, reads))

    def _take_frames(
        self,
        frames: list[Frame],
        passed: int,
        garbage: str,
        record: ConnectionRecord,
        data: bytes,
        now: float,
    ) -> None:
        """Take what a read holds, whatever that is: ``garbage`` tells why what follows ``frames`` is none."""
        # Without anything that tells, each read counts as an answer, but none that nobody waits for.
        good = min(len(frames), self.under_way)
        if self._told:
            good, fault = self._judge(frames, passed)
            garbage = fault or garbage
        if good and self._swarm.opening.first is self._client:
            if not garbage:
                self._wait_for_more(record, len(data), now, frames[0])
                return
            good = 0
        faults = [self._swarm.dialogue.fault_of(frame.wire) for frame in frames[:good]]
        accepted = [frame for frame, fault in zip(frames, faults, strict=False) if not fault]
        record.odd_read(len(data), len(accepted))
        recorder = self._swarm.recorder
        recorder.unused_bytes += len(data) - sum(len(frame.wire) for frame in accepted)
        torn, merged = torn_and_merged(frames[:good], self._decoder.pending_bytes)
        recorder.torn += torn
        recorder.merged += merged
        shown_merged = bool(merged) and self._framing == "none"
        for frame, fault in zip(frames, faults, strict=False):
            kept = clip(frame.wire, frame.reads, shown_merged)
            self._take_answer(now, kept, fault)
        if garbage:
            self._refuse(garbage)

    def _cut(self, data: bytes) -> tuple[list[Frame], int, str]:
        """Return the frames that a read completes, how many more there are than are due and one, and why what
        follows them is none. Nothing is left for later: it would be taken for the next answer."""
        decoder, wanted = self._decoder, self.under_way + 1
        frames: list[Frame] = []
        asides = passed = 0
        try:
            found = decoder.feed(data)
            while found:
                if decoder.has_asides:
                    answers = [frame for frame in found if not decoder.is_aside(frame.wire)]
                    asides += len(found) - len(answers)
                    found = answers
                missing = max(0, wanted - len(frames))
                frames += found[:missing]
                passed += len(found[missing:])
                found = decoder.feed(b"") if decoder.more else []
        except FramingError as error:
            return frames, passed, str(error)
        return frames, passed, self._set_aside(asides) if asides else ""

    def _keep_answer(self, answer: bytes, record: ConnectionRecord) -> None:
        """Know a whole answer by a comparison when it comes again."""
        answer = self._swarm.shared_answer(self._place, answer)
        self._whole, self._kept_answer = answer, clip(answer)
        if self._asks is None:
            record.expect(len(answer), len(self._wire))
        elif len(answer) <= LONGEST_KEPT_BYTES:
            self._answers[self._place] = self._whole, self._kept_answer

    def _take_unasked(self, record: ConnectionRecord, data: bytes) -> None:
        """Take a read while nothing is under way: whatever it holds, it is no answer."""
        recorder, size = self._swarm.recorder, len(data)
        record.odd_read(size)
        recorder.unused_bytes += size
        if self._closing:
            return
        if self._swarm.dialogue.unasked != FAULT:
            frames, passed, garbage = self._cut(data)
            self._pass_over(len(frames) + passed)
            if garbage:
                self._client.leave(CloseReason.GARBAGE, garbage)
            return
        recorder.unexpected += 1
        why = f"{size:,} B that nobody asked for"
        if not record.frames_out:
            why = f"{size:,} B before anything was asked: --greeting tells how the server's first words end"
            self._swarm.opening.heard(perf_counter() - record.opened_s)
        if self._told or not record.frames_out:
            self._client.leave(CloseReason.GARBAGE, why)
        else:
            self._swarm.note_trouble(CloseReason.GARBAGE, why)

    def _wait_for_more(self, record: ConnectionRecord, size: int, now: float, frame: Frame) -> None:
        """What looks like the first answer of a server has come: see whether anything follows it."""
        record.odd_read(size)
        self._swarm.recorder.unused_bytes += size
        self._unproved = now, frame
        self._swarm.opening.answered(now - self._sent_s)

    def _disprove(self, record: ConnectionRecord, size: int) -> None:
        """Something followed the first answer: one of the two is none, or the two are parts of one."""
        record.odd_read(size)
        self._swarm.recorder.unused_bytes += size
        self._swarm.recorder.unexpected += 1
        # Parts do no harm where nothing more is asked.
        if self._told or self._swarm.tuning.lifetime != 1:
            self._unproved = None
            self._refuse(f"{size:,} B more behind the first answer: {MORE}")

    def disbelieve(self) -> None:
        """Others have got something unasked at the time of the first answer, which is none."""
        if self._unproved is not None:
            self._unproved = None
            self._refuse("others got something before they asked: servers that speak first are not supported")

    def believe(self) -> float:
        """Count the first answer, behind which nothing has followed; return how long was listened."""
        self.outdate()
        if self._unproved is None:
            return 0.0
        (now, frame), self._unproved = self._unproved, None
        assert self.record is not None
        recorder = self._swarm.recorder
        fault = self._swarm.dialogue.fault_of(frame.wire)
        if not fault:
            self.record.odd_frames(1)
            recorder.unused_bytes -= len(frame.wire)
        recorder.torn += bool(frame.reads)
        listened_s = perf_counter() - now
        self._swarm.idle.add(listened_s)
        self._take_answer(now, clip(frame.wire, frame.reads), fault)
        return listened_s

    def _set_aside(self, messages: int) -> str:
        """Pass over so many messages that answer nothing, or return what is wrong with them."""
        if self._swarm.dialogue.unasked == FAULT:
            return f"{messages:,} messages that answer nothing: --unasked"
        self._pass_over(messages)
        return ""

    def _pass_over(self, messages: int) -> None:
        """Count messages that nobody asked for, unless they are to be ignored."""
        if self._swarm.dialogue.unasked == COUNT:
            self._swarm.recorder.unexpected += messages
        # One that has begun stands before the next answer, which is not told by a comparison then.
        self._whole = None
        self._answers.clear()

    def _judge(self, frames: list[Frame], passed: int) -> tuple[int, str]:
        """Return how many of ``frames`` are the answers that are due, and what is wrong with what follows,
        which is so many frames more."""
        due, wants_echo = self.under_way, self._swarm.dialogue.wants_echo
        for index, frame in enumerate(frames):
            asked = self._pipeline[index][1] if self._pipeline else self._wire
            if wants_echo and frame.wire != asked:
                return index, TWICE if frame.wire == self._former else NO_ECHO
            if index + 1 == due and (index + 1 < len(frames) or self._decoder.pending_bytes):
                if self._swarm.dialogue.unasked != FAULT:
                    self._pass_over(len(frames) - due + passed)
                    return due, ""
                if wants_echo and frames[-1].wire == asked and index + 1 < len(frames):
                    return index, TWICE
                return index, f"more than the answer: {'the server does not echo' if wants_echo else MORE}"
        return len(frames), ""

    def take_end(self) -> bool:
        """Take the end of the stream for that of the answer, where it is; return whether it was."""
        record, recorder = self.record, self._swarm.recorder
        if record is None or not self._sent_s or self._closing or self.truncated:
            return False
        if (frame := self._decoder.end()) is None:
            return False
        # Depth 1: who asks for such answers cannot ask for several.
        kept = clip(frame.wire, frame.reads)
        if fault := self._swarm.dialogue.fault_of(frame.wire):
            self._reject(self._sent_s, perf_counter(), record, self._kept, kept, fault, self._waited_s)
        else:
            now = perf_counter()
            self._on_exchange((self._sent_s, now, record, self._kept, kept))
            if self._waited_s:
                self._on_waited((self._sent_s, now, self._waited_s))
            record.odd_frames(1)
            recorder.unused_bytes -= len(frame.wire)
        self._sent_s = 0.0
        recorder.torn += torn_and_merged([frame], 0)[0]
        return True

    def _instead(self, outcome: str) -> Unfinished:
        """Return what came for the oldest request under way: the beginning of an answer, perhaps."""
        part = self._decoder.pending
        if outcome == "garbage" or not part.wire:
            return Unfinished(outcome)
        return Unfinished("short", clip(part.wire, part.reads))

    @property
    def unfinished_bytes(self) -> int:
        """Bytes of an answer that is not whole."""
        return self._decoder.pending_bytes

    def _refuse(self, why: str) -> None:
        """What came is no answer: whatever is under way has failed, and the connection is given up."""
        if self._swarm.opening.first is self._client and self.record is not None:
            self._swarm.opening.heard(perf_counter() - self.record.opened_s)
        self._swarm.recorder.errors += self.give_up("garbage")
        self._client.leave(CloseReason.GARBAGE, why)
