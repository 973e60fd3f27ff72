"""Every end of an answer is found however the stream is cut, and hostile ones are faults of bounded cost."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from sockscope.core.wire.automaton import Automaton, UnsuitedError
from sockscope.core.wire.ends import (
    EofDecoder,
    LengthField,
    LengthFieldDecoder,
    UntilLineDecoder,
    parse_length_field,
)
from sockscope.core.wire.framing import Decoder, FramingError
from sockscope.core.wire.http import HttpDecoder
from sockscope.core.wire.patterns import SEARCHED_BYTES, parse_pattern
from sockscope.core.wire.resp import RespDecoder
from sockscope.core.wire.websocket import WebsocketDecoder
from tests.each import each

LIMIT = 4_096


def of_field(text: str) -> Callable[[], Decoder]:
    return lambda: LengthFieldDecoder(parse_length_field(text), LIMIT)


def of_line(text: str) -> Callable[[], Decoder]:
    return lambda: UntilLineDecoder(parse_pattern(text), LIMIT)


def http() -> Decoder:
    return HttpDecoder(LIMIT)


def resp() -> Decoder:
    return RespDecoder(LIMIT)


def websocket() -> Decoder:
    return WebsocketDecoder(LIMIT)


MESSAGES: list[tuple[Callable[[], Decoder], list[bytes]]] = [
    (of_field("0:4"), [b"\0\0\0\3abc", b"\0\0\0\0"]),
    (of_field("1:2:little+1"), [b"x\2\0ab!", b"y\0\0!"]),
    (of_field("0:2-2"), [b"\0\5abc", b"\0\2"]),
    (of_field("4:1+2"), [b"head\1a\r\n"]),
    (of_field("1:varint"), [b"\x20\x02\0\0", b"\x30\xc1\x02" + b"m" * 321, b"\xd0\0"]),
    (
        websocket,
        [
            b"\x81\5hello",
            b"\x82\x7e\1\0" + b"w" * 256,
            b"\x82\x7f\0\0\0\0\0\0\0\3abc",
            b"\x8a\0",
            b"\x89\4ping",
            b"\1\3Hel\x89\0\0\0\x80\2lo",
        ],
    ),
    (of_line(r"/^\d{3}( |$)/"), [b"220 ready\r\n", b"250-a\r\n250-250 b\r\n250 c\r\n", b"221\n"]),
    (of_line("/^end$/i"), [b"VALUE a 0 1\r\na\r\nEND\r\n", b"END\r\n"]),
    (
        http,
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\ncontent-length:  0 \r\nX: y\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 304 \r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.0 200\r\n"
            b"Content-Length: 2, 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;x=y\r\nhello\r\n0010\r\n"
            b"0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n",
            b"HTTP/1.1 200 OK\nX: a\n\tb\nContent-Length: 9\nTransfer-Encoding:\n chunked,\n\n1\nx\n0\n\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        ],
    ),
    (
        resp,
        [
            b"+PONG\r\n",
            b"-ERR unknown\r\n",
            b"$3\r\n\r\n\n\r\n",
            b"$-1\r\n",
            b"$12\nbare LF here\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"*3\r\n$1\r\na\r\n*1\r\n:7\r\n$-1\r\n",
            b"%1\r\n+a\r\n~2\r\n,1.5\r\n#t\r\n",
            b"|1\r\n+ttl\r\n:3\r\n*2\r\n_\r\n(12\r\n",
            b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n",
        ],
    ),
]


@st.composite
def streams(draw: st.DrawFn) -> tuple[Decoder, list[bytes], bytes, list[bytes]]:
    """A decoder, whole messages, the beginning of one more, and all of it cut into reads."""
    made, known = draw(st.sampled_from(MESSAGES))
    messages = draw(st.lists(st.sampled_from(known), max_size=6))
    begun = draw(st.sampled_from(known))
    begun = begun[: draw(st.integers(0, len(begun) - 1))]
    stream = b"".join(messages) + begun
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return made(), messages, begun, reads


@given(streams())
def test_any_chunking_gives_the_same_messages(
    case: tuple[Decoder, list[bytes], bytes, list[bytes]],
) -> None:
    decoder, messages, begun, reads = case
    found = [frame for read in reads for frame in decoder.feed(read)]
    assert [frame.wire for frame in found] == messages
    assert decoder.pending.wire == begun
    assert decoder.end() is None


@given(streams())
def test_a_read_too_much_at_a_time_is_given_later(
    case: tuple[Decoder, list[bytes], bytes, list[bytes]],
) -> None:
    decoder, messages, begun, _ = case
    stream = b"".join(messages) * 400 + begun
    found = decoder.feed(stream)
    while decoder.more:
        found += decoder.feed(b"")
    assert [frame.wire for frame in found] == messages * 400


HOSTILE = [
    (of_field("0:4"), b"\xff\xff\xff\xff", "claims 4,294,967,299 B; at most 4,096 B"),
    (of_field("0:2-2"), b"\0\1", "less than what comes before its end"),
    (of_field("0:varint"), b"\xff\xff\xff\xff", "more than four bytes"),
    (websocket, b"\x81\x7f" + b"\xff" * 8, "a frame claims more than 2^63 B"),
    (websocket, b"\x81\x7f" + b"\x7f" * 8, "a frame claims 9,187,201,950,435,737,471 B"),
    (websocket, b"\x81\x81mask!", "a masked frame"),
    (websocket, b"\x89\x7e\1\0", "a control frame of 256 B"),
    (websocket, b"\x09\0", "a control frame of 0 B, or a part of one"),
    (websocket, b"\x80\0", "a part of a message that has not begun"),
    (websocket, b"\1\0\x81\0", "a message within another"),
    (websocket, b"\1\0" + b"\0\0" * 3_000, "at most 4,096 B"),
    (of_line("/^never$/"), b"line\n" * 1_000, "no end within 4,096 B"),
    (of_line("/^never$/"), b"l" * 5_000, "no end within 4,096 B"),
    (http, b"SSH-2.0-OpenSSH\r\n", "not an answer of HTTP/1.1"),
    (http, b"HTTP/2 200\r\n", "not an answer of HTTP/1.1"),
    (http, b"HTTP/1.1 200\r\nno field\r\n", "no field of a header: 'no field'"),
    (http, b"HTTP/1.1 200\r\n" + b"a: b\r\n" * 1_000, "no end within 4,096 B"),
    (http, b"HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "no Content-Length: '5, 6'"),
    (http, b"HTTP/1.1 200\r\nContent-Length: -1\r\n\r\n", "no Content-Length: '-1'"),
    (http, b"HTTP/1.1 200\r\nContent-Length: 9999999999999999999\r\n\r\n", "claims more than 2^63 B"),
    (
        http,
        b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n8000000000000000\r\n",
        "claims more than 2^63 B",
    ),
    (http, b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 17 + b"\r\n", "more than 2^64 B"),
    (http, b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "no size of a chunk: 'xyz'"),
    (http, b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "more than the chunk claims"),
    (http, b"HTTP/1.1 200\r\nA:" + b" " * 4_000 + b"\r\r\n", "a bare CR in a header: 'A: "),
    (http, b"HTTP/1.1 200\r\n folded: 1\r\n", "no field of a header: ' folded: 1'"),
    (http, b"HTTP/1.1 200\r\nContent-Length: 5\r\n 6\r\n\r\n", "no Content-Length: '5, 6'"),
    *(
        (http, b"HTTP/1.1 200\r\nContent-Length: " + size + b"\r\n\r\n", "no Content-Length")
        for size in (b"+5", b"0x5", b"5_0", b"5 6", b"5,", b"", b"\xb2", b"9" * 20)
    ),
    *(
        (http, b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n", "no size of a chunk")
        for size in (b"+5", b"-5", b"0x5", b"5_0", b"", b";x", b"5 6")
    ),
    (
        http,
        b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 4_096,
        "a chunk's line of more than",
    ),
    (resp, b"\x1b[2J\r\n", r"no value of RESP: '\x1b[2J'"),
    (resp, b"$9999999999\r\n", "a bulk string claims 9,999,999,999 B"),
    (resp, b"$1\r\nabc", "longer than it says"),
    (resp, b"*1000000000\r\n", "1,000,000,000 values in one"),
    (resp, b"*1300\r\n" * 2, "1,300 values in one"),
    (resp, b"\r\n", "no value of RESP"),
]


def bytewise(decoder: Decoder, stream: bytes) -> None:
    for at in range(len(stream)):
        decoder.feed(stream[at : at + 1])


@each(("made", "stream", "why"), HOSTILE)
def test_hostile_answers_are_faults(made: Callable[[], Decoder], stream: bytes, why: str) -> None:
    with pytest.raises(FramingError, match=re.escape(why)):
        made().feed(stream)
    for known in [known for maker, messages in MESSAGES if maker is made for known in messages][:1]:
        decoder = made()
        assert [frame.wire for frame in decoder.feed(known + stream)] == [known]
        with pytest.raises(FramingError):
            decoder.feed(b"")
    by_byte = made()
    with pytest.raises(FramingError):
        bytewise(by_byte, stream)
    assert by_byte.pending_bytes <= LIMIT + 1


@each(
    ("decoder", "stream"),
    [
        (EofDecoder(LIMIT), b"all of it\n"),
        (http(), b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
        (http(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end"),
    ],
)
def test_what_goes_on_until_the_stream_ends_is_whole_then(decoder: Decoder, stream: bytes) -> None:
    assert decoder.feed(stream[:20]) + decoder.feed(stream[20:]) == []
    frame = decoder.end()
    assert frame is not None
    assert (frame.wire, frame.reads) == (stream, (20,) if len(stream) > 20 else ())
    assert (decoder.pending_bytes, decoder.end()) == (0, None)


@each(
    ("decoder", "stream", "asides"),
    [
        (resp(), b">1\r\n+moved\r\n*1\r\n+moved\r\n", [True, False]),
        (websocket(), b"\x89\0\x88\2\3\xe8\x8a\0\1\1a\x89\0\x80\1b", [True, True, False, False]),
        (http(), b"HTTP/1.1 204\r\n\r\n", [False]),
    ],
)
def test_what_the_protocol_calls_no_answer_is_set_aside(
    decoder: Decoder, stream: bytes, asides: list[bool]
) -> None:
    assert [decoder.is_aside(frame.wire) for frame in decoder.feed(stream)] == asides


def test_an_answer_may_be_nested_deeper_than_calls() -> None:
    nested = b"*1\r\n" * 40_000 + b"+deep\r\n"
    decoder = RespDecoder()
    assert decoder.feed(nested[:12_345]) == []
    assert [len(frame.wire) for frame in decoder.feed(nested[12_345:])] == [len(nested)]


def test_the_answer_of_a_head_request_has_no_body() -> None:
    decoder = HttpDecoder(LIMIT)
    decoder.without_body = True
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert [frame.wire for frame in decoder.feed(answer * 2)] == [answer] * 2
    decoder.without_body = False
    assert [frame.wire for frame in decoder.feed((answer + b"hello") * 2 + answer)] == [answer + b"hello"] * 2
    assert decoder.pending.wire == answer


@each(
    ("text", "field"),
    [
        ("0:4", LengthField(0, 4)),
        ("12:2:little+8", LengthField(12, 2, True, 8)),
        ("0:8-8", LengthField(0, 8, False, -8)),
        ("1:varint", LengthField(1, "varint")),
    ],
)
def test_length_fields_are_read(text: str, field: LengthField) -> None:
    assert parse_length_field(text) == field


@each(
    ("text", "why"),
    [
        ("", "is not offset:size"),
        ("4", "it ends too early"),
        ("-1:4", "wrong from character 1 on"),
        ("0:0", "a field of 0 B; 1 to 8"),
        ("0:9", "a field of 9 B; 1 to 8"),
        ("0:4:big", "wrong from character 4 on (':big')"),
        ("0:4+", "wrong from character 4 on ('+')"),
        ("99999:2", "99,999 B from the beginning"),
        ("0:varint:little", "is little-endian, which a varint is not"),
        ("0:4+99999999999", "more than its field says"),
    ],
)
def test_what_is_no_length_field_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_length_field(text)


@each(
    ("text", "why"),
    [
        ("", "an empty pattern"),
        ("//", "an empty pattern"),
        ("/a(b/", "missing ), unterminated subpattern at character 3"),
        ("/a$/m", "has the flags 'm'; only i is known"),
        ("[a", "unterminated character set at character 1"),
        ("/\udcff/", "is not UTF-8"),
        ("a" * 1_025, "longer than 1,024"),
        (
            r"/(a+)\1/",
            "could take minutes to search for: it can match in very many ways, and looks ahead or back, "
            "or is possessive at character 6",
        ),
        ("/(?=x)(a|aa)*b/", "or is possessive at character 2"),
        (
            "/(a{0,31}b){31}/",
            "could take minutes to search for: with its repeats written out it has more than",
        ),
    ],
)
def test_what_is_no_pattern_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_pattern(text)


def test_a_pattern_is_one_of_bytes() -> None:
    assert parse_pattern("/^ok\\x00/I".lower()).is_in(b"OK\0")
    assert parse_pattern("a/b").is_in(b"a/b")


_LEAVES = ["a", "b", ".", "[^a]", "[a-b\\n]", r"\w", r"\W", "\\n", "^", "$", r"\b", r"\B", r"\A", r"\Z",
           "(?i:B)", "(?m:^)", "(?m:$)", "(?s:.)"]  # fmt: skip
_REPEATS = ["*", "+?", "?", "{2}", "{1,3}", "{0,20}"]
written = st.recursive(
    st.sampled_from(_LEAVES),
    lambda parts: st.one_of(
        st.lists(parts, min_size=2, max_size=3).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda several: f"(?:{'|'.join(several)})"),
        st.tuples(parts, st.sampled_from(_REPEATS)).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=5,
)


@given(written, st.text("abAx\n", min_size=1, max_size=8).map(str.encode))
@example("(?:a|b|)$", b"x\n")
def test_an_automaton_finds_what_re_finds(text: str, data: bytes) -> None:
    pattern = re.compile(text.encode())
    try:
        automaton = Automaton(pattern)
    except UnsuitedError:
        reject()
    assert automaton.is_in(data) == bool(pattern.search(data))


@each(
    ("text", "bytes_"),
    [
        ("/(a+)+$/", b"a" * 65_535 + b"!"),
        (r"/^(\w+\s?)+$/", b"a b c d " * 8_000 + b"!"),
        ("/a.*b.*c/", b"ab" * 32_768),
        ("/^(a|aa|b)*$/i", b"aB" * 32_767 + b"x"),
        ("/(a{0,9}){9}b/", b"a" * 65_536),
        ("/(){4294967294}(a+)+b/", b"a" * 65_536),
    ],
)
def test_no_answer_makes_a_search_take_long(text: str, bytes_: bytes) -> None:
    # Python's own search would not end in the time of anybody alive, or take half a minute.
    assert not parse_pattern(text).is_in(bytes_)


def test_the_first_bytes_alone_are_searched() -> None:
    pattern = parse_pattern("/x$/")
    assert pattern.is_in(b" " * (SEARCHED_BYTES - 1) + b"xy")
    assert not pattern.is_in(b" " * SEARCHED_BYTES + b"x")
