"""Who may ask a server that serves few connections at a time: the longest waiting, and nobody in vain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sockscope.engine.stopwatch import Stopwatch
from sockscope.engine.swarm.places import AT_ONCE, Places


class Soon:
    """The calls of a loop's next turn, made when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def __call__(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Guest:
    """A connection that notes that it goes in, and may leave at once then."""

    def __init__(self, places: Places, went_in: list[Guest], leaves: bool = False) -> None:
        self.places, self.went_in, self.leaves = places, went_in, leaves

    def go_in(self) -> None:
        self.went_in.append(self)
        if self.leaves:
            self.places.leave(self)


class PlacesMachine(RuleBasedStateMachine):
    """The places against a model: a queue, and who is in, served or not."""

    def __init__(self) -> None:
        super().__init__()
        self.soon = Soon()
        self.places = Places(self.soon)
        self.count = self.permits = 0
        self.queue: list[Guest] = []
        self.unserved: list[Guest] = []
        self.served: list[Guest] = []
        self.went_in: list[Guest] = []
        self.wait_s = 0.0

    def has_room(self) -> bool:
        if not self.count:
            return True
        most = max(self.count, self.permits)
        return len(self.served) < self.count and len(self.served) + len(self.unserved) < most

    def follow(self) -> None:
        """Those went in for whom there was room, in their order."""
        expected = []
        while self.queue and self.has_room():
            guest = self.queue.pop(0)
            expected.append(guest)
            if not guest.leaves:
                self.unserved.append(guest)
        assert self.went_in == expected
        self.went_in.clear()

    @rule(count=st.integers(0, 3), permits=st.integers(0, 5))
    def resize(self, count: int, permits: int) -> None:
        self.count, self.permits = count, permits
        self.places.resize(count, permits)
        self.follow()

    @rule(leaves=st.booleans())
    def enter(self, leaves: bool) -> None:
        guest = Guest(self.places, self.went_in, leaves)
        room = self.has_room()
        assert self.places.enter(guest) is room
        assert self.places.enter(guest) is room
        (self.unserved if room else self.queue).append(guest)

    @precondition(lambda self: self.unserved)
    @rule(data=st.data())
    def serve(self, data: st.DataObject) -> None:
        guest = data.draw(st.sampled_from(self.unserved))
        self.unserved.remove(guest)
        self.served.append(guest)
        self.places.serve(guest)

    @precondition(lambda self: self.queue + self.unserved + self.served)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        guest = data.draw(st.sampled_from(self.queue + self.unserved + self.served))
        for group in (self.queue, self.unserved, self.served):
            if guest in group:
                group.remove(guest)
        self.places.leave(guest)
        self.places.leave(guest)
        self.follow()

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.places.waiting == len(self.queue)
        assert self.places.wait_s >= self.wait_s
        self.wait_s = self.places.wait_s
        assert not self.soon.calls


TestPlaces = PlacesMachine.TestCase
TestPlaces.settings = settings(max_examples=50, stateful_step_count=40)


@pytest.mark.parametrize("leaves", [False, True])
def test_many_go_in_over_several_turns(leaves: bool) -> None:
    """Also those that leave as soon as they are in, and so make room for others."""
    soon, went_in = Soon(), list[Guest]()
    places = Places(soon)
    places.resize(1, 1)
    first = Guest(places, went_in)
    assert places.enter(first)
    guests = [Guest(places, went_in, leaves) for _ in range(2 * AT_ONCE + 5)]
    assert not any(places.enter(guest) for guest in guests)
    if leaves:
        places.leave(first)
    else:
        places.resize(0, 0)
    for turns in (1, 2, 3):
        # Who comes or goes meanwhile lets nobody overtake.
        places.leave(Guest(places, went_in))
        assert went_in == guests[: turns * AT_ONCE]
        soon.turn()
    assert (places.waiting, went_in, soon.calls) == (0, guests, [])


def test_connections_of_a_pool_are_no_clients() -> None:
    places = Places(Soon())
    places.resize(1, 1)
    assert [places.enter(Guest(places, [])) for _ in range(3)] == [True, False, False]
    places.resize(1, 1, pooled=True)
    told_s = places.wait_s
    assert told_s > 0
    assert (places.clients_waiting, places.waiting, places.wait_s) == (0, 2, told_s)
    places.resize(1, 1)
    assert places.clients_waiting == 2
    assert places.wait_s > told_s


def test_a_stopwatch_adds_up_what_is_over_and_what_goes_on() -> None:
    watch = Stopwatch()
    watch.begin(1.0)
    watch.begin(2.0)
    assert (watch.running, watch.total_s(4.0)) == (2, 5.0)
    watch.end(1.0, 5.0)
    assert (watch.running, watch.total_s(6.0)) == (1, 8.0)
    watch.end(2.0, 6.0)
    assert (watch.running, watch.total_s(100.0)) == (0, 8.0)


def test_a_stopwatch_counts_no_pause_and_nothing_that_is_skipped() -> None:
    watch = Stopwatch()
    early_s = watch.begin(1.0)
    watch.pause(2.0)
    watch.pause(3.0)
    late_s = watch.begin(5.0)
    assert watch.total_s(9.0) == 1.0
    watch.resume(10.0)
    watch.resume(11.0)
    assert watch.total_s(12.0) == 5.0
    watch.skip(1.5)
    watch.end(early_s, 12.0)
    watch.end(late_s, 12.5)
    assert (watch.running, watch.total_s(100.0)) == (0, 1.0 + 0.5 + 1.0)
