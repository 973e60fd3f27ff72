"""The block of text that a run leaves in the terminal: what ran, and how it went.

It is made from the report, so that a run that was kept reads as it did when it ended.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.experiment import FIELDS, FRAMED, OWN
from sockscope.core.config.models import DEFAULT_SERVERS, carrier
from sockscope.core.config.presets import protocol_of
from sockscope.core.events import ENDED_BY_SERVER, CloseReason
from sockscope.core.results.run_reading import main_section, verdict_told
from sockscope.core.results.schema import Report, format_field, known
from sockscope.core.run.injected import Injected
from sockscope.core.run.injected import told as told_of_faults
from sockscope.core.run.lens import Hold, call_at
from sockscope.core.run.snapshot import RunState
from sockscope.core.run.tasks import Growth
from sockscope.core.units import (
    counted,
    format_bytes,
    format_cores,
    format_count,
    format_duration,
    format_ratio,
)
from sockscope.core.wire.recognise import AUTO
from sockscope.faces.flows import DIRECTIONS, sum_of

WIDTH = 80
"""Columns of the summary."""
_LABEL_WIDTH = 14
LONG_CLOSING_S = 0.5
"""From this on the time that the closing took is worth a row."""
LATE_RATIO = 0.05
"""From this share of the figures on it is worth a row that not all clients were there yet."""
MOST_CHANGES = 8
"""Changes that the summary names, the last ones."""
_WAITED = "wait_s", "waited", "acquired"
_UNBROKEN = "\N{NO-BREAK SPACE}"
_SHOWN = {
    "server": ("service_time", "framing", "size", "fault"),
    "relay": ("told_apart", "fault"),
    "swarm": ("rate", "arrivals", "clients", "permits", "size", "think_time", "lifetime", "framing", "fault"),
    "both": (
        "rate",
        "arrivals",
        "clients",
        "permits",
        "size",
        "service_time",
        "work",
        "think_time",
        "lifetime",
        "framing",
        "fault",
    ),
}

_SERVER_ENDS = ("the server close", CloseReason.EOF.value)
"""How troubles begin that are an end of the connection by the server."""
_OF_OPEN = {"rate", "arrivals"}
_WHEN_SET = {"think_time", "lifetime", "fault"}
_TOLD_AS_SAID = "told_apart", AUTO
_ENDS = {
    "expect": "answers of {}",
    "until": "answers until {}",
    "until_line": "answers until a line {}",
    "length_field": "answers with their length at {}",
    "answer": "answers of {}",
}
"""How the fields that tell where an answer ends are told."""
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
    lines = wrap(f"{label:{_LABEL_WIDTH - 1}} {text}", WIDTH, subsequent_indent=" " * _LABEL_WIDTH)
    return [line.replace(_UNBROKEN, " ") for line in lines]


def title_of(report: Report) -> str:
    """Return what ran in a few words, for a list of runs."""
    experiment, role = report["experiment"], _role(report)
    server = _own(experiment) or experiment.get("server")
    if server == "default":
        server = DEFAULT_SERVERS.get(str(experiment.get("transport")), server)
    what = server if role != "swarm" else _spoken(report) or "swarm"
    if role == "relay":
        more = len(report.get("taps") or ()) - 1
        what = f"tap of {experiment['target']}{f' and {more} more' if more > 0 else ''}"
    parts = [
        f"{_carrier(experiment)} {what}",
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


def _own(experiment: Mapping[str, Any]) -> str | None:
    """Return what the user's own code is called that has served, if it has."""
    return next((str(experiment[key]) for key in OWN if experiment.get(key)), None)


def _role(report: Report) -> str:
    role: str = report["experiment"]["role"]
    return role


def _headline(report: Report) -> str:
    roles = {"both": "server and clients", "server": "server", "swarm": "clients", "relay": "relay"}
    return (
        f"SockScope: {_carrier(report['experiment'])} {roles[_role(report)]}, "
        f"{_where(report)}, {known(report, 'loop')}, {_length(report)}"
    )


def _where(report: Report) -> str:
    """Return the address of the server, and the protocol that it is spoken to in if that has a name."""
    spoken, address = _spoken(report), known(report, "address")
    return f"{spoken} at {address}" if spoken else str(address)


def _spoken(report: Report) -> str:
    return protocol_of(lambda key: report["experiment"].get(FIELDS[key].attribute))


def _carrier(experiment: Mapping[str, Any]) -> str:
    tls = bool(experiment.get("tls"))
    return carrier(str(experiment.get("transport")), str(experiment.get("family")), tls)


def _length(report: Report) -> str:
    length = format_duration(known(report, "duration_s"))
    return f"{length} (warming up)" if known(report, "warming_up") else length


