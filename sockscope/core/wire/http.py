"""Where requests and answers of HTTP/1.1 end (RFC 9112, sections 3, 6 and 7).

Only what decides that is looked at: the method, the status, ``Content-Length`` and ``Transfer-Encoding``.
Whatever else is in a header is the affair of whoever sent it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator

from sockscope.core.wire.framing import MAX_FRAME_BYTES, FramingError
from sockscope.core.wire.octets import printable
from sockscope.core.wire.stepwise import REST, Line, Rest, Skip, Steps, Stepwise, Want

MAX_HEADER_BYTES = 64 << 10
"""Longest header, and longest trailer, with all its lines: 64 KiB."""
MAX_CHUNK_LINE_BYTES = 4 << 10
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})( [^\r\n]*)?\r?\n")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(;[^\r\n]*)?\r?\n")
_SWITCHING, _NO_CONTENT, _NOT_MODIFIED = 101, 204, 304
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ \r\n]+ HTTP/1\.[0-9]\r?\n")
_OF_HEADERS = ("request line", "status line", "header line")
MAX_REMEMBERED_BYTES = 4 << 10
"""Longest header that is remembered: 4 KiB."""
_MOST_AWAITED = 1_024
"""Requests of a connection whose answers have not begun; no more are told apart."""


class Upgraded(FramingError):
    """The connection goes over to another protocol (RFC 9110, section 7.8, and CONNECT).

    ``to`` is what it is called, if the answer says so (``websocket``), ``answers`` how many answers were
    completed by that, this one included, and ``rest`` what has come of the other protocol.
    """

    def __init__(self, to: str) -> None:
        super().__init__("the connection goes over to another protocol")
        self.to = to
        self.answers = 1
        self.rest = b""


class HttpDecoder(Stepwise):
    """One answer is a message; interim ones (1xx) belong to the answer that follows.

    ``without_body`` tells of the request under way that its answer has no content whatever its header says:
    it is a HEAD.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        super().__init__(limit)
        self.without_body = False
        # The last header that told the size of its answer, that size, and of which method it was.
        self._header, self._size, self._of_head = b"", 0, False
        self._header_bytes = 0

    def message(self) -> Steps:
        """Go through one answer."""
        self._header_bytes = 0
        status, lengths, codings, _ = yield from _final_head()
        steps = _content(status, lengths, codings, without_body=self.without_body)
        if not codings:
            self._header_bytes = self._done
        yield from steps

    def _frame_end(self, start: int, searched: int) -> int:
        """Most headers are those of the answer before: then its size is, too."""
        if self._steps is None and self._header and self._of_head is self.without_body:
            end = start + self._size
            if end <= len(self._held) and self._held.startswith(self._header, start):
                return end
        end = super()._frame_end(start, searched)
        if end and 0 < self._header_bytes <= MAX_REMEMBERED_BYTES:
            self._header = bytes(self._held[start : start + self._header_bytes])
            self._size, self._of_head = end - start, self.without_body
        return end


