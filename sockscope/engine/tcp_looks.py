"""Looks at what the kernel tells of TCP connections, a few at a time, and what these add up to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from sockscope.core.connection import ConnectionRecord, TcpInfo
from sockscope.core.histogram import Histogram
from sockscope.core.run.snapshot import TcpSample
from sockscope.engine.options import has_nagle, tcp_info
from sockscope.engine.recorder import Recorder

AT_ONCE = 16
"""Connections that are looked at for one snapshot, some 5 us each; the others follow in the next ones."""
_NOTHING = TcpInfo(retransmits=0, busy_s=0.0, rwnd_limited_s=0.0, sndbuf_limited_s=0.0)


class TcpLooks:
    """Looks at the connections of one role; ``socket_of`` finds the socket of one by its number."""

    def __init__(self, recorder: Recorder, socket_of: Callable[[int], socket.socket | None]) -> None:
        self._recorder = recorder
        self._socket_of = socket_of
        self._unseen: Iterator[ConnectionRecord] = iter(())
        # Whether it has been looked for the next snapshot.
        self._is_ahead = False
        self._looks = self._nagle = self._retransmits = 0
        self._rtt = Histogram()
        self._busy_s = self._rwnd_limited_s = self._sndbuf_limited_s = 0.0

    def look_ahead(self) -> None:
        """Look around for the snapshot that follows, which then need not."""
        self._is_ahead = False
        self.look_around()
        self._is_ahead = True

    def look_around(self) -> None:
        """Look at some of the open connections, others each time."""
        if self._is_ahead:
            self._is_ahead = False
            return
        records = list(islice(self._unseen, AT_ONCE))
        if len(records) < AT_ONCE:
            live = list(self._recorder.live.values())
            self._unseen = iter(live)
            records += islice(self._unseen, max(0, min(AT_ONCE, len(live)) - len(records)))
        self.look_at(records)

    def look_at(self, records: Iterable[ConnectionRecord]) -> None:
        """Look at those of ``records`` that are open TCP connections."""
        rtts: list[float] = []
        for record in records:
            sock = (
                self._socket_of(record.conn_id)
                if record.transport == "tcp" and record.closed_s is None
                else None
            )
            if sock is not None and (info := tcp_info(sock)) is not None:
                self._nagle += has_nagle(sock)
                self._add(record.tcp or _NOTHING, info)
                record.tcp = info
                if info.rtt_s:
                    rtts.append(info.rtt_s)
        self._rtt.add_all(rtts)

    def _add(self, before: TcpInfo, now: TcpInfo) -> None:
        self._looks += 1
        self._retransmits += (now.retransmits or 0) - (before.retransmits or 0)
        self._busy_s += (now.busy_s or 0.0) - (before.busy_s or 0.0)
        self._rwnd_limited_s += (now.rwnd_limited_s or 0.0) - (before.rwnd_limited_s or 0.0)
        self._sndbuf_limited_s += (now.sndbuf_limited_s or 0.0) - (before.sndbuf_limited_s or 0.0)

    def sample(self) -> TcpSample:
        """Return what all looks so far add up to."""
        return TcpSample(
            looks=self._looks,
            nagle=self._nagle,
            rtt=self._rtt.copy(),
            retransmits=self._retransmits,
            busy_s=self._busy_s,
            rwnd_limited_s=self._rwnd_limited_s,
            sndbuf_limited_s=self._sndbuf_limited_s,
        )