def _what_ran(report: Report) -> str:
    experiment = report["experiment"]
    own = _own(experiment)
    form = known(report, "serves_as")
    parts = [f"served by {own} ({form})" if form else f"served by {own}"] if own else []
    ends = _ends(experiment)
    for key in _SHOWN[_role(report)]:
        entry = FIELDS[key]
        value = experiment.get(entry.attribute)
        untold = key == "framing" and (experiment.get("transport") == "udp" or ends)
        untold = untold or (key == "work" and value == "wait")
        untold = untold or (key, value) == _TOLD_AS_SAID or (key == "told_apart" and bool(ends))
        untold = untold or (key in _OF_OPEN and not experiment.get("rate"))
        untold = untold or (key == "think_time" and experiment.get("rate"))
        if value is None or (key in _WHEN_SET and not value) or untold:
            continue
        parts.append(f"{entry.spec.label} {format_field(entry.attribute, value)}")
    return ", ".join([*parts, *ends])


def _ends(experiment: Mapping[str, Any]) -> list[str]:
    """Return how the end of an answer is told, where the framing does not tell it."""
    for key, told in _ENDS.items():
        value = experiment.get(FIELDS[key].attribute)
        if value and value != FRAMED:
            return [told.format(format_field(FIELDS[key].attribute, value))]
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
        yield "service time", _percentiles(report, "service_time_s")
        for tap in report.get("taps") or ():
            yield "tap", _tap(tap)
        if response := _response_time(report):
            yield "response time", response
        if stall := known(report, "service_time_s.stall"):
            yield (
                "stalled",
                f"no answer for {format_duration(stall)}: {_of_stall(report)}",
            )
        if due := _due(report):
            yield "due", due
        if reason := known(report, "invalid_reason"):
            yield "not valid", reason
        if wait := _wait(report):
            yield "wait", wait
    if stall_at_s := _missed_stall(report):
        yield "stall", f"none in these figures: it was to come at {format_duration(stall_at_s)}"
    yield "failed", _failures(report)
    if held := _held_up(report):
        yield "held up", held
    if tasks := _tasks(report):
        yield "tasks", tasks
    if (limit := verdict_told(report)) and known(report, "state") != RunState.FAILED.value:
        yield "limit", limit
    yield "connections", _connections(report)
    if connected := _connected(report):
        yield "connected", connected
    if known(report, "experiment.tls") or known(report, "tls"):
        yield "TLS", _tls(report)
    yield "process", _use(report["resources"])
    for process in report["processes"][1:]:
        # The machine's name is too long for the column of the labels.
        label, _, machine = _label(process).partition(" at ")
        told = ", ".join([_use(process), *_besides(process, report)])
        yield label, f"at {machine}: {told}" if machine else told
    held = known(report, f"{main_section(report)}.datagrams_held")
    if held and known(report, "experiment.family") == "unix":
        yield "held", f"{counted(held, 'request')} waited for room in the queue of the server's socket"
    if kernel := _kernel_tcp(report):
        yield "kernel TCP", kernel
    if (jitter_s := known(report, "jitter_s.p50")) is not None:
        p99 = format_duration(known(report, "jitter_s.p99"))
        yield "jitter", f"p50 {format_duration(jitter_s)}  p99 {p99} (RFC 3550, of the round trip)"
    if (delay_s := known(report, "relay_delay_s.p50")) is not None:
        p99 = format_duration(known(report, "relay_delay_s.p99"))
        yield (
            "relay",
            f"adds p50 {format_duration(delay_s)}  p99 {p99} to each read, besides faults",
        )
    for label, section in DIRECTIONS.items():
        states = [process["state"] for process in report.get("processes") or ()]
        if flow := sum_of(report.get(section) or {}, states):
            yield label, flow
    dropped = known(report, "kernel_udp.rcvbuf_errors")
    if _carrier(report["experiment"]) == "UDP" and dropped is not None:
        yield "kernel UDP", f"{format_count(dropped)} dropped for a full receive buffer (whole machine)"
    injected = known(report, "injected")
    if injected and (done := told_of_faults(Injected(**injected))):
        yield "injected", done
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


def _tap(tap: Mapping[str, Any]) -> str:
    """Return what came in at one address of a tap, and how it was told apart."""
    parts = [
        f"{format_count(tap['responses'])} answered of {format_count(tap['requests'])}",
        f"{counted(tap['connections_opened'], 'connection')}",
        f"{format_bytes(tap['bytes_in'])} in, {format_bytes(tap['bytes_out'])} out",
    ]
    if tap["responses"]:
        times = (f"{one} {format_duration(tap[f'service_time_{one}_s'])}" for one in ("p50", "p99", "max"))
        parts.insert(1, "  ".join(times))
    if unreached := tap["unreached"]:
        parts.append(f"the target was not reached for {counted(unreached, 'connection')}")
    if silent := tap["ended_by_silence"]:
        parts.append(f"{counted(silent, 'answer')} ended by 100 ms of silence, as nothing else told the end")
    speaks = f" ({tap['speaks']})" if tap["speaks"] else ""
    return f"{tap['address']} → {tap['target']}{speaks}: {', '.join(parts)}"


