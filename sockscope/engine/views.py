"""From a recorder's records to what a snapshot carries."""

from __future__ import annotations

import heapq
import socket
from collections.abc import Callable
from typing import Any

from sockscope.core.connection import ConnectionRecord, ConnectionView, format_address, view_of
from sockscope.core.sequence import number_of
from sockscope.core.snapshot import Capture, ConnectionQuery, Exchange, Payload, ServerSide
from sockscope.engine.options import rtt_s
from sockscope.engine.recorder import Answered, Recorder, RoundTrip, payload_of

HEAD_BYTES = 32
"""First bytes of a request that the list of exchanges shows."""

_SORT_KEYS: dict[str, Callable[[ConnectionRecord], Any]] = {
    "conn_id": lambda r: r.conn_id,
    "local": lambda r: r.local_address,
    "remote": lambda r: r.remote_address,
    "state": lambda r: r.state.value,
    "age": lambda r: -r.opened_s,
    "requests": lambda r: max(r.frames_in, r.frames_out),
    "in": lambda r: r.bytes_in,
    "out": lambda r: r.bytes_out,
    "reads": lambda r: r.reads,
    "writes": lambda r: r.writes,
    "closed": lambda r: r.close_reason.value if r.close_reason else "",
}


def connection_views(
    recorder: Recorder,
    query: ConnectionQuery,
    now_s: float,
    socket_of: Callable[[int], socket.socket | None],
) -> tuple[tuple[ConnectionView, ...], int]:
    """Return the connections that ``query`` wants to see, and how many match it altogether."""
    text = query.text.lower()
    records = list(recorder.records())
    if text:
        records = [r for r in records if text in _searchable(r)]
    key = _SORT_KEYS.get(query.sort, _SORT_KEYS["conn_id"])
    pick = heapq.nlargest if query.reverse else heapq.nsmallest
    shown = pick(query.limit, records, key=key)
    return tuple(_view(r, recorder.role, now_s, socket_of) for r in shown), len(records)


def _searchable(record: ConnectionRecord) -> str:
    reason = record.close_reason.value if record.close_reason else ""
    return (
        f"{record.conn_id} {format_address(record.remote_address)} {format_address(record.local_address)} "
        f"{record.state.value} {reason} {record.transport}"
    ).lower()


def _view(
    record: ConnectionRecord, role: str, now_s: float, socket_of: Callable[[int], socket.socket | None]
) -> ConnectionView:
    sock = socket_of(record.conn_id) if record.transport == "tcp" and record.closed_s is None else None
    return view_of(record, role, now_s, rtt_s(sock) if sock is not None else None)


def message_number(captured: RoundTrip | Answered) -> int:
    """Return what both ends call the message: its place on a TCP connection, its number in UDP."""
    if captured[2].transport == "udp":
        return number_of(payload_of(captured[4]).data)
    return captured[3]


def exchange_of_round_trip(number: int, trip: RoundTrip) -> Exchange:
    """Return the list entry of a client's capture."""
    sent_ns, answered_ns, record, _, request, response, outcome = trip
    wire = payload_of(request)
    return Exchange(
        record_id=number,
        time_s=sent_ns / 1e9,
        conn_id=record.conn_id,
        request_bytes=wire.real_length,
        response_bytes=payload_of(response).real_length if response is not None else 0,
        service_time_s=(answered_ns - sent_ns) / 1e9 if answered_ns else None,
        outcome=outcome,
        head=wire.data[:HEAD_BYTES],
    )


def exchange_of_answer(number: int, answer: Answered) -> Exchange:
    """Return the list entry of a server's capture."""
    read_ns, answered_ns, record, _, request = answer
    wire = payload_of(request)
    return Exchange(
        record_id=number,
        time_s=read_ns / 1e9,
        conn_id=record.conn_id,
        request_bytes=wire.real_length,
        response_bytes=wire.real_length,
        service_time_s=(answered_ns - read_ns) / 1e9,
        outcome="ok",
        head=wire.data[:HEAD_BYTES],
    )


def capture_of_round_trip(number: int, trip: RoundTrip, framing: str, server: ServerSide | None) -> Capture:
    """Return a client's capture with its bytes."""
    record = trip[2]
    return Capture(
        exchange=exchange_of_round_trip(number, trip),
        local_address=format_address(record.local_address),
        remote_address=format_address(record.remote_address),
        transport=record.transport,
        framing=framing if record.transport == "tcp" else "datagram",
        request=payload_of(trip[4]),
        response=payload_of(trip[5]) if trip[5] is not None else None,
        server=server,
    )


def capture_of_answer(number: int, answer: Answered, framing: str) -> Capture:
    """Return a server's capture with its bytes; an echo answers with what it read."""
    record = answer[2]
    request = payload_of(answer[4])
    return Capture(
        exchange=exchange_of_answer(number, answer),
        local_address=format_address(record.local_address),
        remote_address=format_address(record.remote_address),
        transport=record.transport,
        framing=framing if record.transport == "tcp" else "datagram",
        request=request,
        response=Payload(request.data, request.real_length),
        server=None,
    )


def server_side_of(answer: Answered) -> ServerSide:
    """Return what a server's capture adds to the client's."""
    read_ns, answered_ns, record, _, request = answer
    return ServerSide(record.conn_id, read_ns / 1e9, answered_ns / 1e9, payload_of(request))
