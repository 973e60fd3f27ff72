"""Where a message of a websocket ends (RFC 6455, section 5)."""

from __future__ import annotations

from sockscope.core.wire.framing import MAX_FRAME_BYTES, FramingError
from sockscope.core.wire.stepwise import Part, Skip, Steps, Stepwise

_FINAL, _OPCODE, _CONTROL = 0x80, 0x0F, 0x08
_CONTINUATION, _CLOSE, _PING = 0, 8, 9
_MASKED = 0x80
_MASK_BYTES = 4
_MISTAKEN = {
    0: "a masked frame, as only a client sends them",
    _MASKED: "a frame that is not masked, as only a server sends them",
}
_EXTENDED_BYTES = {126: 2, 127: 8}
_MAX_CONTROL_BYTES = 125


def is_control(wire: bytes) -> bool:
    """Tell whether a message is a frame of control: a ping, a pong, or the word that its side closes."""
    return bool(wire[0] & _CONTROL)


class WebsocketDecoder(Stepwise):
    """A message is all its frames, and whatever control frames are between them.

    Those of a client are masked (section 5.3), those of a server never are.
    """

    has_asides = True

    def __init__(self, limit: int = MAX_FRAME_BYTES, *, of_client: bool = False) -> None:
        super().__init__(limit)
        self._masked = _MASKED if of_client else 0

    def is_aside(self, wire: bytes) -> bool:
        """Tell whether a message is a ping, or the word that its side closes: no answer to anything."""
        return wire[0] & _OPCODE in (_CLOSE, _PING)

    def message(self) -> Steps:
        """Go through one message."""
        begun = False
        while True:
            head, size = yield Part(2)
            if size & _MASKED != self._masked:
                raise FramingError(_MISTAKEN[self._masked])
            size &= ~_MASKED
            opcode, final = head & _OPCODE, head & _FINAL
            if more := _EXTENDED_BYTES.get(size, 0):
                size = int.from_bytes((yield Part(more)), "big")
            if opcode & _CONTROL:
                if not final or size > _MAX_CONTROL_BYTES:
                    raise FramingError(f"a control frame of {size:,} B, or a part of one")
            elif begun != (opcode == _CONTINUATION):
                raise FramingError(
                    "a message within another" if begun else "a part of a message that has not begun"
                )
            yield Skip(size + (_MASK_BYTES if self._masked else 0), "frame")
            if final and not (begun and opcode & _CONTROL):
                return
            begun = True