def _held_up(report: Report) -> str:
    """Return what held up each loop that a lens was on, and how often, or nothing."""
    told = []
    for lens in report.get("lens") or ():
        holds = [hold for hold in report.get("holds") or () if hold["process"] == lens["process"]]
        if not holds:
            continue
        total_s: Counter[str] = Counter()
        for hold in holds:
            total_s[_call_at(hold)] += hold["duration_s"]
        ((cause, _),) = total_s.most_common(1)
        worst = max((one for one in holds if _call_at(one) == cause), key=lambda one: one["duration_s"])
        waited = f" with {counted(worst['requests'], 'request')} waiting" if worst["requests"] else ""
        # What held it up before is counted only.
        mostly = "mostly" if lens["held"] <= len(holds) else f"the last {len(holds):,} mostly"
        told.append(
            f"{lens['process']} {counted(lens['held'], 'time')}, {format_duration(lens['held_s'])} together, "
            f"{mostly} by {cause}: {format_duration(worst['duration_s'])} at most{waited}"
        )
    return "; ".join(told)


def _tasks(report: Report) -> str:
    """Return how many tasks of own code are left in each process, which grow, and what nobody asked for."""
    told = []
    for lens in report.get("lens") or ():
        tasks = lens.get("tasks")
        if not tasks or not tasks["own"]:
            continue
        parts = [f"{lens['process']} {tasks['own']:,} of own code alive at the last look"]
        parts += [Growth(**growth).sentence for growth in tasks["growing"][:1]]
        if lost := sum(row["count"] for row in tasks["unretrieved"]):
            worst = tasks["unretrieved"][0]
            parts.append(
                f"nobody asked for {counted(lost, 'exception')}, as {worst['what']} at {worst['where']}"
            )
        if (executor := tasks["executor"]) and executor["queued"]:
            parts.append(
                f"{executor['queued']:,} of own calls wait for one of {executor['threads']:,} threads"
            )
        told.append(", ".join(parts))
    return "; ".join(told)


def _call_at(hold: Mapping[str, Any]) -> str:
    return call_at(
        Hold(
            0.0,
            hold["duration_s"],
            hold["kind"],
            hold["call"] or "",
            hold["file"] or "",
            int(hold["line"] or 0),
            core_wait_s=hold["core_wait_s"] or 0.0,
        )
    )


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


def _kernel_tcp(report: Report) -> str:
    """Return what the kernel tells of the run's connections, and of all on the machine."""
    if known(report, "experiment.transport") != "tcp" or known(report, "experiment.family") == "unix":
        return ""
    parts = []
    p50_s, p99_s = (known(report, f"{_tcp_section(report)}.rtt_{p}_s") for p in ("p50", "p99"))
    if p50_s is not None:
        parts.append(f"rtt p50 {format_duration(p50_s)}  p99 {format_duration(p99_s)}")
    sent_again = [known(report, f"{section}.retransmits") for section in ("tcp", "server_tcp")]
    if any(n is not None for n in sent_again):
        parts.append(counted(sum(n or 0 for n in sent_again), "retransmit"))
    if overflows := known(report, "kernel_tcp.listen_overflows"):
        parts.append(f"{format_count(overflows)} connects dropped for a full backlog (whole machine)")
    return ", ".join(part.replace(" ", _UNBROKEN) for part in parts)


def _tcp_section(report: Report) -> str:
    return "server_tcp" if _role(report) == "server" else "tcp"


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


def _percentiles(report: Report, section: str) -> str:
    return "  ".join(
        f"{label} {format_duration(known(report, f'{section}.{name}'))}".replace(" ", _UNBROKEN)
        for label, name in _PERCENTILES.items()
    )


def _response_time(report: Report) -> str:
    """Return how long the answers took since they were wanted; nothing in a result that has no such times."""
    response = report.get("response_time_s") or {}
    if response.get("p50") is None:
        return ""
    service = report["service_time_s"]
    if all(response.get(name) == service.get(name) for name in ("mean", *_PERCENTILES.values())):
        return "the same: no request had to wait before it was sent"
    return _percentiles(report, "response_time_s")


def _missed_stall(report: Report) -> float:
    """Return the moment of the stall that was asked for, if the figures end before it; else 0."""
    stall_at_s = float(known(report, "experiment.stall_at_s") or 0.0)
    return stall_at_s if stall_at_s >= float(known(report, "duration_s") or 0.0) else 0.0


