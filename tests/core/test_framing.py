from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.wire.framing import (
    LENGTH_HEADER_BYTES,
    MAX_FRAME_BYTES,
    MOST_FRAMES,
    Decoder,
    Frame,
    FramingError,
    LengthDecoder,
    NewlineDecoder,
    UntilDecoder,
    decoder_for,
    encode,
)
from tests.each import each

FIXED = 7
FRAMINGS = ("length", "newline", "fixed")


def payloads_of(framing: str) -> st.SearchStrategy[list[bytes]]:
    least, most = (FIXED, FIXED) if framing == "fixed" else (0, 40)
    payload = st.binary(min_size=least, max_size=most)
    if framing == "newline":
        payload = payload.map(lambda data: data.replace(b"\n", b"."))
    return st.lists(payload, max_size=12)


@st.composite
def chunked_streams(draw: st.DrawFn) -> tuple[str, list[bytes], bytes, list[bytes]]:
    """A framing, whole frames, the beginning of one more, and all of it cut into reads."""
    framing = draw(st.sampled_from(FRAMINGS))
    frames = [encode(framing, payload) for payload in draw(payloads_of(framing))]
    begun = draw(payloads_of(framing).filter(bool).map(lambda p: encode(framing, p[0])))
    begun = begun[: draw(st.integers(0, len(begun) - 1))]
    stream = b"".join(frames) + begun
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return framing, frames, begun, reads


def feed_all(decoder: Decoder, reads: list[bytes]) -> list[Frame]:
    return [frame for read in reads for frame in decoder.feed(read)]


@given(chunked_streams())
def test_any_chunking_gives_the_same_frames_and_loses_no_byte(
    case: tuple[str, list[bytes], bytes, list[bytes]],
) -> None:
    framing, frames, begun, reads = case
    decoder = decoder_for(framing, FIXED)
    found = feed_all(decoder, reads)
    assert [frame.wire for frame in found] == frames
    assert decoder.pending_bytes == len(begun)


@given(chunked_streams())
def test_a_frame_tells_where_reads_ended_inside_it(
    case: tuple[str, list[bytes], bytes, list[bytes]],
) -> None:
    framing, frames, _, reads = case
    ends, position = set(), 0
    for read in reads:
        position += len(read)
        ends.add(position)
    found = feed_all(decoder_for(framing, FIXED), reads)
    start = 0
    for frame, wire in zip(found, frames, strict=True):
        inside = sorted(end - start for end in ends if start < end < start + len(wire))
        assert list(frame.reads) == inside
        start += len(wire)


@given(chunked_streams())
def test_what_is_held_and_what_was_returned_is_what_was_fed(
    case: tuple[str, list[bytes], bytes, list[bytes]],
) -> None:
    framing, _, _, reads = case
    decoder = decoder_for(framing, FIXED)
    fed = returned = 0
    for read in reads:
        fed += len(read)
        returned += sum(len(frame.wire) for frame in decoder.feed(read))
        assert returned + decoder.pending_bytes == fed


@each("framing", ["length", "newline", "fixed"])
def test_frames_are_given_a_bounded_number_at_a_time(framing: str) -> None:
    decoder = decoder_for(framing, 1)
    wire = encode(framing, b"" if framing != "fixed" else b"x")
    # The read that ends in the first frame ends in no other.
    assert decoder.feed(wire[:-1]) == []
    got = decoder.feed(wire[-1:] + wire * (2 * MOST_FRAMES + 4))
    assert len(got) == MOST_FRAMES
    held_back = decoder.more
    assert held_back
    # More is fed before the rest is taken.
    assert len(decoder.feed(wire[:1])) == MOST_FRAMES
    rest = decoder.feed(b"")
    held_back = decoder.more
    assert not held_back
    frames = [*got, *rest]
    assert {frame.wire for frame in frames} == {wire}
    assert len(rest) == 5 + (len(wire) == 1)
    assert [frame.reads for frame in frames if frame.reads] == [(len(wire) - 1,)] * (len(wire) > 1)
    assert decoder.pending_bytes == (1 if len(wire) > 1 else 0)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=10))
def test_none_takes_each_read_for_a_message(reads: list[bytes]) -> None:
    decoder = decoder_for("none", 3)
    assert [frame.wire for frame in feed_all(decoder, reads)] == reads
    assert decoder.feed(b"") == []
    assert decoder.pending_bytes == 0


def test_a_text_in_the_place_of_a_length_is_told() -> None:
    with pytest.raises(FramingError, match="a length was expected, but 'HTTP' came"):
        decoder_for("length", 0).feed(b"HTTP/1.1 400 Bad Request")


@each("claimed", [MAX_FRAME_BYTES + 1, 0xFFFF_FFFF])
def test_a_claim_over_the_limit_is_refused_as_soon_as_it_is_read(claimed: int) -> None:
    decoder = decoder_for("length", 0)
    header = claimed.to_bytes(LENGTH_HEADER_BYTES, "big")
    for byte in header[:-1]:
        assert decoder.feed(bytes([byte])) == []
    with pytest.raises(FramingError, match=f"{claimed:,} B"):
        decoder.feed(header[-1:])
    assert decoder.pending_bytes == LENGTH_HEADER_BYTES


