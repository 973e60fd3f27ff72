"""The block of text that a run leaves in the terminal: what ran, and how it went.

It is made from the report, so that a run that was kept reads as it did when it ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.models import DEFAULT_SERVERS
from sockscope.core.events import CloseReason
from sockscope.core.results.run_result import main_section
from sockscope.core.results.schema import Report, format_field, known
from sockscope.core.run.snapshot import RunState
from sockscope.core.units import (
    counted,
    format_bytes,
    format_count,
    format_duration,
    format_ratio,
)

WIDTH = 80
_LABEL_WIDTH = 14
LONG_CLOSING_S = 0.5
"""From this on the time that the closing took is worth a row."""
LATE_RATIO = 0.05
"""From this share of the figures on it is worth a row that not all clients were there yet."""
MOST_CHANGES = 8
"""Changes that the summary names, the last ones."""
_UNBROKEN = "\N{NO-BREAK SPACE}"
_SHOWN = {
    "server": ("service_time", "framing", "size"),
    "swarm": ("clients", "permits", "size", "think_time", "lifetime", "framing"),
    "both": ("clients", "permits", "size", "service_time", "work", "think_time", "lifetime", "framing"),
}

_WHEN_SET = {"think_time", "lifetime"}
_TITLE = {"clients": "client", "permits": "permit", "request_bytes": "", "service_time_s": ""}
_PERCENTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999", "max": "max"}


def report_text(report: Report) -> str:
    """Return the summary of a run's report, in lines of at most 80 columns."""
    ran = _what_ran(report)
    head = [
        *wrap(_headline(report), WIDTH),
        *wrap(f"at the end: {ran}" if _changes(report) else ran, WIDTH),
        "",
    ]
    rows = [line for label, text in _rows(report) for line in summary_row(label, text)]
    return "\n".join([*head, *rows]) + "\n"


def summary_row(label: str, text: str) -> list[str]:
    """Return the lines of one row of the summary."""
    lines = wrap(f"{label:{_LABEL_WIDTH}}{text}", WIDTH, subsequent_indent=" " * _LABEL_WIDTH)
    return [line.replace(_UNBROKEN, " ") for line in lines]


def title_of(report: Report) -> str:
    """Return what ran in a few words, for a list of runs."""
    experiment, role = report["experiment"], _role(report)
    server = experiment.get("handler") or experiment.get("protocol") or experiment.get("server")
    if server == "default":
        server = DEFAULT_SERVERS.get(str(experiment.get("transport")), server)
    parts = [
        f"{str(experiment.get('transport')).upper()} {server if role != 'swarm' else 'swarm'}",
        known(report, "loop"),
    ]
    for attribute, noun in _TITLE.items():
        if value := experiment.get(attribute):
            plural = "s" if noun and value != 1 else ""
            parts.append(f"{format_field(attribute, value)} {noun}{plural}".strip())
    if (work := experiment.get("work") or "wait") != "wait":
        parts.append(f"work {work}")
    if role == "server":
        parts.append("server alone")
    if changes := known(report, "tunings"):
        parts.append(counted(changes, "change"))
    return ", ".join(part for part in parts if part)


def _role(report: Report) -> str:
    role: str = report["experiment"]["role"]
    return role


def _headline(report: Report) -> str:
    roles = {"both": "server and clients", "server": "server", "swarm": "clients"}
    transport = str(known(report, "experiment.transport")).upper()
    return (
        f"SockScope: {transport} {roles[_role(report)]}, "
        f"{known(report, 'address')}, {known(report, 'loop')}, {_length(report)}"
    )


def _length(report: Report) -> str:
    length = format_duration(known(report, "duration_s"))
    return f"{length} (warming up)" if known(report, "warming_up") else length


def _what_ran(report: Report) -> str:
    experiment = report["experiment"]
    own = experiment.get("handler") or experiment.get("protocol")
    parts = [f"served by {own}"] if own else []
    ends = _ends(experiment)
    for key in _SHOWN[_role(report)]:
        entry = FIELDS[key]
        value = experiment.get(entry.attribute)
        untold = key == "framing" and (experiment.get("transport") == "udp" or ends)
        untold = untold or (key == "work" and value == "wait")
        if value is None or (key in _WHEN_SET and not value) or untold:
            continue
        parts.append(f"{entry.spec.label} {format_field(entry.attribute, value)}")
    return ", ".join([*parts, *ends])


def _ends(experiment: Mapping[str, Any]) -> list[str]:
    """Return how the end of an answer is told, where the framing does not tell it."""
    if until := experiment.get("until"):
        return [f"answers until {until}"]
    if expected := experiment.get("expect_bytes"):
        return [f"answers of {format_field('expect_bytes', expected)}"]
    return []


