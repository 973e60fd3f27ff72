"""Where a message of a websocket ends (RFC 6455, section 5)."""

from __future__ import annotations

from sockscope.core.wire.framing import MAX_FRAME_BYTES, FramingError
from sockscope.core.wire.stepwise import Part, Skip, Steps, Stepwise

_FINAL, _OPCODE, _CONTROL = 0x80, 0x0F, 0x08
_CONTINUATION, _CLOSE, _PING = 0, 8, 9
_MASKED = 0x80
_EXTENDED_BYTES = {126: 2, 127: 8}
_MAX_CONTROL_BYTES = 125


class WebsocketDecoder(Stepwise):
    """A message is all its frames, and whatever control frames are between them."""

    has_asides = True

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        super().__init__(limit)

    def is_aside(self, wire: bytes) -> bool:
        """Tell whether a message is a ping or the word that the server closes: no answer to anything."""
        return wire[0] & _OPCODE in (_CLOSE, _PING)

    def message(self) -> Steps:
        """Go through one message."""
        begun = False
        while True:
            head, size = yield Part(2)
            if size & _MASKED:
                raise FramingError("a masked frame, as only a client sends them")
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
            yield Skip(size, "frame")
            if final and not (begun and opcode & _CONTROL):
                return
            begun = True
