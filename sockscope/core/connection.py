"""What is known of one connection: plain counters that a protocol adds to; never the socket itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sockscope.core.addresses import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.core.roles import SWARM


class ConnectionState(Enum):
    """Where in its life a connection is."""

    OPEN = "open"
    PAUSED = "paused"
    """The peer does not read: writing waits, and so does reading."""
    HALF_CLOSED = "half-closed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What the kernel tells of one end of a TCP connection (``struct tcp_info``, linux/tcp.h); None: it does
    not, being older.

    ``rtt_s`` and ``rttvar_s`` are the smoothed round-trip time and how much it varies (RFC 6298), ``cwnd`` is
    the congestion window in segments, ``retransmits`` are all segments that were sent again.
    ``delivery_bytes_per_s`` is the latest rate at which what was sent was acknowledged, as if each segment
    had been full, and ``bytes_acked`` (RFC 4898) is all that was. ``busy_s`` is the time in which anything
    was sent and not acknowledged; of that ``rwnd_limited_s`` waited for the peer's receive window, and
    ``sndbuf_limited_s`` for the program, as the send buffer was too small.
    """

    rtt_s: float | None = None
    rttvar_s: float | None = None
    cwnd: int | None = None
    retransmits: int | None = None
    bytes_acked: int | None = None
    delivery_bytes_per_s: int | None = None
    busy_s: float | None = None
    rwnd_limited_s: float | None = None
    sndbuf_limited_s: float | None = None


class Tally:
    """Tells whoever sums up many records whether anything but their ``exchanges`` has changed since."""

    __slots__ = ("changed",)

    def __init__(self) -> None:
        self.changed = True


class ConnectionRecord:
    """Counters of one end of one connection (or of one UDP address pair).

    Nearly everything on a connection is an exchange of one whole message in and one out, of always the same
    sizes, each one read or write. ``exchanges`` alone counts these; frames, calls and bytes follow from it
    and from :meth:`expect`. Whatever is different is added to the ``odd_*`` counters. One addition per
    exchange instead of six is worth 2 % of the throughput of a saturated loop.
    """

    __slots__ = (
        "client_end",
        "close_reason",
        "close_text",
        "closed_s",
        "conn_id",
        "exchanges",
        "generation",
        "jitter_s",
        "local_address",
        "odd_bytes_in",
        "odd_bytes_out",
        "odd_frames_in",
        "odd_frames_out",
        "odd_reads",
        "odd_writes",
        "opened_s",
        "remote_address",
        "same_bytes_in",
        "same_bytes_out",
        "same_since",
        "speaks",
        "state",
        "tally",
        "tap",
        "tcp",
        "tls",
        "transit_s",
        "transport",
        "unwritable_since_s",
    )  # fmt: skip

    def __init__(
        self,
        conn_id: int,
        transport: str,
        local: Address,
        remote: Address,
        opened_s: float,
        tally: Tally | None = None,
    ) -> None:
        self.tally = tally or Tally()
        self.conn_id = conn_id
        self.transport = transport
        self.tls = False
        """Whether TLS is spoken on it."""
        self.speaks = ""
        """How its requests and answers are told apart by a relay that is alone."""
        self.tap = ""
        """The address of the relay at which it came in, where that listens at several."""
        self.local_address = local
        self.remote_address = remote
        self.client_end = 0
        """The number of its client's end (``core.run.client_states.end_of``); 0: nobody has asked for it."""
        self.opened_s = opened_s
        self.closed_s: float | None = None
        self.close_reason: CloseReason | None = None
        self.close_text = ""
        self.unwritable_since_s: float | None = None
        """Since when its peer has not read what is written to it, in the time of a stopwatch."""
        self.transit_s: float | None = None
        """How long the last answer over UDP took, there and back."""
        self.jitter_s: float | None = None
        """How much that varies from answer to answer (RFC 3550)."""
        self.tcp: TcpInfo | None = None
        """What the kernel told of it when it was asked last."""
        self.state = ConnectionState.OPEN
        self.generation = 0
        self.exchanges = 0
        self.same_bytes_in = self.same_bytes_out = 0
        self.same_since = 0
        self.odd_frames_in = self.odd_reads = self.odd_bytes_in = 0
        self.odd_frames_out = self.odd_writes = self.odd_bytes_out = 0

    @property
    def frames_in(self) -> int:
        """Whole messages received."""
        return self.odd_frames_in + self.exchanges

    @property
    def frames_out(self) -> int:
        """Whole messages sent."""
        return self.odd_frames_out + self.exchanges

    @property
    def reads(self) -> int:
        """Reads (TCP) or datagrams received (UDP)."""
        return self.odd_reads + self.exchanges

    @property
    def writes(self) -> int:
        """Writes (TCP) or datagrams sent (UDP)."""
        return self.odd_writes + self.exchanges

    @property
    def bytes_in(self) -> int:
        """Bytes that reads returned, framing included."""
        return self.odd_bytes_in + (self.exchanges - self.same_since) * self.same_bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes handed to writes, framing included."""
        return self.odd_bytes_out + (self.exchanges - self.same_since) * self.same_bytes_out

    def expect(self, bytes_in: int, bytes_out: int) -> None:
        """From now on, an exchange counted in ``exchanges`` is so many bytes in and so many out."""
        if bytes_in != self.same_bytes_in or bytes_out != self.same_bytes_out:
            self.odd_bytes_in, self.odd_bytes_out = self.bytes_in, self.bytes_out
            self.same_since, self.same_bytes_in, self.same_bytes_out = self.exchanges, bytes_in, bytes_out
            self.tally.changed = True

    def odd_read(self, size: int, frames: int = 0) -> None:
        """Count one read of ``size`` bytes that completed so many frames."""
        self.odd_reads += 1
        self.odd_bytes_in += size
        self.odd_frames_in += frames
        self.tally.changed = True

    def odd_frames(self, frames: int) -> None:
        """Count frames that a read counted already has completed."""
        self.odd_frames_in += frames
        self.tally.changed = True

    def odd_write(self, size: int, frames: int = 1, writes: int = 1) -> None:
        """Count a write (or several, or none) of ``size`` bytes altogether that completed so many frames."""
        self.odd_writes += writes
        self.odd_bytes_out += size
        self.odd_frames_out += frames
        self.tally.changed = True


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """One connection as the screen shows it: a copy, valid at the time of its snapshot.

    ``age_s`` is its length when it is closed. ``tcp`` is what the kernel told when it was asked last
    (TCP_INFO, Linux), None elsewhere, and ``jitter_s`` is that of a client's answers over UDP (RFC 3550).
    ``requests`` are frames in at a server and frames out at a client;
    they and ``responses`` are None where nothing tells them apart in the bytes. ``tap`` is the address at
    which a relay was asked that listens at several, ``speaks`` how a relay that is alone tells its requests
    and answers apart.
    """

    role: str
    conn_id: int
    local_address: str
    remote_address: str
    state: ConnectionState
    age_s: float
    requests: int | None
    responses: int | None
    bytes_in: int
    bytes_out: int
    reads: int
    writes: int
    close_reason: CloseReason | None = None
    close_text: str = ""
    tcp: TcpInfo | None = None
    jitter_s: float | None = None
    tap: str = ""
    speaks: str = ""

    @property
    def rtt_s(self) -> float | None:
        """The kernel's smoothed round-trip time; None where it is not known."""
        return self.tcp.rtt_s if self.tcp is not None else None


