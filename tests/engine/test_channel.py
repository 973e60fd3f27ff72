"""What goes over the channel to a child process, and what happens when it is not what it should be."""

from __future__ import annotations

import pickle
import re
import socket
import struct

import pytest

import sockscope
from sockscope.engine.loops import attach
from sockscope.engine.placement.channel import (
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    Answer,
    Call,
    Channel,
    Exhausted,
    Message,
    check_hello,
    framed,
    hello,
    packed,
    receive,
    unpacked,
)
from sockscope.errors import (
    ConfigError,
    EngineError,
    FieldFault,
    ListenError,
    ResourceLimitError,
    SockscopeError,
    StateError,
)
from tests.waiting import until

ERRORS: list[SockscopeError] = [
    SockscopeError("something"),
    ConfigError([FieldFault("clients", 0, "is too few"), FieldFault("size", "x", "is no number")]),
    EngineError("it cannot be"),
    ListenError("127.0.0.1:80", PermissionError(13, "Permission denied"), "no permission"),
    ResourceLimitError("descriptors", 1024, "too many clients"),
    StateError("stopped", "start"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_it_was_raised(error: SockscopeError) -> None:
    answer = unpacked(receive_all(packed(Answer(7, error=error))))
    assert isinstance(answer, Answer)
    arrived = answer.error
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.exit_code == error.exit_code
    for name in ("faults", "address", "resource", "limit", "state", "operation", "advice"):
        assert getattr(arrived, name, None) == getattr(error, name, None)


def test_what_the_kernel_said_arrives_too() -> None:
    error = pickle.loads(pickle.dumps(ERRORS[3]))
    assert isinstance(error.os_error, PermissionError)
    assert error.os_error.errno == 13


def receive_all(wire: bytes) -> bytes:
    near, far = socket.socketpair()
    with near, far:
        near.sendall(wire)
        near.shutdown(socket.SHUT_WR)
        return receive(far)


def test_messages_that_are_cut_short_or_too_long_are_told() -> None:
    with pytest.raises(EngineError, match="closed the channel"):
        receive_all(packed(Exhausted("swarm", 0))[:-1])
    with pytest.raises(EngineError, match="garbage"):
        receive_all(struct.pack("!I", MAX_MESSAGE_BYTES + 1))
    with pytest.raises(EngineError, match="too large"):
        framed(bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        pickle.dumps({"number": 1}),
        pickle.dumps(Exhausted("swarm", 0))[:-3],
        b"\x80\x05c",
    ],
)
def test_a_frame_that_holds_no_message_is_garbage(payload: bytes) -> None:
    with pytest.raises(EngineError, match="garbage on the channel"):
        unpacked(payload)


def test_another_version_is_told_by_its_name() -> None:
    check_hello(hello())
    assert sockscope.__version__ in hello().decode()
    other = hello().replace(f"protocol {PROTOCOL}".encode(), b"protocol 4")
    with pytest.raises(EngineError, match=rf"protocol 4.*not.*protocol {PROTOCOL}.*start it again"):
        check_hello(other)
    with pytest.raises(EngineError) as told:
        check_hello(b"\x1b[31m\n" + bytes(1000))
    assert str(told.value).isprintable()


class End:
    """One end of a channel, and what it got."""

    def __init__(self, greeted: bool = False) -> None:
        self.got: list[Message] = []
        self.ended: list[str] = []
        self.channel = Channel(self.got.append, self.ended.append, greeted)


async def connected(far_is_channel: bool = True) -> tuple[End, End | socket.socket]:
    near_socket, far_socket = socket.socketpair()
    near_socket.setblocking(False)
    far_socket.setblocking(False)
    near = End()
    await attach(near_socket, near.channel)
    if not far_is_channel:
        return near, far_socket
    far = End()
    await attach(far_socket, far.channel)
    return near, far


async def test_messages_arrive_in_order_whatever_their_size() -> None:
    near, far = await connected()
    assert isinstance(far, End)
    for number in range(50):
        near.channel.send(Call(number, "server", "stop", (bytes(number * 5_000),)))
    far.channel.send(Exhausted("swarm", 0))
    await until(lambda: len(far.got) == 50 and near.got)
    assert [call.number for call in far.got if isinstance(call, Call)] == list(range(50))
    near.channel.close()
    await until(lambda: far.ended and near.ended)
    assert near.ended == far.ended == [""]
    near.channel.send(Exhausted("swarm", 0))


async def test_a_message_that_is_too_large_to_be_sent_soon_ends_the_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near, far = await connected()
    assert isinstance(far, End)
    near.channel.send_soon(Exhausted("swarm", 1))
    await until(lambda: far.got == [Exhausted("swarm", 1)])
    monkeypatch.setattr("sockscope.engine.placement.channel.MAX_MESSAGE_BYTES", 10)
    near.channel.send_soon(Exhausted("swarm", 2))
    await until(lambda: near.ended and far.ended)
    assert "too large" in near.ended[0]


def of_another_version(wire: bytes) -> bytes:
    return framed(b"sockscope child, protocol 99, version 9.9.9") + wire


@pytest.mark.parametrize(
    ("wire", "told"),
    [
        (of_another_version(packed(Exhausted("swarm", 0))), "protocol 99"),
        (framed(hello()) + framed(b"not a pickle"), "garbage"),
        (framed(hello()) + struct.pack("!I", MAX_MESSAGE_BYTES + 1) + b"x", "garbage"),
        (b"GET / HTTP/1.1\r\n\r\n", "garbage"),
    ],
    ids=["version", "garbage", "oversize", "another protocol"],
)
async def test_what_breaks_the_format_ends_the_channel_with_a_sentence(wire: bytes, told: str) -> None:
    near, far = await connected(far_is_channel=False)
    assert isinstance(far, socket.socket)
    with far:
        far.sendall(wire)
        await until(lambda: near.ended)
        assert near.got == []
        assert len(near.ended) == 1
        assert re.search(told, near.ended[0])
