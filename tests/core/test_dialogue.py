from __future__ import annotations

from sockscope.core.wire.dialogue import Dialogue
from sockscope.core.wire.ends import Size, Until
from sockscope.core.wire.framing import encode
from sockscope.core.wire.requests import Requests
from tests.each import each

ANSWER = b"+PONG\r\n"


def test_without_a_word_the_framing_tells_and_the_answer_is_the_request() -> None:
    dialogue = Dialogue()
    assert dialogue.wants_echo
    assert not dialogue.tells_ends
    wire = encode("length", ANSWER)
    assert [frame.wire for frame in dialogue.decoder("length", 0).feed(wire)] == [wire]
    assert [frame.wire for frame in dialogue.decoder("fixed", 3).feed(b"abcd")] == [b"abc"]


@each("dialogue", [Dialogue(end=Size(7)), Dialogue(end=Until(b"\r\n"))])
def test_where_the_end_is_told_the_framing_does_not_count(dialogue: Dialogue) -> None:
    assert dialogue.tells_ends
    assert not dialogue.wants_echo
    decoder = dialogue.decoder("length", 3)
    assert decoder.feed(ANSWER[:6]) == []
    assert [frame.wire for frame in decoder.feed(ANSWER[6:] + ANSWER)] == [ANSWER, ANSWER]


def test_a_request_alone_leaves_the_ends_to_the_framing() -> None:
    dialogue = Dialogue(Requests.of([b"PING"]))
    assert (dialogue.wants_echo, dialogue.tells_ends) == (False, False)
    assert [frame.wire for frame in dialogue.decoder("newline", 4).feed(ANSWER)] == [ANSWER]