TCP_COLUMNS = {
    "rtt": "rtt_s",
    "rttvar": "rttvar_s",
    "retrans": "retransmits",
    "cwnd": "cwnd",
    "delivery": "delivery_bytes_per_s",
    "acked": "bytes_acked",
    "busy": "busy_s",
}
"""What of :class:`TcpInfo` the rows of a table show and are sorted by, by the keys of the columns."""


def tcp_figure(end: ConnectionRecord | ConnectionView, name: str) -> float:
    """Return a field of what the kernel told of a connection; below 0 where that is not known."""
    value = getattr(end.tcp, name, None)
    return -1.0 if value is None else value


def view_of(
    record: ConnectionRecord,
    role: str,
    now_s: float,
    *,
    counts_frames: bool = True,
) -> ConnectionView:
    """Return the view of ``record`` at ``now_s`` (monotonic seconds)."""
    end = now_s if record.closed_s is None else record.closed_s
    frames = (record.frames_in, record.frames_out) if counts_frames else (None, None)
    requests, responses = frames if role != SWARM else frames[::-1]
    return ConnectionView(
        role=role,
        conn_id=record.conn_id,
        local_address=format_address(record.local_address),
        remote_address=format_address(record.remote_address),
        state=record.state,
        age_s=end - record.opened_s,
        requests=requests,
        responses=responses,
        bytes_in=record.bytes_in,
        bytes_out=record.bytes_out,
        reads=record.reads,
        writes=record.writes,
        close_reason=record.close_reason,
        close_text=record.close_text,
        tcp=record.tcp,
        jitter_s=record.jitter_s,
        tap=record.tap,
        speaks=record.speaks,
    )
