"""The peers of a UDP server. A "connection" is a remote address; it is closed when nothing came from it for a
while, since UDP does not say goodbye.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from time import perf_counter

from sockscope.core.addresses import Address, format_address, is_unix
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.wire.sequence import SequenceTracker
from sockscope.engine.addresses import aim, is_here, plain_address
from sockscope.engine.recorder import Recorder
from sockscope.engine.servers.endpoint import Remote, SequenceCounts, ServerContext
from sockscope.engine.threads import ThreadRecorder

PEER_SILENCE_S = 30.0
"""Without an idle timeout of the experiment, a peer is forgotten after this much silence."""
CROWDED_SILENCE_S = 1.0
"""The same while more than half of the connections that may be are remembered."""
WATCH_S = 0.5
"""Longest time between two looks for silent peers."""
SETTLE_S = 0.49
"""Shortest time after which a number that is missing still is called lost: a look may come a little early."""
_is_here = lru_cache(maxsize=256)(is_here)


class UdpPeer:
    """One remote address and what came from it; ``gone`` when it has been forgotten."""

    __slots__ = ("gone", "idle_since_s", "in_service", "reads_seen", "record", "tracker")

    def __init__(self, record: ConnectionRecord, tracker: SequenceTracker) -> None:
        self.record = record
        self.tracker = tracker
        self.in_service = 0
        self.gone = False
        self.reads_seen = -1
        self.idle_since_s = 0.0


class Peers:
    """The peers of one socket: who they are, and what the numbers of their datagrams tell."""

    def __init__(
        self, context: ServerContext, recorder: Recorder | ThreadRecorder, address: Address, generation: int
    ) -> None:
        self.known: dict[Remote, UdpPeer] = {}
        self.generation = generation
        self._recorder = recorder
        self._experiment = context.experiment
        self._address = address
        self._declined: set[str] = set()
        # What was counted of peers that are forgotten. It stays here until the end: a thread that forgets one
        # must not take from one place what it adds to the other a moment later.
        self._past = SequenceCounts()
        self._settled_s = perf_counter()
        # The last number of peers that were forgotten, or known to the endpoint before this one: what they
        # send next does not tell of a loss.
        self._left_off = dict(context.inheritance.counted) if context.inheritance is not None else {}

    # Datagrams.

    def arrived(self, remote: Remote | None, number: int) -> UdpPeer | None:
        """Return who sent a datagram with this number (0: none), or None when that one is not served."""
        peer = self.known.get(remote) if remote is not None else None
        if peer is not None and number == peer.tracker.highest + 1:
            peer.tracker.highest = number
            return peer
        return self.out_of_line(remote, peer, number)

    def out_of_line(self, remote: Remote | None, peer: UdpPeer | None, number: int) -> UdpPeer | None:
        """Take a datagram that is not simply the next one of a known peer; None when it is not served.

        It is without a ``remote`` where a Unix socket without a name has sent it.
        """
        if remote is None:
            self._decline("datagrams of sockets without a name cannot be answered")
            return None
        peer = peer or self._new(remote, number)
        if peer is None:
            return None
        tracker = peer.tracker
        if number == 1 and tracker.highest and not peer.in_service and not tracker.awaits(1):
            return self._begin_anew(remote)
        before, jumps = tracker.highest, tracker.jumps
        tracker.arrived(number)
        if not jumps and tracker.jumps:
            text = f"the peer's numbers jump from {before:,} to {number:,}: "
            text += "of what is in between, lost is what the kernel says it dropped"
            self._recorder.on_error(text, peer.record)
        return peer

    def _new(self, remote: Remote, number: int) -> UdpPeer | None:
        if self._is_own(remote):
            # Its answer would come back here as the next request, for ever.
            self._decline("datagrams that claim to be from this server itself are not answered", remote)
            return None
        if len(self.known) >= self._experiment.max_connections:
            self._recorder.count("rejected")
            self._recorder.count("declined")
            return None
        left_off = self._left_off.pop(remote, 0)
        return self._remember(remote, SequenceTracker(left_off if left_off < number else 0))

    def _decline(self, why: str, remote: Remote | None = None) -> None:
        """Count a datagram that is not served, and say why, once."""
        self._recorder.count("unexpected")
        self._recorder.count("declined")
        if why not in self._declined:
            self._declined.add(why)
            self._recorder.on_error(why, address=format_address(plain_address(remote)))

    def _is_own(self, remote: Remote) -> bool:
        """Whether an address is that of this very socket."""
        host, port = self._address
        source, from_port = plain_address(remote)
        if from_port != port:
            return False
        everywhere = aim(self._address)[0] != host
        return source == host or (everywhere and _is_here(source))

    def _begin_anew(self, remote: Remote) -> UdpPeer:
        """A peer counts from 1 again: it is another socket, to which the kernel gave the same port."""
        self.forget(remote, CloseReason.EOF)
        return self._remember(remote, SequenceTracker(after=1))

    def _remember(self, remote: Remote, tracker: SequenceTracker) -> UdpPeer:
        record = self._recorder.on_open("udp", self._address, plain_address(remote), self.generation)
        peer = self.known[remote] = UdpPeer(record, tracker)
        return peer

    def counted(self) -> dict[Remote, int]:
        """Return how far the peers had counted when they were heard last, those heard last at the end."""
        counted = self._left_off | {remote: peer.tracker.highest for remote, peer in self.known.items()}
        surplus = len(counted) - self._experiment.max_connections
        return dict(islice(counted.items(), max(0, surplus), None))

    # Forgetting.

    def forget(self, remote: Remote, reason: CloseReason) -> None:
        """Record the end of a peer."""
        peer = self.known.pop(remote)
        peer.gone = True
        peer.tracker.give_up()
        self._past = _sum([self._past, peer.tracker])
        self._left_off[remote] = peer.tracker.highest
        if len(self._left_off) > self._experiment.max_connections:
            del self._left_off[next(iter(self._left_off))]
        self._recorder.on_close(peer.record, reason)

    def has_gone(self, remote: Remote, peer: UdpPeer) -> None:
        """A peer has closed its socket, as the kernel says of Unix sockets."""
        if self.known.get(remote) is peer:
            self.forget(remote, CloseReason.EOF)

    def forget_silent(self) -> float:
        """Forget who has been silent for too long, and call lost what is missing for a while.

        Return the seconds until it is time to look again.
        """
        now = perf_counter()
        silence_s = self._silence_s
        if settles := now - self._settled_s >= SETTLE_S:
            self._settled_s = now
        for remote, peer in list(self.known.items()):
            if settles:
                peer.tracker.settle()
            reads = peer.record.reads
            if reads != peer.reads_seen:
                peer.reads_seen, peer.idle_since_s = reads, now
            elif now - peer.idle_since_s >= silence_s and not peer.in_service:
                self.forget(remote, CloseReason.IDLE)
        return min(max(silence_s / 8, 0.01), WATCH_S)

    def forget_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Forget the peer with this number; False when there is none."""
        for remote, peer in self.known.items():
            if peer.record.conn_id == conn_id:
                self.forget(remote, reason)
                return True
        return False

    def forget_all(self, reason: CloseReason) -> None:
        """Forget everybody, for good: what was counted here is the recorder's from now on."""
        for remote in list(self.known):
            self.forget(remote, reason)
        found = self.sequence_counts()
        for counter in ("lost", "reordered", "duplicated"):
            self._recorder.count(counter, getattr(found, counter))
        self._past = SequenceCounts()

    @property
    def _silence_s(self) -> float:
        experiment = self._experiment
        silence_s = experiment.idle_timeout_s or PEER_SILENCE_S
        crowded = len(self.known) * 2 > experiment.max_connections
        return min(silence_s, CROWDED_SILENCE_S) if crowded else silence_s

    # For readers.

    def sequence_counts(self) -> SequenceCounts:
        """Return what is lost, reordered and duplicated of all peers that there were.

        A Unix socket loses nothing: a number that is missing there is that of a request that never left.
        """
        found = _sum([self._past, *(peer.tracker for peer in self.known.values())])
        return found._replace(lost=0) if is_unix(self._address[0]) else found

    @property
    def reads(self) -> int:
        """Datagrams that came from the peers that are here."""
        return sum(peer.record.reads for peer in self.known.values())


def _sum(counts: Sequence[SequenceCounts | SequenceTracker]) -> SequenceCounts:
    return SequenceCounts(
        lost=sum(one.lost for one in counts),
        reordered=sum(one.reordered for one in counts),
        duplicated=sum(one.duplicated for one in counts),
    )
