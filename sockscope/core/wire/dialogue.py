"""What clients send, and how they know that an answer is whole."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.wire.ends import End, IdField
from sockscope.core.wire.framing import Decoder, FixedDecoder, UntilDecoder, decoder_for, encode
from sockscope.core.wire.octets import format_octets, printable
from sockscope.core.wire.patterns import Pattern
from sockscope.core.wire.prologue import MAX_GREETING_BYTES, Prologue, Step
from sockscope.core.wire.requests import Requests

FAULT, COUNT, IGNORE = "fault", "count", "ignore"
SHOWN_BYTES, SHOWN = 64, 48
"""How much is shown of an answer that is not accepted: bytes of its first line, characters."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The part of an experiment that says how a server is spoken to.

    ``requests`` are what clients ask; None: filler that tells them apart. ``end``
    tells when an answer is whole; without one the framing tells, and with the framing ``none`` the size of
    the request, if the answer is the request again. A whole answer in which ``accept`` is not found, or
    ``reject`` is, is no good one.

    On a new connection the server first says something that ends with ``greeting``, if that is not empty.
    Then each of ``preambles`` is sent, and its answer awaited, which ends with ``preamble_until`` or as
    others do. ``unasked`` tells what becomes of data that nobody asked for: a :data:`FAULT` ends the
    connection, else it is counted, or not even that (:data:`IGNORE`).

    Over UDP ``id_field`` tells which request a datagram answers; without it whatever comes is the answer.
    """

    requests: Requests | None = None
    end: End | None = None
    accept: Pattern | None = None
    reject: Pattern | None = None
    greeting: bytes = b""
    preambles: tuple[bytes, ...] = ()
    preamble_until: bytes = b""
    unasked: str = FAULT
    id_field: IdField | None = None

    @property
    def tells_ends(self) -> bool:
        """Whether the end of an answer is told here and not by the framing."""
        return self.end is not None

    @property
    def wants_echo(self) -> bool:
        """Whether an answer must be the request again; else any whole answer is one."""
        return not (self.requests or self.tells_ends)

    @property
    def is_mistakable(self) -> bool:
        """Whether what a server says unasked could be taken for an answer."""
        return not (self.wants_echo or self.greeting) and self.unasked == FAULT

    @property
    def varies(self) -> bool:
        """Whether a client asks one thing now and another next."""
        return self.requests is not None and not self.requests.is_one

    def fault_of(self, answer: bytes) -> str:
        """Return why a whole answer is not accepted, or nothing."""
        if self.accept is not None and not self.accept.is_in(answer):
            return f"--accept does not take {_beginning(answer)}"
        return self.refusal_in(answer)

    def refusal_in(self, answer: bytes) -> str:
        """Return that an answer is to be rejected, or nothing; one to a preamble may be, too."""
        if self.reject is not None and self.reject.is_in(answer):
            return f"--reject names {_beginning(answer)}"
        return ""

    def framing_name(self, framing: str) -> str:
        """Return how answers are told apart, in a few words: the framing's name where it tells."""
        return framing if self.end is None else self.end.name

    def prologue(self, framing: str) -> Prologue | None:
        """Return a fresh prologue, if a connection has one."""
        steps = []
        if self.greeting:
            ending = f"the greeting, which ends with {format_octets(self.greeting)}"
            steps.append(Step(b"", UntilDecoder(self.greeting, MAX_GREETING_BYTES), ending))
        for preamble in self.preambles:
            ends = UntilDecoder(self.preamble_until) if self.preamble_until else self.decoder(framing, 0)
            steps.append(
                Step(encode(framing, preamble), ends, f"the answer to the preamble {_beginning(preamble)}")
            )
        return Prologue(steps) if steps else None

    def decoder(self, framing: str, request_bytes: int) -> Decoder:
        """Return a fresh decoder of answers; ``request_bytes`` is the size of a ``fixed`` frame."""
        if self.end is not None:
            return self.end.decoder()
        if framing == "none" and self.wants_echo:
            # The framing does not tell, but who has asked knows how much comes back.
            return FixedDecoder(request_bytes)
        return decoder_for(framing, request_bytes)


def _beginning(message: bytes) -> str:
    """Return the first line of a message as a request is written."""
    part = message[:SHOWN_BYTES]
    return printable(format_octets(part.split(b"\n", 1)[0].rstrip(b"\r") or part), SHOWN)
