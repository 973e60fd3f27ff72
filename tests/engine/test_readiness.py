import asyncio
import os
import select
import socket
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sockscope.engine.os_errors import close_socket
from sockscope.engine.swarm import readiness as readiness_module
from sockscope.engine.swarm.readiness import EVENTS_PER_TURN, READ, WRITE, KqueuePoller, ReadinessSet
from tests.waiting import until

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    made = [socket.socketpair() for _ in range(3 * EVENTS_PER_TURN)]
    for pair in made:
        for sock in pair:
            sock.setblocking(False)
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


@pytest.fixture
async def readiness() -> Any:
    made = ReadinessSet(asyncio.get_running_loop())
    yield made
    made.close()


@pytest.mark.parametrize(("many", "bound"), [(1_000, EVENTS_PER_TURN), (10, EVENTS_PER_TURN // 2)])
async def test_a_turn_handles_a_bounded_number_and_nobody_starves(
    readiness: ReadinessSet, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, many: int, bound: int
) -> None:
    monkeypatch.setattr(readiness_module, "MANY", many)
    handled: Counter[int] = Counter()
    turns: list[int] = []
    for number, (ours, theirs) in enumerate(pairs):
        # Nobody reads: each stays ready, as the client of a saturated loop is ready again and again.
        readiness.add(ours, READ, lambda events, number=number: handled.update([number]))  # type: ignore[misc]
        theirs.send(b"x")
    before = 0
    while min((handled[number] for number in range(len(pairs))), default=0) < 2:
        await asyncio.sleep(0)
        turns.append(handled.total() - before)
        before = handled.total()
    assert max(turns) == bound
    assert max(handled.values()) - min(handled.values()) <= 1


async def test_what_was_removed_in_this_very_turn_is_not_called(
    readiness: ReadinessSet, pairs: list[Pair]
) -> None:
    (one, one_peer), (other, other_peer) = pairs[:2]
    called = []

    def remove_both(events: int) -> None:
        called.append(events)
        readiness.remove(one)
        readiness.remove(other)

    readiness.add(one, READ, remove_both)
    readiness.add(other, READ, remove_both)
    one_peer.send(b"x")
    other_peer.send(b"x")
    await until(lambda: called)
    for _ in range(10):
        await asyncio.sleep(0)
    assert called == [READ]
    assert len(readiness) == 0


async def test_a_socket_whose_descriptor_somebody_closed_can_be_removed_and_closed(
    readiness: ReadinessSet,
) -> None:
    (closed, replaced), (other, other_peer) = socket.socketpair(), socket.socketpair()
    for ours in (closed, replaced):
        readiness.add(ours, READ, lambda events: None)
        os.close(ours.fileno())
    # Its number belongs to another socket by now, as it does when a loop has accepted one meanwhile.
    os.dup2(other.fileno(), replaced.fileno())
    readiness.remove(replaced)
    readiness.remove(closed)
    assert len(readiness) == 0
    close_socket(closed)
    assert closed.fileno() == -1
    for sock in (replaced, other, other_peer):
        sock.close()


async def test_a_socket_is_told_of_what_it_is_watched_for(readiness: ReadinessSet, pairs: list[Pair]) -> None:
    ours, theirs = pairs[0]
    seen: list[int] = []
    readiness.add(ours, WRITE, seen.append)
    theirs.send(b"x")
    await until(lambda: seen)
    assert set(seen) == {WRITE}
    readiness.watch(ours, READ | WRITE)
    await until(lambda: READ | WRITE in seen)
    readiness.watch(ours, READ)
    seen.clear()
    await until(lambda: len(seen) >= 3)
    assert set(seen) == {READ}
    theirs.close()
    await until(lambda: any(events & ~(READ | WRITE) for events in seen), what="a hang-up")


async def test_a_closed_set_watches_nothing_and_can_be_filled_again(
    readiness: ReadinessSet, pairs: list[Pair]
) -> None:
    ours, theirs = pairs[0]
    seen: list[int] = []
    readiness.add(ours, READ, seen.append)
    readiness.close()
    theirs.send(b"x")
    for _ in range(10):
        await asyncio.sleep(0)
    assert not seen
    assert ours.recv(1) == b"x"
    readiness.add(ours, READ, seen.append)
    theirs.send(b"y")
    await until(lambda: seen)


class FakeKernel(SimpleNamespace):
    """The part of ``select`` that BSD has: what is asked of a kqueue, and answers to it."""

    KQ_EV_ADD, KQ_EV_DELETE, KQ_FILTER_READ, KQ_FILTER_WRITE = 1, 2, -1, -2

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.answers: list[Any] = []
        self.is_closed = False
        super().__init__(kqueue=lambda: self, kevent=lambda fd, kind, flags: (fd, kind, flags))

    def fileno(self) -> int:
        return 99

    def control(self, changes: Any, most: int, timeout: float | None = None) -> list[Any]:
        self.asked.extend(changes or [])
        return self.answers[:most]

    def close(self) -> None:
        self.is_closed = True


def test_a_kqueue_gets_the_difference_of_what_is_watched() -> None:
    kernel = FakeKernel()
    poller = KqueuePoller(kernel)
    assert poller.fileno() == 99
    poller.register(5, READ)
    poller.modify(5, READ | WRITE)
    poller.modify(5, READ | WRITE)
    poller.unregister(5)
    add, delete, read, write = 1, 2, -1, -2
    assert kernel.asked == [(5, read, add), (5, write, add), (5, read, delete), (5, write, delete)]
    kernel.answers = [SimpleNamespace(ident=5, filter=read), SimpleNamespace(ident=6, filter=write)]
    assert poller.poll(0, 1) == [(5, READ)]
    assert poller.poll(0, 9) == [(5, READ), (6, WRITE)]
    poller.close()
    assert kernel.is_closed


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="the bits are those of epoll")
def test_the_bits_are_those_of_epoll() -> None:
    assert (READ, WRITE) == (select.EPOLLIN, select.EPOLLOUT)