def _changes(report: Report) -> str:
    """Return what was changed while the run went on, and when: the figures are of all of it."""
    changes = report.get("changes") or []
    told = [
        f"{one['text']} at {format_duration(one['at_s'])}".replace(" ", _UNBROKEN)
        for one in changes[-MOST_CHANGES:]
    ]
    if (earlier := len(changes) - len(told)) > 0:
        told.insert(0, counted(earlier, "earlier change"))
    return ", ".join(told)


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    if changes := _changes(report):
        yield "changed", changes
    yield from _traffic(report)
    if _role(report) != "server":
        yield "service time", _service_time(report)
        if stall := known(report, "service_time_s.stall"):
            yield (
                "stalled",
                f"no answer for {format_duration(stall)}: few requests from that time are in the percentiles",
            )
        if wait := _wait(report):
            yield "wait", wait
    yield "failed", _failures(report)
    if (limit := known(report, "limit.text")) and known(report, "state") != RunState.FAILED.value:
        yield "limit", f"{known(report, 'limit.name')}: {limit}"
    yield "connections", _connections(report)
    if connected := _connected(report):
        yield "connected", connected
    yield "process", _use(report["resources"])
    for process in report["processes"][1:]:
        state = process["state"]
        yield _label(process), _use(process) + (f", {state}" if state != "running" else "")
    dropped = known(report, "kernel_udp.rcvbuf_errors")
    if known(report, "experiment.transport") == "udp" and dropped is not None:
        yield "kernel UDP", f"{format_count(dropped)} dropped for a full receive buffer (whole machine)"
    if raised := known(report, "server_trouble"):
        count = known(report, "server.errors")
        yield "server raised", f"{'once:' if count == 1 else f'{format_count(count)} times, last'} {raised}"
    if difference := _difference(report):
        yield "server saw", difference
    if trouble := _last_trouble(report):
        yield "last trouble", trouble
    if (closing_s := known(report, "closing_s") or 0.0) >= LONG_CLOSING_S:
        yield "closing", f"took another {format_duration(closing_s)}, not counted in any figure"
    if error := known(report, "error"):
        yield "stopped by" if known(report, "state") == RunState.FAILED.value else "fell short", error


def _traffic(report: Report) -> Iterator[tuple[str, str]]:
    if known(report, f"{main_section(report)}.requests") is None:
        yield "requests", f"{format_count(None)} (the framing does not tell them apart)"
    else:
        answered = f"{_count(report, 'responses')} answered of {_count(report, 'requests')}"
        if under_way := known(report, "clients.in_flight"):
            answered += f" ({format_count(under_way)} under way at the end)"
        yield "requests", f"{answered}, {format_count(known(report, 'rates.requests_per_s'))}/s"
    if messages := _messages(report):
        yield "messages", messages
    payload = known(report, "rates.bytes_per_s")
    yield "payload", f"{format_bytes(payload)}/s of answers" if payload is not None else format_bytes(None)


def _messages(report: Report) -> str:
    """Return how messages lay in the reads, where that was not one in each."""
    totals = report[main_section(report)]
    torn, merged = totals.get("messages_torn"), totals.get("reads_merged")
    if not (torn or merged) or known(report, "experiment.transport") == "udp":
        return ""
    answers, reads = totals.get("responses"), totals.get("reads")
    each = f"{reads / answers:,.2f} reads per answer, " if answers and _role(report) != "server" else ""
    return f"{each}{format_count(torn)} torn, {counted(merged, 'read')} held several"


def _count(report: Report, name: str) -> str:
    return format_count(known(report, f"{main_section(report)}.{name}"))


def _service_time(report: Report) -> str:
    return "  ".join(
        f"{label} {format_duration(known(report, f'service_time_s.{name}'))}".replace(" ", _UNBROKEN)
        for label, name in _PERCENTILES.items()
    )


def _wait(report: Report) -> str:
    """Return how long clients waited before they could ask, or nothing; it is not in the service time."""
    sent = known(report, "totals.requests")
    parts = []
    for section, what in (("limiter", "a permit"), ("pool", "a connection")):
        wait_s, waited = known(report, f"{section}.wait_s"), known(report, f"{section}.waited")
        if wait_s and sent and (waited or known(report, f"{section}.waiting")):
            parts.append(
                f"{format_duration(wait_s / sent)} per request for {what} "
                f"({format_count(waited)} of {format_count(known(report, f'{section}.acquired'))} waited)"
            )
    return ", ".join(parts)


