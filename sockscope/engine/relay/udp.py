"""The datagrams of a relay: a socket for all clients, and for each of them one that talks to the server.

Boundaries are kept, and so is who asked: what comes back to the socket of a client goes to that client.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterator
from functools import partial
from itertools import islice
from time import perf_counter
from typing import cast

from sockscope.core.addresses import Address, format_address
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.impairment.datagrams import Copies
from sockscope.core.run.client_states import NOT_SEEN_S, end_of
from sockscope.engine.addresses import both_ends, family_of, plain_address, socket_address
from sockscope.engine.options import receive_buffer, take_unread
from sockscope.engine.os_errors import close_reason, describe, has_no_room, listen_error
from sockscope.engine.relay.direction import Direction
from sockscope.engine.relay.forms import Datagrams
from sockscope.engine.relay.passage import Common, PassedEnds
from sockscope.engine.servers.accept_gate import AcceptGate
from sockscope.engine.servers.endpoint import Remote
from sockscope.engine.swarm.readiness import READ
from sockscope.engine.unix_sockets import bind_anywhere, remove_temporary

DATAGRAMS_PER_TURN = 32
"""Datagrams of clients that are read for one word of the readiness set, at most: about twice as many as have
come with the last one, so that one alone is read without a second look that finds nothing."""
RECEIVE_BUFFER_BYTES = 4 << 20
"""What is asked for (SO_RCVBUF), so that a burst is lost at the server, as without a relay, and not here."""
SILENCE_S = 30.0
"""A client that has been silent for so long is forgotten, and its socket closed."""
CROWDED_SILENCE_S = 1.0
"""The same while more than half of the clients that there may be are known."""
LOOK_S = 0.25
"""How often clients are looked at for that."""
LOOKED_AT_ONCE = 512
"""Clients whose receive buffers are looked at for one snapshot, with a system call each."""
FULL_QUEUE_S = 1e-3
"""How often a Unix socket is tried again whose queue is full: nothing tells when that has room."""
MOST_HELD = 65_536
MOST_HELD_BYTES = 64 << 20
"""Datagrams, and bytes of them, that wait in one direction until they are due; any more are lost."""
MOST_WAIT_S = 1.0
"""How long that may take; then its owner does not read."""


class Peer:
    """A client, by its address, and the socket through which the server hears of it."""

    __slots__ = (
        "_passage", "dropped", "ends", "file", "gone", "heard_s", "owed", "record", "remote", "send", "sock",
        "talk",
    )  # fmt: skip

    def __init__(
        self, passage: UdpPassage, sock: socket.socket, file: str, remote: Remote, record: ConnectionRecord
    ) -> None:
        self._passage = passage
        self.sock = sock
        self.send = sock.send
        self.file = file
        self.remote = remote
        self.record = record
        self.ends = PassedEnds(end_of(record.remote_address), end_of(record.local_address), NOT_SEEN_S)
        self.heard_s = 0.0
        self.owed = 0
        """How many datagrams more have gone to the server than have come back."""
        self.dropped = 0
        """What the kernel had dropped at the socket when it was looked at last."""
        self.gone = False
        overheard = passage.overheard
        self.talk = Datagrams(overheard, record) if overheard is not None else None

    def ready(self, _: int) -> None:
        """The server has answered."""
        self._passage.answered(self)


class UdpPassage:
    """A socket for datagrams and who has sent some there; ``most`` clients are known at a time."""

    def __init__(self, common: Common, address: Address, most: int) -> None:
        self._common = common
        self.overheard = common.overheard
        self._most = most
        self._peers: dict[Remote, Peer] = {}
        self._gate = AcceptGate(common.recorder)
        self._told: set[str] = set()
        self._sock = _bound(common, address)
        self._holds = self._sock.family is socket.AF_UNIX
        self._dropped = 0
        self._unseen: Iterator[Peer] = iter(())
        self._last_s = perf_counter()
        self._draining = self._closed = False
        self._at_once = DATAGRAMS_PER_TURN
        # Datagrams that wait for room in the queue of a Unix socket.
        self._waiting = 0
        # When what a fault holds back is to be looked at next.
        self._release_s = {common.up: math.inf, common.down: math.inf}
        self.address: Address = plain_address(self._sock.getsockname())
        common.readiness.add(self._sock, READ, self._asked)
        self._timer = common.loop.call_later(LOOK_S, self._look)

    # From clients to the server.

    def _asked(self, _: int) -> None:
        common, buffer, up = self._common, self._common.readiness.buffer, self._common.up
        recvfrom_into, peers = self._sock.recvfrom_into, self._peers
        most = self._at_once
        self._at_once = min(2 * most, DATAGRAMS_PER_TURN)
        for number in range(most):
            try:
                size, remote = recvfrom_into(buffer)
            except BlockingIOError:
                self._at_once = max(number, 1)
                return
            except OSError as error:
                self._tell(f"cannot read: {describe(error)}")
                return
            up.datagrams_in += 1
            up.bytes_in += size
            peer = peers.get(remote) or self._new(remote)
            if peer is None:
                up.declined += 1
                continue
            self._last_s = peer.heard_s = common.readiness.turn_s
            record = peer.record
            record.odd_reads += 1
            record.odd_bytes_in += size
            record.tally.changed = True
            peer.owed += 1
            if common.is_impaired:
                self._impair(up, peer, bytes(common.view[:size]))
            else:
                self._pass_up(peer, common.view[:size], common.readiness.turn_s)
            if self._closed:
                return

    def _pass_up(self, peer: Peer, data: bytes | memoryview, since_s: float) -> None:
        """Send a datagram on to the server; ``since_s`` is when it was ready to go."""
        up, is_impaired = self._common.up, self._common.is_impaired
        if peer.talk is not None:
            peer.talk.ask(data, 0.0 if is_impaired else since_s, perf_counter())
        try:
            try:
                peer.send(data)
            except ConnectionRefusedError:
                # The word of an earlier one: nobody listens there, or nobody did.
                self._common.recorder.refused += 1
                peer.send(data)
        except OSError as error:
            self._not_sent(peer, data, error, up)
            return
        up.datagrams_out += 1
        up.bytes_out += len(data)
        self._common.recorder.on_late_by(perf_counter() - since_s)

    # From the server to clients.

    def answered(self, peer: Peer) -> None:
        """Read what the server sent to a client, and pass it on."""
        common, down = self._common, self._common.down
        try:
            size = peer.sock.recv_into(common.readiness.buffer)
        except BlockingIOError:
            return
        except OSError as error:
            common.recorder.refused += isinstance(error, ConnectionRefusedError)
            return
        down.datagrams_in += 1
        down.bytes_in += size
        self._last_s = peer.heard_s = common.readiness.turn_s
        peer.owed -= 1
        view, talk = common.view[:size], peer.talk
        answered_s = perf_counter() if talk is not None else 0.0
        if common.is_impaired:
            if talk is not None:
                talk.answer(view, answered_s, 0.0)
            self._impair(down, peer, bytes(view))
            return
        self._pass_down(peer, view, common.readiness.turn_s)
        if talk is not None:
            talk.answer(view, answered_s, perf_counter())

    def _pass_down(self, peer: Peer, data: bytes | memoryview, since_s: float) -> None:
        """Send a datagram on to a client; ``since_s`` is when it was ready to go."""
        common, down = self._common, self._common.down
        try:
            self._sock.sendto(data, peer.remote)
        except (OSError, TypeError) as error:
            # TypeError: a client without a name, to which nothing can be sent.
            self._not_sent(peer, data, error, down)
            return
        down.datagrams_out += 1
        down.bytes_out += len(data)
        record = peer.record
        record.odd_writes += 1
        record.odd_bytes_out += len(data)
        record.tally.changed = True
        common.recorder.on_late_by(perf_counter() - since_s)

    # Faults.

    async def turn(self) -> None:
        """Go over to the faults that are on now; without any nothing is held back any longer."""
        for direction in (self._common.up, self._common.down):
            if not direction.faults:
                self._release(direction, math.inf)
        if not self._common.is_impaired:
            self._common.schedule.hasten()

    def _impair(self, direction: Direction, peer: Peer, data: bytes) -> None:
        """Let a datagram meet the faults of a direction."""
        now_s, impairer = perf_counter(), direction.datagrams
        self._hold(direction, peer, impairer.admit(now_s, data, peer), now_s)
        if (release_s := impairer.release_at_s) < self._release_s[direction]:
            self._release_s[direction] = release_s
            self._common.schedule.at(release_s, partial(self._release_due, direction))

    def _release_due(self, direction: Direction, _: float) -> None:
        self._release_s[direction] = math.inf
        self._release(direction, perf_counter())
        if (release_s := direction.datagrams.release_at_s) < math.inf:
            self._release_s[direction] = release_s
            self._common.schedule.at(release_s, partial(self._release_due, direction))

    def _release(self, direction: Direction, now_s: float) -> None:
        """Let go what no later datagram has overtaken."""
        for peer, copies in direction.datagrams.release(now_s):
            self._hold(direction, cast(Peer, peer), copies, perf_counter())

    def _hold(self, direction: Direction, peer: Peer, copies: Copies, now_s: float) -> None:
        """Send each copy when it is due."""
        for due_s, data in copies:
            if due_s <= now_s:
                self._pass(direction, peer, data, now_s)
            elif direction.held >= MOST_HELD or direction.held_bytes >= MOST_HELD_BYTES:
                direction.overflowed += 1
            else:
                direction.held += 1
                direction.held_bytes += len(data)
                self._common.schedule.at(due_s, partial(self._let_go, direction, peer, data))

    def _let_go(self, direction: Direction, peer: Peer, data: bytes, due_s: float) -> None:
        direction.held -= 1
        direction.held_bytes -= len(data)
        self._pass(direction, peer, data, due_s)

    def _pass(self, direction: Direction, peer: Peer, data: bytes, since_s: float) -> None:
        self._last_s = perf_counter()
        if peer.gone or self._closed:
            direction.undelivered += 1
        elif direction is self._common.up:
            self._pass_up(peer, data, since_s)
        else:
            self._pass_down(peer, data, since_s)

    # What cannot be sent.

    def _not_sent(
        self, peer: Peer, data: bytes | memoryview, error: OSError | TypeError, direction: Direction
    ) -> None:
        if self._holds and isinstance(error, OSError) and has_no_room(error):
            self._wait(peer, bytes(data), direction)
            return
        direction.unsent += 1
        if not (isinstance(error, OSError) and (has_no_room(error) or close_reason(error).is_fault)):
            self._tell(f"cannot pass a datagram on: {describe(error)}")

    def _wait(self, peer: Peer, data: bytes, direction: Direction) -> None:
        """Try again until the receiver has room; nobody else is read from meanwhile."""
        readiness, schedule = self._common.readiness, self._common.schedule
        until_s = perf_counter() + MOST_WAIT_S
        self._waiting += 1
        if self._waiting == 1:
            readiness.watch(self._sock, 0)
        readiness.watch(peer.sock, 0)
        direction.held += 1
        direction.held_bytes += len(data)

        def again(_: float) -> None:
            if self._closed or peer.gone:
                over(sent=False)
                return
            try:
                if direction is self._common.up:
                    peer.send(data)
                else:
                    self._sock.sendto(data, peer.remote)
            except OSError as error:
                if has_no_room(error) and perf_counter() < until_s:
                    schedule.at(perf_counter() + FULL_QUEUE_S, again)
                else:
                    over(sent=False)
                return
            over(sent=True)

        def over(*, sent: bool) -> None:
            direction.held -= 1
            direction.held_bytes -= len(data)
            direction.datagrams_out += sent
            direction.bytes_out += len(data) * sent
            direction.unsent += not sent
            if sent and direction is self._common.down:
                peer.record.odd_write(len(data), frames=0)
            self._waiting -= 1
            if not (self._waiting or self._closed):
                readiness.watch(self._sock, READ)
            if not (self._closed or peer.gone):
                readiness.watch(peer.sock, READ)

        schedule.at(perf_counter() + FULL_QUEUE_S, again)

    def _tell(self, text: str) -> None:
        """Write a fault into the log, once."""
        if text not in self._told:
            self._told.add(text)
            self._common.recorder.on_error(text)

    # Who is known.

    def _new(self, remote: Remote) -> Peer | None:
        """Return a peer for an address; None where there is no room for one more."""
        if self._draining or not self._has_room():
            return None
        common, target = self._common, self._common.targets[0]
        file = ""
        try:
            sock = socket.socket(family_of(target[0]), socket.SOCK_DGRAM)
        except OSError as error:
            self._gate.failed(error)
            return None
        try:
            sock.setblocking(False)
            if sock.family is socket.AF_UNIX:
                file = bind_anywhere(sock)  # answers go to a name
            sock.connect(socket_address(target))
            local, _ = both_ends(sock)
        except OSError as error:
            sock.close()
            remove_temporary(file)
            common.recorder.refused += close_reason(error) is CloseReason.REFUSED
            common.unreached += 1
            self._tell(f"cannot talk to {format_address(target)}: {describe(error)}")
            return None
        self._gate.accepted(sock.fileno())
        record = common.recorder.on_open("udp", local, plain_address(remote), common.generation)
        record.tap = common.name
        common.opened += 1
        peer = self._peers[remote] = Peer(self, sock, file, remote, record)
        common.readiness.add(sock, READ, peer.ready)
        return peer

    def _has_room(self) -> bool:
        if self._gate.why_not and self._gate.has_room():
            self._gate.open()
        if len(self._peers) < self._most and not self._gate.why_not:
            return True
        self._common.recorder.rejected += 1
        self._tell(self._gate.why_not or f"no more than {self._most:,} clients are known at a time")
        return False

    def _look(self) -> None:
        """Forget who has been silent for too long."""
        now_s = perf_counter()
        crowded = len(self._peers) * 2 > self._most or self._gate.why_not
        silence_s = CROWDED_SILENCE_S if crowded else SILENCE_S
        for peer in list(self._peers.values()):
            if now_s - peer.heard_s > silence_s:
                self._forget(peer, CloseReason.IDLE)
        self._timer = self._common.loop.call_later(LOOK_S, self._look)

    def _forget(self, peer: Peer, reason: CloseReason) -> None:
        common, down = self._common, self._common.down
        peer.gone = True
        if peer.talk is not None:
            peer.talk.end()
        del self._peers[peer.remote]
        self._look_at(peer)
        down.unread += sum(1 for _ in take_unread(peer.sock))
        common.readiness.remove(peer.sock)
        peer.sock.close()
        remove_temporary(peer.file)
        common.recorder.on_close(peer.record, reason)

    # From the relay.

    def drain(self) -> None:
        """Know nobody new, and pass on what still comes."""
        self._draining = True

    @property
    def drained(self) -> bool:
        """Whether nothing is on its way any more, as far as can be told: answers are not, or not in time."""
        if self._common.up.held or self._common.down.held:
            return False
        owing = any(peer.owed > 0 for peer in self._peers.values())
        silence_s = self._common.answer_s if owing else LOOK_S
        return perf_counter() - self._last_s > silence_s

    @property
    def open_connections(self) -> int:
        """Clients that are known here."""
        return len(self._peers)

    def ends(self) -> list[PassedEnds]:
        """Return the ends of the address pairs."""
        return [peer.ends for peer in self._peers.values()]

    @property
    def not_accepting(self) -> str:
        """Why nobody new is taken at the moment."""
        return self._gate.why_not

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return None: the kernel tells nothing of UDP by TCP_INFO."""
        return None

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Forget one client; if it sends again it is a new one."""
        found = next((peer for peer in self._peers.values() if peer.record.conn_id == conn_id), None)
        if found is not None:
            self._forget(found, reason)
        return found is not None

    def look_at_buffers(self) -> int:
        """Take up what the kernel has dropped at the sockets, of many at some; return what is unread."""
        if self._closed:
            return 0
        here = receive_buffer(self._sock)
        self._common.up.dropped += here.dropped - self._dropped
        self._dropped = here.dropped
        looked = list(islice(self._unseen, LOOKED_AT_ONCE))
        if len(looked) < LOOKED_AT_ONCE:
            self._unseen = iter(list(self._peers.values()))
            looked += islice(self._unseen, LOOKED_AT_ONCE - len(looked))
        return here.unread_bytes + sum(self._look_at(peer) for peer in dict.fromkeys(looked) if not peer.gone)

    def _look_at(self, peer: Peer) -> int:
        found = receive_buffer(peer.sock)
        self._common.down.dropped += found.dropped - peer.dropped
        peer.dropped = found.dropped
        return found.unread_bytes

    def close(self, reason: CloseReason) -> None:
        """Close everything now."""
        if self._closed:
            return
        self.look_at_buffers()
        for direction in (self._common.up, self._common.down):
            self._release(direction, math.inf)
        self._timer.cancel()
        self._closed = True
        for peer in list(self._peers.values()):
            self._forget(peer, reason)
        self._common.up.unread += sum(1 for _ in take_unread(self._sock))
        self._common.readiness.remove(self._sock)
        self._sock.close()


def _bound(common: Common, address: Address) -> socket.socket:
    """Return a socket for datagrams at an address; raises ListenError."""
    try:
        sock = socket.socket(family_of(address[0]), socket.SOCK_DGRAM)
    except OSError as error:
        raise listen_error(address, error, of_tap=common.overheard is not None) from error
    try:
        sock.setblocking(False)
        if sock.family is socket.AF_UNIX:
            common.files.bind(sock, address[0])
        else:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.bind(socket_address(address))
    except OSError as error:
        sock.close()
        raise listen_error(address, error, of_tap=common.overheard is not None) from error
    return sock
