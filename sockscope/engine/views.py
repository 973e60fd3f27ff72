"""From a recorder's records to what a snapshot carries."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from sockscope.core.addresses import format_address, split_address
from sockscope.core.connection import (
    TCP_COLUMNS,
    ConnectionRecord,
    ConnectionView,
    tcp_figure,
    view_of,
)
from sockscope.core.ring import RingPage
from sockscope.core.roles import numbered
from sockscope.core.run.snapshot import Capture, ConnectionQuery, Exchange, Payload, ServerSide
from sockscope.core.wire.sequence import number_of
from sockscope.engine.captures import CaptureRing, Exchanged, Unfinished, payload_of, real_length
from sockscope.engine.recorder import Recorder

HEAD_BYTES = 32
"""First bytes of a request that the list of exchanges shows."""
OUT_OF_ORDER_S = 0.1
"""Threads record exchanges in an order that is that of their ends to within this time."""

_SORT_KEYS: dict[str, Callable[[ConnectionRecord], Any]] = {
    "local": lambda r: r.local_address,
    "remote": lambda r: r.remote_address,
    "state": lambda r: r.state.value,
    "requests": lambda r: max(r.frames_in, r.frames_out),
    "in": lambda r: r.bytes_in,
    "out": lambda r: r.bytes_out,
    "reads": lambda r: r.reads,
    "writes": lambda r: r.writes,
    "closed": lambda r: r.close_reason.value if r.close_reason else "",
    **{column: partial(tcp_figure, name=name) for column, name in TCP_COLUMNS.items()},
}

_NUMBER = attrgetter("conn_id")


def connection_views(
    recorder: Recorder,
    query: ConnectionQuery,
    now_s: float,
    look_at: Callable[[Sequence[ConnectionRecord]], None],
) -> tuple[tuple[ConnectionView, ...], int]:
    """Return the connections that ``query`` wants to see, and how many match it altogether.

    The kernel is asked about the first of them (``look_at``).
    """
    key = partial(_age_s, now_s=now_s) if query.sort == "age" else _SORT_KEYS.get(query.sort)
    if key is None and not query.text:
        shown, matching = _by_number(recorder, query), len(recorder.live) + len(recorder.closed)
    else:
        records = _matching(recorder, query.text.lower())
        pick = heapq.nlargest if query.reverse else heapq.nsmallest
        shown, matching = pick(query.limit, records, key=key or _usual), len(records)
    look_at(shown if query.looks is None else shown[: query.looks])
    return tuple(
        view_of(r, recorder.role, now_s, counts_frames=recorder.counts_frames) for r in shown
    ), matching


def _by_number(recorder: Recorder, query: ConnectionQuery) -> list[ConnectionRecord]:
    """Return the first records in the usual order: by number, open connections first.

    It is asked for twice a second, so not all of up to 10,000 records are looked at, only their numbers.
    """
    live, most = recorder.live, query.limit
    opened = [live[number] for number in sorted(live, reverse=query.reverse)[:most]]
    if len(opened) == most and not query.reverse:
        return opened
    closed = sorted(recorder.closed, key=_NUMBER, reverse=query.reverse)
    return [*closed, *opened][:most] if query.reverse else [*opened, *closed][:most]


def _age_s(record: ConnectionRecord, now_s: float) -> float:
    """Return the age that is shown: of a closed connection its length."""
    return (now_s if record.closed_s is None else record.closed_s) - record.opened_s


def _usual(record: ConnectionRecord) -> tuple[bool, int]:
    return record.closed_s is not None, record.conn_id


def _matching(recorder: Recorder, text: str) -> list[ConnectionRecord]:
    records = list(recorder.records())
    return [r for r in records if text in _searchable(r, recorder.role)] if text else records


def _searchable(record: ConnectionRecord, role: str) -> str:
    reason = record.close_reason.value if record.close_reason else ""
    ends = f"{record.tap} {format_address(record.remote_address)} {format_address(record.local_address)}"
    return (
        f"{numbered(role, record.conn_id)} {ends} {record.state.value} {reason} {record.transport}"
    ).lower()


def exchanges_of(page: RingPage[Exchanged]) -> tuple[Exchange, ...]:
    """Return the list entries of captured exchanges."""
    first = page.cursor - len(page.items)
    return tuple(exchange_of(first + i, item) for i, item in enumerate(page.items))


def exchange_of(number: int, captured: Exchanged) -> Exchange:
    """Return the list entry of one captured exchange."""
    begin_s, end_s, record, request, answer = captured
    came = answer.came if isinstance(answer, Unfinished) else answer
    reads, merged = (came.read_count, came.merged) if isinstance(came, Payload) else (1, False)
    return Exchange(
        number,
        begin_s,
        record.conn_id,
        real_length(request),
        real_length(came),
        end_s - begin_s if end_s else None,
        answer.outcome if isinstance(answer, Unfinished) else "ok",
        (request if isinstance(request, bytes) else request.data)[:HEAD_BYTES],
        reads,
        merged,
        record.tap,
    )


def capture_of(number: int, captured: Exchanged, framing: str) -> Capture:
    """Return one captured exchange with its bytes, as the role that captured it saw it."""
    _, _, record, request, answer = captured
    came = answer.came if isinstance(answer, Unfinished) else answer
    return Capture(
        exchange=exchange_of(number, captured),
        local_address=format_address(record.local_address),
        remote_address=format_address(record.remote_address),
        transport=record.transport,
        framing=framing if record.transport == "tcp" else "datagram",
        request=payload_of(request),
        response=payload_of(came) if came or not isinstance(answer, Unfinished) else None,
        server=None,
        tls=record.tls,
    )


def find_answer(answers: CaptureRing, seen_by_client: Capture) -> ServerSide | None:
    """Return the server's capture of an exchange, or None when it is not in the ring.

    It is found by the client's address, the times and the sequence number, which both ends know wherever
    they run: ``time.perf_counter`` is one clock for all processes.

    A client has one request outstanding, so what the server answered to its address while it waited is the
    answer; when it has several, their bytes tell them apart. A UDP request that was never answered may have
    been read by the server all the same; its sequence number tells.
    """
    exchange = seen_by_client.exchange
    sent_s = exchange.time_s
    answered_s = sent_s + exchange.service_time_s if exchange.service_time_s is not None else None
    client = split_address(seen_by_client.local_address)
    sent = seen_by_client.request.data
    number = number_of(sent) if seen_by_client.transport == "udp" else 0
    found: ServerSide | None = None
    for read_s, replied_s, record, received, _ in answers.newest_first():
        if answered_s is not None and read_s > answered_s:
            continue
        if replied_s < sent_s:
            if replied_s < sent_s - OUT_OF_ORDER_S:
                break
            continue
        if record.remote_address != client:
            continue
        came = payload_of(received)
        if number_of(came.data) == number if number else came.data == sent:
            return ServerSide(record.conn_id, read_s, replied_s, came)
        if not number and found is None:
            # Without a framing the server may have read the request in parts, or with the one after it.
            found = ServerSide(record.conn_id, read_s, replied_s, came)
    return found