def _of_stall(report: Report) -> str:
    if known(report, "experiment.rate"):
        return "the requests that were due in that time are in the response time"
    return "few requests from that time are in the percentiles"


def _due(report: Report) -> str:
    """Return what became of the schedule of an open loop, or nothing in a closed one."""
    late = report.get("schedule_lateness_s") or {}
    if not late.get("count"):
        return ""
    parts = [
        f"{_count(report, 'requests_due')} requests, sent late by p50 {format_duration(late.get('p50'))}, "
        f"p99 {format_duration(late.get('p99'))}"
    ]
    if queued := known(report, "clients.queued"):
        parts.append(f"{format_count(queued)} queued at the end")
    if known(report, "totals.requests_dropped"):
        parts.append(f"{_count(report, 'requests_dropped')} dropped by the generator")
    return ", ".join(parts)


def _wait(report: Report) -> str:
    """Return how long clients waited before they could ask, or nothing; it is not in the service time."""
    parts = []
    for section, what in (("limiter", "a permit"), ("pool", "a connection")):
        wait_s, waited, acquired = (known(report, f"{section}.{one}") for one in _WAITED)
        waiting = known(report, f"{section}.waiting") or 0
        if wait_s and acquired and (waited or waiting):
            # Where few who had to wait have got one, the wait is that of the others.
            others = f", {format_count(waiting)} wait still" if waiting > (waited or 0) else ""
            parts.append(
                f"{format_duration(wait_s / acquired)} per request for {what} "
                f"({format_count(waited)} of {format_count(acquired)} waited{others})"
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
    rejected = main.get("answers_rejected")
    which = f", {format_count(rejected)} of them rejected" if rejected else ""
    return f"{format_count(failed)} ({counted(timeouts, 'timeout')}, {counted(errors, 'error')}{which})"


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


def _tls(report: Report) -> str:
    """Return what TLS agreed on, how its handshakes went, and what they took."""
    main = report[main_section(report)]
    done, failed, reused = (main.get(name) for name in ("handshakes", "handshakes_failed", "sessions_reused"))
    times = "  ".join(
        f"{label} {format_duration(known(report, f'tls_handshake_s.{label}'))}".replace(" ", _UNBROKEN)
        for label in ("p50", "p99", "max")
    )
    parts = [
        (known(report, "tls") or "").replace(" ", _UNBROKEN),
        f"{counted(done, 'handshake')} ({format_count(reused)} of an earlier session)  {times}",
        f"{format_count(failed)} failed",
    ]
    if truncated := main.get("connections_truncated"):
        parts.append(f"{format_count(truncated)} ended without close_notify")
    return ", ".join(filter(None, parts))


def _connected(report: Report) -> str:
    """Return how many clients had a connection, where not all had one when the figures began."""
    clients, ready_s = report.get("clients") or {}, known(report, "clients.ready_after_s")
    # A number of requests may be made before the last client is there.
    if "ready_after_s" not in clients or known(report, "experiment.requests"):
        return ""
    if _role(report) in ("server", "relay"):
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
        f"{_all(asked)} only {format_duration(late_s)} after the figures began; "
        "--warmup ready leaves that out"
    )


def _all(clients: int) -> str:
    return f"all {format_count(clients)}" if clients > 1 else "the one client"


def _last_trouble(report: Report) -> str | None:
    """Return what last kept a client from going on: not an end by which nothing was lost, nor one that the
    server's own code made by raising."""
    trouble: str | None = known(report, "last_trouble")
    main = report[main_section(report)]
    failed = main.get("timeouts") or main.get("errors")
    if known(report, "server_trouble") and trouble and trouble.startswith(_SERVER_ENDS):
        return None
    return trouble if failed or trouble not in (ENDED_BY_SERVER, CloseReason.EOF.value) else None


def _label(process: Report) -> str:
    return "both roles" if len(process["roles"]) > 1 else str(process["name"])


def _besides(process: Report, report: Report) -> Iterator[str]:
    """Yield what is to be told of a process besides: its part of the clients, its clock, what is wrong."""
    main, *others = report["processes"]
    shared = sum(known(one, "p99_s") is not None for one in others) > 1
    if shared and (requests_per_s := known(process, "requests_per_s")) is not None:
        p99 = format_duration(known(process, "p99_s"))
        yield f"{format_count(requests_per_s)} requests/s p99 {p99}"
    if known(report, "experiment.place") == CLUSTER and (cores := known(process, "machine_cores")):
        yield f"cores {format_cores(known(process, 'machine_cores_taken'), cores)}"
    if error_s := known(process, "clock_error_s"):
        yield f"clock ±{format_duration(error_s)}"
    if (reached := known(process, "generation")) is not None and reached != known(main, "generation"):
        yield f"at change {reached} of {known(main, 'generation')}"
    if process["state"] != "running":
        yield process["state"]


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
