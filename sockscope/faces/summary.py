"""The block of text that a run leaves in the terminal: what ran, and how it went."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from sockscope.core.experiment import FIELDS
from sockscope.core.figures import figures
from sockscope.core.snapshot import RoleSnapshot, Snapshot, Totals
from sockscope.core.units import (
    format_bytes,
    format_count,
    format_duration,
    format_ratio,
)

WIDTH = 80
_LABEL_WIDTH = 14
_SHOWN = {
    "server": ("service_time", "framing", "size"),
    "swarm": ("clients", "permits", "size", "think_time", "lifetime", "framing"),
    "both": ("clients", "permits", "size", "service_time", "think_time", "lifetime", "framing"),
}

_WHEN_SET = {"think_time", "lifetime"}


def summary_text(snapshot: Snapshot) -> str:
    """Return the summary of the figures that ``snapshot`` covers: lines of at most 80 columns.

    Take the snapshot before the engine is stopped: its address and its requests in flight are of that
    moment.
    """
    head = [*wrap(_headline(snapshot), WIDTH), *wrap(_what_ran(snapshot), WIDTH), ""]
    rows = [line for label, text in _rows(snapshot) for line in _row(label, text)]
    return "\n".join([*head, *rows]) + "\n"


def _row(label: str, text: str) -> list[str]:
    return wrap(f"{label:{_LABEL_WIDTH}}{text}", WIDTH, subsequent_indent=" " * _LABEL_WIDTH)


def _headline(snapshot: Snapshot) -> str:
    roles = {"both": "server and clients", "server": "server", "swarm": "clients"}
    server = snapshot.server
    address = (server.address if server is not None else "") or snapshot.main.address
    return (
        f"SockScope: {snapshot.tuning.transport.upper()} {roles[snapshot.experiment.role]}, "
        f"{address}, {snapshot.loop_name}, {_length(snapshot)}"
    )


def _length(snapshot: Snapshot) -> str:
    length = format_duration(snapshot.measured_s)
    return f"{length} (warming up)" if snapshot.warming_up else length


def _what_ran(snapshot: Snapshot) -> str:
    tuning = snapshot.tuning
    parts = []
    for key in _SHOWN[snapshot.experiment.role]:
        entry = FIELDS[key]
        value = getattr(tuning, entry.attribute)
        if (key in _WHEN_SET and not value) or (key == "framing" and tuning.transport == "udp"):
            continue
        parts.append(f"{entry.spec.label} {entry.spec.format(value)}")
    return ", ".join(parts)


def _rows(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    yield from _traffic(snapshot)
    if snapshot.swarm is not None:
        yield "service time", _service_time(snapshot.swarm)
    yield "failed", _failures(snapshot)
    yield "connections", _connections(snapshot.main)
    yield "process", _process(snapshot)
    kernel = snapshot.resources.kernel_udp
    if snapshot.tuning.transport == "udp" and kernel is not None:
        dropped = f"{format_count(kernel.rcvbuf_errors)} dropped, receive buffer full"
        yield "kernel UDP", f"{dropped} (whole machine)"
    if difference := _difference(snapshot):
        yield "server saw", difference
    if snapshot.swarm is not None and snapshot.swarm.last_trouble:
        yield "last trouble", snapshot.swarm.last_trouble
    if snapshot.error:
        yield "stopped by", snapshot.error


def _traffic(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    totals = snapshot.main.totals
    shown = figures(snapshot)
    answered = f"{format_count(totals.responses)} answered of {format_count(totals.requests)}"
    yield "requests", f"{answered}, {format_count(shown.requests_per_s)}/s"
    payload = shown.bytes_per_s
    yield "payload", f"{format_bytes(payload)}/s of answers" if payload is not None else format_bytes(None)


def _service_time(swarm: RoleSnapshot) -> str:
    names = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    values = swarm.service_time.percentiles(tuple(names.values()))
    return "  ".join(f"{name} {format_duration(value)}" for name, value in zip(names, values, strict=True))


def _failures(snapshot: Snapshot) -> str:
    totals = snapshot.main.totals
    parts = [f"{format_count(totals.errors)} errors", f"{format_count(totals.timeouts)} timeouts"]
    if totals.datagrams_sent or totals.datagrams_received:
        parts += [
            f"{format_count(totals.datagrams_lost)} lost",
            f"{format_count(totals.datagrams_late)} late",
            f"{format_count(totals.datagrams_reordered)} reordered",
            f"{format_count(totals.datagrams_duplicated)} twice",
        ]
    return ", ".join(parts)


def _connections(role: RoleSnapshot) -> str:
    totals = role.totals
    parts = [
        f"{format_count(totals.connections_opened)} opened",
        f"{format_count(totals.connections_refused)} refused",
        f"{format_count(totals.connections_reset)} reset",
    ]
    rest = totals.connections_timed_out + totals.connections_failed + totals.connections_rejected
    if rest:
        parts.append(f"{format_count(rest)} failed otherwise")
    return ", ".join(parts)


def _process(snapshot: Snapshot) -> str:
    resources = snapshot.resources
    lag = resources.loop_lag.percentile(0.99)
    return (
        f"CPU {format_ratio(figures(snapshot).cpu_ratio)} of a core, "
        f"RSS {format_bytes(resources.rss_bytes)}, loop lag p99 {format_duration(lag)}"
    )


def _difference(snapshot: Snapshot) -> str:
    """Return in words where the server's counts differ from the clients', or nothing.

    A request that is in flight has been counted at one end and not yet at the other.
    """
    if snapshot.server is None or snapshot.swarm is None:
        return ""
    clients, server = snapshot.swarm.totals, snapshot.server.totals
    under_way = snapshot.swarm.in_flight
    parts = [
        f"{format_count(getattr(server, name))} {name} (clients: {format_count(getattr(clients, name))})"
        for name in ("requests", "responses")
        if abs(_gap(name, clients, server)) > under_way
    ]
    return ", ".join(parts)


def _gap(name: str, clients: Totals, server: Totals) -> int:
    gap: int = getattr(clients, name) - getattr(server, name)
    return gap
