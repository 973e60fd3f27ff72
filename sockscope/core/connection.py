"""What is known of one connection: plain counters that a protocol adds to; never the socket itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sockscope.core.addresses import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.core.roles import SERVER


class ConnectionState(Enum):
    """Where in its life a connection is."""

    OPEN = "open"
    PAUSED = "paused"
    """The peer does not read: writing waits, and so does reading."""
    HALF_CLOSED = "half-closed"
    CLOSED = "closed"


class Tally:
    """Tells whoever sums up many records whether anything but their ``exchanges`` has changed since."""

    __slots__ = ("changed",)

    def __init__(self) -> None:
        self.changed = True


class ConnectionRecord:
    """Counters of one end of one connection (or of one UDP address pair).

    Nearly everything on a connection is an exchange of one whole message in and one out, each one read or
    write of the same size. ``exchanges`` alone counts these; frames, calls and bytes follow from it and
    from :meth:`expect`. Whatever is different is added to the ``odd_*`` counters. One addition per
    exchange instead of six is worth 2 % of the throughput of a saturated loop.
    """

    __slots__ = (
        "close_reason", "close_text", "closed_s", "conn_id", "exchanges", "generation", "local_address",
        "odd_bytes_in", "odd_bytes_out", "odd_frames_in", "odd_frames_out", "odd_reads", "odd_writes",
        "opened_s", "remote_address", "same_bytes", "same_since", "state", "tally", "transport",
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
        self.local_address = local
        self.remote_address = remote
        self.opened_s = opened_s
        self.closed_s: float | None = None
        self.close_reason: CloseReason | None = None
        self.close_text = ""
        self.state = ConnectionState.OPEN
        self.generation = 0
        self.exchanges = 0
        self.same_bytes = 0
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
        return self.odd_bytes_in + (self.exchanges - self.same_since) * self.same_bytes

    @property
    def bytes_out(self) -> int:
        """Bytes handed to writes, framing included."""
        return self.odd_bytes_out + (self.exchanges - self.same_since) * self.same_bytes

    def expect(self, size: int) -> None:
        """From now on, an exchange counted in ``exchanges`` is ``size`` bytes in and ``size`` bytes out."""
        if size != self.same_bytes:
            self.odd_bytes_in, self.odd_bytes_out = self.bytes_in, self.bytes_out
            self.same_since, self.same_bytes = self.exchanges, size
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

    def odd_write(self, size: int, frames: int = 1) -> None:
        """Count one write of ``size`` bytes that completed so many frames."""
        self.odd_writes += 1
        self.odd_bytes_out += size
        self.odd_frames_out += frames
        self.tally.changed = True


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """One connection as the screen shows it: a copy, valid at the time of its snapshot.

    ``age_s`` is its length when it is closed. ``rtt_s`` is the kernel's smoothed round-trip time
    (TCP_INFO, Linux), None elsewhere. ``requests`` are frames in at a server and frames out at a client;
    they and ``responses`` are None where nothing tells them apart in the bytes.
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
    rtt_s: float | None = None


def view_of(
    record: ConnectionRecord,
    role: str,
    now_s: float,
    rtt_s: float | None = None,
    *,
    counts_frames: bool = True,
) -> ConnectionView:
    """Return the view of ``record`` at ``now_s`` (monotonic seconds)."""
    end = now_s if record.closed_s is None else record.closed_s
    frames = (record.frames_in, record.frames_out) if counts_frames else (None, None)
    requests, responses = frames if role == SERVER else frames[::-1]
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
        rtt_s=rtt_s,
    )