def _failures(report: Report) -> str:
    parts = [_failed(report)]
    totals = report[main_section(report)]
    if totals.get("unexpected"):
        parts.append(f"{_count(report, 'unexpected')} unexpected")
    if totals.get("datagrams_sent") or totals.get("datagrams_received"):
        parts += [
            f"{_count(report, 'datagrams_lost')} lost",
            f"{_count(report, 'datagrams_late')} late",
            f"{_count(report, 'datagrams_reordered')} reordered",
            f"{_count(report, 'datagrams_duplicated')} duplicated",
        ]
    return ", ".join(parts)


def _failed(report: Report) -> str:
    main = report[main_section(report)]
    timeouts, errors = main.get("timeouts"), main.get("errors")
    failed = timeouts + errors if timeouts is not None and errors is not None else None
    return f"{format_count(failed)} ({counted(timeouts, 'timeout')}, {counted(errors, 'error')})"


def _connections(report: Report) -> str:
    opened = f"{_count(report, 'connections_opened')} opened"
    there = known(report, "clients.connections_open") or 0
    if there > (known(report, f"{main_section(report)}.connections_opened") or 0):
        opened += f" ({format_count(there)} open since before the figures began)"
    parts = [
        opened,
        f"{_count(report, 'connections_refused')} refused",
        f"{_count(report, 'connections_reset')} reset",
    ]
    totals = report[main_section(report)]
    rest = sum(totals.get(f"connections_{how}") or 0 for how in ("timed_out", "failed", "rejected"))
    if rest:
        parts.append(f"{format_count(rest)} failed otherwise")
    if stops := (report.get("server") or report[main_section(report)]).get("accept_stops"):
        often = "once" if stops == 1 else f"{format_count(stops)} times"
        parts.append(f"the server stopped accepting {often}: it had no descriptors left")
    return ", ".join(parts)


def _connected(report: Report) -> str:
    """Return how many clients had a connection, where not all had one when the figures began."""
    clients, ready_s = report.get("clients") or {}, known(report, "clients.ready_after_s")
    # A number of requests may be made before the last client is there.
    if "ready_after_s" not in clients or known(report, "experiment.requests") or _role(report) == "server":
        return ""
    experiment = report["experiment"]
    asked = min(filter(None, (experiment.get("clients"), experiment.get("pool"))), default=0)
    if ready_s is None:
        return (
            f"{format_count(clients.get('connections_open'))} of {format_count(asked)} at the end, never all"
        )
    measured_s, elapsed_s = known(report, "duration_s"), known(report, "elapsed_s")
    if measured_s is None or elapsed_s is None:
        return ""
    late_s = ready_s - (elapsed_s - measured_s)
    if late_s <= measured_s * LATE_RATIO:
        return ""
    return (
        f"all {format_count(asked)} only {format_duration(late_s)} after the figures began; "
        "--warmup ready leaves that out"
    )


def _last_trouble(report: Report) -> str | None:
    """Return what last kept a client from going on: not an end by which nothing was lost."""
    trouble: str | None = known(report, "last_trouble")
    main = report[main_section(report)]
    harmless = trouble == CloseReason.EOF.value and not (main.get("timeouts") or main.get("errors"))
    return None if harmless else trouble


def _label(process: Report) -> str:
    return "both roles" if len(process["roles"]) > 1 else str(process["name"])


def _use(resources: Report) -> str:
    return (
        f"CPU {format_ratio(known(resources, 'cpu_ratio'))} of a core, "
        f"RSS {format_bytes(known(resources, 'rss_bytes'))}, "
        f"loop lag p99 {format_duration(known(resources, 'loop_lag_p99_s'))}"
    )


def _difference(report: Report) -> str:
    """Return in words where the server's counts differ from the clients', or nothing.

    A request that is in flight has been counted at one end and not yet at the other, or was before the
    figures began; and of two processes one tells its counts a moment after the other.
    """
    skew_s, rate = abs(known(report, "server.skew_s") or 0.0), known(report, "rates.requests_per_s") or 0.0
    under_way = (known(report, "clients.in_flight") or 0) + _under_way_before(report) + 2 * skew_s * rate
    parts = []
    for name in ("requests", "responses"):
        clients, server = known(report, f"totals.{name}"), known(report, f"server.{name}")
        if clients is not None and server is not None and abs(clients - server) > under_way:
            parts.append(f"{format_count(server)} {name} (clients: {format_count(clients)})")
    return ", ".join(parts)


def _under_way_before(report: Report) -> int:
    """Return how many requests may have been under way when the figures began, if that was during the run."""
    lasted = [known(report, name) or 0.0 for name in ("elapsed_s", "duration_s", "paused_s")]
    if math.isclose(lasted[0], lasted[1] + lasted[2], rel_tol=1e-6):
        return 0
    asking = filter(None, (known(report, f"experiment.{name}") for name in ("clients", "permits", "pool")))
    return min(asking, default=0) * (known(report, "experiment.depth") or 1)
