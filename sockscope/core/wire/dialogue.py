"""What clients send, and how they know that an answer is whole."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.wire.framing import Decoder, FixedDecoder, UntilDecoder, decoder_for
from sockscope.core.wire.octets import format_octets


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The part of an experiment that says how a server is spoken to.

    ``request`` are the bytes that each request carries; empty: filler that tells the clients apart. An answer
    is whole after ``expect_bytes``, or with the bytes ``until``; where both are empty the framing tells, and
    with the framing ``none`` the size of the request, if the answer is the request again.
    """

    request: bytes = b""
    expect_bytes: int = 0
    until: bytes = b""

    @property
    def tells_ends(self) -> bool:
        """Whether the end of an answer is told here and not by the framing."""
        return bool(self.expect_bytes or self.until)

    @property
    def wants_echo(self) -> bool:
        """Whether an answer must be the request again; else any whole answer is one."""
        return not (self.request or self.tells_ends)

    def framing_name(self, framing: str) -> str:
        """Return how answers are told apart, in a few words: the framing's name where it tells."""
        if self.until:
            return f"until {format_octets(self.until)}"
        return f"of {self.expect_bytes:,} B" if self.expect_bytes else framing

    def decoder(self, framing: str, request_bytes: int) -> Decoder:
        """Return a fresh decoder of answers; ``request_bytes`` is the size of a ``fixed`` frame."""
        if self.until:
            return UntilDecoder(self.until)
        if self.expect_bytes:
            return FixedDecoder(self.expect_bytes)
        if framing == "none" and self.wants_echo:
            # The framing does not tell, but who has asked knows how much comes back.
            return FixedDecoder(request_bytes)
        return decoder_for(framing, request_bytes)