@each(("framing", "fault"), [("length", b"\xff" * 5), ("newline", b"x" * (MAX_FRAME_BYTES + 1))])
@each("count", [1, MOST_FRAMES, MOST_FRAMES + 1])
def test_the_frames_before_a_fault_are_given_first(framing: str, fault: bytes, count: int) -> None:
    decoder = decoder_for(framing, 0)
    wire = encode(framing, b"one")
    found = decoder.feed(wire * count + fault)
    while len(found) < count:
        found += decoder.feed(b"")
    assert [frame.wire for frame in found] == [wire] * count
    there_is_more = decoder.more
    assert there_is_more
    with pytest.raises(FramingError):
        decoder.feed(b"")


def test_the_largest_frame_is_taken() -> None:
    wire = encode("length", bytes(MAX_FRAME_BYTES))
    assert decoder_for("length", 0).feed(wire) == [Frame(wire, ())]


def test_an_empty_frame_is_a_frame() -> None:
    assert decoder_for("length", 0).feed(encode("length", b"")) == [Frame(b"\0\0\0\0", ())]
    assert decoder_for("newline", 0).feed(b"\n") == [Frame(b"\n", ())]


@given(st.integers(0, 20), st.lists(st.integers(0, 22), max_size=3))
def test_the_limit_of_newline_does_not_depend_on_how_reads_cut(length: int, cuts: list[int]) -> None:
    limit = 10
    stream = b"x" * length + b"\n"
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[a:b] for a, b in pairwise(bounds)]
    decoder = NewlineDecoder(limit)
    if length > limit:
        with pytest.raises(FramingError, match="no newline within 10 B"):
            feed_all(decoder, reads)
    else:
        assert [frame.wire for frame in feed_all(decoder, reads)] == [stream]


@given(st.integers(0, 20))
def test_the_limit_of_length_counts_the_payload(length: int) -> None:
    decoder = LengthDecoder(10)
    wire = encode("length", b"x" * length)
    if length > 10:
        with pytest.raises(FramingError):
            decoder.feed(wire)
    else:
        assert decoder.feed(wire) == [Frame(wire, ())]


# What ends an answer by any bytes.


@st.composite
def ended_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes], bytes, list[bytes]]:
    """A terminator, whole messages that end with it, the beginning of one more, and all of it cut in reads.

    Few different bytes, so that the terminator begins often and in vain, across reads too.
    """
    alphabet = st.sampled_from(b"ab")
    until = bytes(draw(st.lists(alphabet, min_size=1, max_size=4)))
    stream = bytes(draw(st.lists(alphabet, max_size=60)))
    messages = []
    rest = stream
    while (found := rest.find(until)) >= 0:
        messages.append(rest[: found + len(until)])
        rest = rest[found + len(until) :]
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return until, messages, rest, reads


@given(ended_streams())
def test_a_terminator_is_found_however_reads_cut_it(
    case: tuple[bytes, list[bytes], bytes, list[bytes]],
) -> None:
    until, messages, rest, reads = case
    decoder = UntilDecoder(until)
    fed = returned = 0
    found = []
    for read in reads:
        fed += len(read)
        frames = decoder.feed(read)
        found += frames
        returned += sum(len(frame.wire) for frame in frames)
        assert returned + decoder.pending_bytes == fed
    assert [frame.wire for frame in found] == messages
    assert decoder.pending_bytes == len(rest)
    ends, position = set(), 0
    for read in reads:
        position += len(read)
        ends.add(position)
    start = 0
    for frame in found:
        inside = sorted(end - start for end in ends if start < end < start + len(frame.wire))
        assert list(frame.reads) == inside
        start += len(frame.wire)


@given(st.integers(0, 20), st.binary(min_size=1, max_size=3), st.lists(st.integers(0, 25), max_size=4))
def test_the_limit_of_a_terminator_does_not_depend_on_how_reads_cut(
    length: int, until: bytes, cuts: list[int]
) -> None:
    limit = 10
    filler = bytes([until[0] ^ 1])
    stream = filler * length + until
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[a:b] for a, b in pairwise(bounds)]
    decoder = UntilDecoder(until, limit)
    if stream.find(until) > limit:
        with pytest.raises(FramingError, match="within 10 B"):
            feed_all(decoder, reads)
        assert decoder.pending_bytes <= len(stream)
    else:
        assert feed_all(decoder, reads)[0].wire == stream[: stream.find(until) + len(until)]


def test_what_never_ends_is_given_up_and_names_what_was_missed() -> None:
    decoder = UntilDecoder(b"\r\n", 10)
    assert decoder.feed(b"x" * 11) == []  # the last byte may begin the terminator, had it been a return
    with pytest.raises(FramingError, match=r"no \\r\\n within 10 B"):
        decoder.feed(b"x")
