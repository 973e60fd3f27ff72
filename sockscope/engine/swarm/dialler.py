"""Who connects, when, and from where: the queue of clients without a connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import NamedTuple

from sockscope.core.addresses import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import QUIET_S
from sockscope.engine.swarm.client import Client, ClientState

MOST_CONNECTING = 1_024
"""Connections that are under way at once."""
CONNECTS_PER_TURN = 32
"""Connections that are begun in one turn of the loop, which spends about 0.07 ms on each end: enough to ramp
9,000 clients in two seconds on a busy loop, few enough to keep its turns short."""
GIVE_UP_S = 1.0
"""How long attempts that are given up may take to end."""
LAST_SOURCE = 254
"""Last octet of the last loopback address to connect from."""


class _Attempt(NamedTuple):
    """A client's way to a connection: where it connects now, from which address, and what is left to try."""

    target: Address
    source: str
    untried: tuple[Address, ...]


class Dialler:
    """Connects clients to ``target``, some in each turn of the loop.

    Where the target has several addresses a client tries them in turn, beginning with the one that led to a
    connection last; its attempt has failed only when none does.

    ``most_useful`` tells how many connections have a request to make.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, recorder: Recorder, most_useful: Callable[[], int | None]
    ) -> None:
        self._targets: tuple[Address, ...] = (("", 0),)
        # Which of them is tried first.
        self._first = 0
        self.source = ""
        """The address to connect from; empty: the kernel chooses."""
        self._loop = loop
        self._recorder = recorder
        self._most_useful = most_useful
        self._queue: deque[Client] = deque()
        self._connecting: dict[Client, _Attempt] = {}
        self._next_turn: asyncio.Handle | None = None
        self._held = self._on_hold = self._closed = False

    @property
    def connecting(self) -> int:
        """Clients that wait for a connection: it is under way, or will be as far as it is of use."""
        waiting, useful = len(self._queue) + len(self._connecting), self._most_useful()
        return waiting if useful is None else min(waiting, max(useful, len(self._connecting)))

    @property
    def target(self) -> Address:
        """The address that is tried first."""
        return self._targets[self._first]

    def aim(self, targets: tuple[Address, ...]) -> None:
        """Connect there from now on; every source address has all its ports there again."""
        if targets != self._targets:
            self._targets, self._first, self.source = targets, 0, ""

    def refused(self, remote: Address) -> None:
        """Nobody listens there, as an answer to a datagram said: begin with the next address."""
        if remote == self.target:
            self._first = (self._first + 1) % len(self._targets)

    def add(self, client: Client) -> None:
        """Queue a client up."""
        if not self._closed:
            self._queue.append(client)
            self.go_on()

    def requeue(self, clients: Iterable[Client]) -> None:
        """Have these clients in the queue and no others."""
        self._queue = deque(clients)
        self.go_on()

    def ended(self, client: Client, error: OSError | None) -> None:
        """An attempt is over: with a connection, with an error, or (with neither) given up."""
        attempt = self._connecting.pop(client, None)
        if error is None and client.record is not None and attempt is not None:
            self._first = self._targets.index(attempt.target) if attempt.target in self._targets else 0
        if error is not None and attempt is not None and self._try_next(client, attempt, error):
            return
        self.go_on()
        if error is not None:
            self._failed(client, error, attempt)
        elif client.record is None and client.retiring:
            client.stop(CloseReason.RETIRED)

    def stop(self) -> None:
        """Begin nothing more."""
        self._closed = True
        self._queue.clear()

    async def close(self) -> None:
        """Give up what is under way, too."""
        self.stop()
        for client in list(self._connecting):
            client.retiring = True
            client.link.give_up_connecting()
        deadline_s = perf_counter() + GIVE_UP_S
        while self._connecting and perf_counter() < deadline_s:
            await asyncio.sleep(0.001)

    async def hold(self, held: bool) -> None:
        """Begin nothing, and return when nothing is under way or after QUIET_S; or go on."""
        self._on_hold = held
        if not held:
            self.go_on()
            return
        deadline_s = perf_counter() + QUIET_S
        while self._connecting and perf_counter() < deadline_s:
            await asyncio.sleep(0.001)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Begin nothing until the block ends: meanwhile clients do not yet agree on target and transport."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.go_on()

    def go_on(self) -> None:
        """Begin connections in the next turns of the loop, as many as are of use by then."""
        if self._next_turn is None and self._queue and not self._closed:
            self._next_turn = self._loop.call_soon(self._connect_some)

    def _connect_some(self) -> None:
        self._next_turn = None
        left = CONNECTS_PER_TURN
        while self._queue and left and self._has_room:
            client = self._queue.popleft()
            if client.state is not ClientState.IDLE:
                continue
            left -= 1
            if client.retiring:
                # Since it was queued.
                client.stop(CloseReason.RETIRED)
                continue
            others = self._targets[self._first + 1 :] + self._targets[: self._first]
            self._connect(client, _Attempt(self.target, self.source, others))
        if self._has_room:
            self.go_on()

    def _connect(self, client: Client, attempt: _Attempt) -> None:
        self._connecting[client] = attempt
        try:
            client.connect(attempt.target)
        except Exception as error:  # noqa: BLE001  # a fault of ours: the run fails, and can still end
            del self._connecting[client]
            context = {"message": "a client failed to connect", "exception": error}
            self._loop.call_exception_handler(context)

    def _try_next(self, client: Client, attempt: _Attempt, error: OSError) -> bool:
        """Let a client try the next address of the target; False when there is none, or no use in it."""
        if not attempt.untried or client.retiring or self._closed or _is_out_of_ports(attempt.target, error):
            return False
        following, *untried = attempt.untried
        self._connect(client, _Attempt(following, attempt.source, tuple(untried)))
        return True

    @property
    def _has_room(self) -> bool:
        """Whether one more connection may be begun."""
        useful = self._most_useful()
        most = MOST_CONNECTING if useful is None else min(MOST_CONNECTING, useful)
        return len(self._connecting) < most and not (self._closed or self._held or self._on_hold)

    def _failed(self, client: Client, error: OSError, attempt: _Attempt | None) -> None:
        recorder = self._recorder
        reason = close_reason(error)
        target, source = (attempt.target, attempt.source) if attempt else (self.target, self.source)
        if _is_out_of_ports(target, error) and (source != self.source or self._another_source()):
            client.come_back()
            return
        if reason is CloseReason.REFUSED:
            recorder.refused += 1
        elif reason is CloseReason.TIMEOUT:
            recorder.connect_timeouts += 1
        elif reason is CloseReason.TLS:
            recorder.handshakes_failed += 1
        else:
            recorder.connect_failures += 1
            recorder.connects_without_port += error.errno == errno.EADDRNOTAVAIL
        text = "no connection in time" if reason is CloseReason.TIMEOUT else describe(error)
        recorder.on_error(text, address=format_address(target), reason=reason)
        client.lost(reason, text)

    def _another_source(self) -> bool:
        """Go over to the next loopback source address when this one's ephemeral ports are used up."""
        last = int(self.source.rpartition(".")[2]) if self.source else 1
        if last >= LAST_SOURCE:
            return False
        self.source = f"127.0.0.{last + 1}"
        return True


def _is_out_of_ports(target: Address, error: OSError) -> bool:
    """Tell whether a source address has no ephemeral port left, where there are others to connect from."""
    return error.errno == errno.EADDRNOTAVAIL and target[0].startswith("127.")