class HttpCount:
    """Counts the requests and the answers that go by at a server, and keeps no more of them than a line.

    Both raise FramingError where it is no HTTP/1.1, and where a connection goes over to another protocol.
    """

    def __init__(self) -> None:
        self._requests = _Messages(self._request, self._request_again)
        self._answers = _Messages(self._answer, self._answer_again)
        # The methods of requests whose answers have not begun, of the last request, and of the last answered.
        self._awaited: deque[bytes] = deque()
        self._method = self._answered = b""

    def requests(self, data: bytes) -> int:
        """Return how many requests ``data`` completes."""
        return self._requests.count(data)

    def answers(self, data: bytes) -> int:
        """Return how many answers ``data`` completes."""
        return self._answers.count(data)

    @property
    def is_within_request(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._requests.is_within

    def end(self) -> int:
        """The connection has ended: return how many answers that completes, which is one at most."""
        return self._answers.end()

    def _await(self, method: bytes) -> None:
        if len(self._awaited) == _MOST_AWAITED:
            raise FramingError(f"more than {_MOST_AWAITED:,} requests without an answer")
        self._awaited.append(method)

    def _request(self) -> Steps:
        line = yield Line("request line")
        while line in (b"\r\n", b"\n"):  # left over from the request before (section 2.2)
            line = yield Line("request line")
        if not (found := _REQUEST.fullmatch(line)):
            raise FramingError(f"not a request of HTTP/1.1: it begins with {_shown(line)}")
        # Its answer may begin before it has come to its end.
        self._method = found[1]
        self._await(self._method)
        lengths, codings, _ = yield from _header()
        if codings:
            yield from _chunks()
        elif lengths:
            yield Skip(_length(lengths), "Content-Length")

    def _request_again(self) -> bool:
        self._await(self._method)
        return True

    def _answer(self) -> Steps:
        status, lengths, codings, upgrade = yield from _final_head()
        self._answered = self._awaited.popleft() if self._awaited else b""
        if status == _SWITCHING or (self._answered == b"CONNECT" and status // 100 == 2):
            raise Upgraded(upgrade)
        yield from _content(status, lengths, codings, without_body=self._answered == b"HEAD")

    def _answer_again(self) -> bool:
        # To another method the same header may have no content.
        if not self._awaited or self._awaited[0] != self._answered:
            return False
        self._awaited.popleft()
        return True


class _Messages:
    """Counts the messages of one direction, each gone through by a fresh ``message()``.

    Most headers are like the one before. The last one is remembered, if it says the length of what follows,
    and ``again()`` tells whether it means the same once more.
    """

    def __init__(self, message: Callable[[], Steps], again: Callable[[], bool]) -> None:
        self._message = message
        self._again = again
        self._steps: Steps | None = None
        self._want: Want = REST
        self._line = b""
        self._left = 0
        # The header that is remembered, what follows it, and where in what is read another one begins.
        self._header, self._length = b"", 0
        self._begun = -1

    @property
    def is_within(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._steps is not None

    def count(self, data: bytes) -> int:
        """Return how many messages ``data`` completes; raises FramingError."""
        if self._is_again(data):
            return 1
        count = at = 0
        while at < len(data):
            if self._steps is None:
                self._steps, at = self._begin(data, at)
            piece, at = self._take(data, at)
            if piece is not None and not self._went_on(self._steps, piece, data, at, count):
                self._steps = None
                count += 1
        self._begun = -1
        return count

    def _went_on(self, steps: Steps, piece: bytes, data: bytes, at: int, count: int) -> bool:
        """Go on with a message, as :meth:`_goes_on` does; a change of protocol takes the rest with it."""
        try:
            return self._goes_on(steps, piece, data, at)
        except Upgraded as upgraded:
            self._steps = None
            upgraded.answers, upgraded.rest = count + 1, data[at:]
            raise

    def end(self) -> int:
        """The stream has ended: return how many messages that completes, which is one at most."""
        ends = self._steps is not None and isinstance(self._want, Rest)
        self._steps = None
        return int(ends)

    def _is_again(self, data: bytes) -> bool:
        """Tell whether ``data`` is one message whose header is the one that is remembered."""
        is_whole = self._steps is None and len(data) == len(self._header) + self._length
        return is_whole and bool(self._header) and data.startswith(self._header) and self._again()

    def _begin(self, data: bytes, at: int) -> tuple[Steps, int]:
        """Begin with a message; return its steps, and how far ``data`` is gone through by that."""
        if self._header and data.startswith(self._header, at) and self._again():
            steps, at = _sized(self._length), at + len(self._header)
        else:
            steps, self._header, self._begun = self._message(), b"", at
        self._go_to(next(steps))
        return steps, at

    def _goes_on(self, steps: Steps, piece: bytes, data: bytes, at: int) -> bool:
        """Give the message what it wanted, up to ``at`` in ``data``; tell whether it wants more."""
        try:
            self._go_to(steps.send(piece))
            if not (isinstance(self._want, Line) and self._want.name in _OF_HEADERS):
                is_sized = isinstance(self._want, Skip) and self._want.name == "Content-Length"
                self._remember(data, at if is_sized else -1)
            while isinstance(self._want, Skip) and not self._left:
                self._go_to(steps.send(b""))
        except StopIteration:
            self._remember(data, at)  # there was nothing but a header
            return False
        return True

    def _remember(self, data: bytes, end: int) -> None:
        """Remember the header that ends there, unless it is long or began in another read; -1: none."""
        if 0 <= self._begun < end <= self._begun + MAX_REMEMBERED_BYTES:
            self._header, self._length = data[self._begun : end], self._left
        self._begun = -1

    def _go_to(self, want: Want) -> None:
        self._want, self._line = want, b""
        self._left = want.size if isinstance(want, Skip) else 0

    def _take(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """Return what is wanted, None while it is not all there, and how far ``data`` is gone through."""
        match self._want:
            case Line(name, most_bytes):
                end = data.find(b"\n", at) + 1 or len(data)
                if len(self._line) + end - at > most_bytes:
                    raise FramingError(f"a {name} of more than {most_bytes:,} B")
                self._line += data[at:end]
                return (self._line if self._line.endswith(b"\n") else None), end
            case Skip():
                size = min(self._left, len(data) - at)
                self._left -= size
                return (None if self._left else b""), at + size
            case _:
                return None, len(data)


def _sized(size: int) -> Steps:
    yield Skip(size, "Content-Length")


def _final_head() -> Generator[Want, bytes, tuple[int, list[bytes], list[bytes], str]]:
    """Read to the end of the header of the answer that interim ones (1xx) precede; return what tells its end:
    status, lengths and transfer codings, and what it goes over to, if anything."""
    while True:
        status = _status((yield Line("status line")))
        lengths, codings, upgrade = yield from _header()
        if status // 100 != 1 or status == _SWITCHING:
            return status, lengths, codings, upgrade


def _content(status: int, lengths: list[bytes], codings: list[bytes], *, without_body: bool) -> Steps:
    """Go through what follows the header of an answer."""
    if without_body or status in (_SWITCHING, _NO_CONTENT, _NOT_MODIFIED):
        return
    if codings:
        if codings[-1] == b"chunked":
            yield from _chunks()
        else:
            yield REST
    elif lengths:
        yield Skip(_length(lengths), "Content-Length")
    else:
        yield REST


def _status(line: bytes) -> int:
    if not (found := _STATUS.fullmatch(line)):
        raise FramingError(f"not an answer of HTTP/1.1: it begins with {_shown(line)}")
    return int(found[1])


def _header() -> Generator[Want, bytes, tuple[list[bytes], list[bytes], str]]:
    """Read lines to the empty one; return the values of Content-Length, the transfer codings, and Upgrade."""
    upgrade = ""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    name, size = b"", 0
    while (line := (yield Line("header line", MAX_HEADER_BYTES))) not in (b"\r\n", b"\n"):
        size += len(line)
        if size > MAX_HEADER_BYTES:
            raise FramingError(f"a header of more than {MAX_HEADER_BYTES:,} B")
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if not (name and text.startswith((b" ", b"\t"))):  # else the field before goes on (section 5.2)
            name, colon, text = text.partition(b":")
            if not (colon and _NAME.fullmatch(name)):
                raise FramingError(f"no field of a header: {_shown(line)}")
            name = name.lower()
        if b"\r" in text:
            raise FramingError(f"a bare CR in a header: {_shown(line)}")
        if name == b"content-length":
            lengths += [value.strip(b" \t") for value in text.split(b",")]
        elif name == b"transfer-encoding":
            codings += [coding for value in text.split(b",") if (coding := value.strip(b" \t").lower())]
        elif name == b"upgrade":
            upgrade = text.strip(b" \t").lower().decode("latin-1")
    return lengths, codings, upgrade


def _length(values: list[bytes]) -> int:
    """Return the one length that ``values`` say; several that differ are a way to smuggle (section 6.3)."""
    if len(set(values)) > 1 or not re.fullmatch(rb"[0-9]{1,19}", values[0]):
        raise FramingError(f"no Content-Length: {_shown(b', '.join(values))}")
    return int(values[0])


def _chunks() -> Steps:
    while True:
        line = yield Line("chunk's line", MAX_CHUNK_LINE_BYTES)
        if not (found := _CHUNK.fullmatch(line)):
            raise FramingError(f"no size of a chunk: {_shown(line)}")
        if len(digits := found[1].lstrip(b"0")) > 16:
            raise FramingError("a chunk claims more than 2^64 B")
        if not digits:
            break
        yield Skip(int(digits, 16), "chunk")
        if (line := (yield Line("end of a chunk", MAX_CHUNK_LINE_BYTES))) not in (b"\r\n", b"\n"):
            raise FramingError(f"more than the chunk claims: {_shown(line)}")
    yield from _header()  # the trailer


def _shown(line: bytes) -> str:
    return repr(printable(line.rstrip(b"\r\n").decode("latin-1"), 40))
