"""The result of a run: the objects of ``--json`` and ``--json-stream``, and the columns of ``--csv``.

``docs/json.md`` tells what each field means. A figure that is not known is None, never 0; the fields that
are there do not depend on the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, reduce
from operator import attrgetter
from typing import Any

from sockscope.core.censoring import Ages, AtLeast, mean, percentiles
from sockscope.core.config.applicability import unused_fields
from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.fields import Value
from sockscope.core.events import EventKind
from sockscope.core.histogram import Histogram
from sockscope.core.results import kind_names
from sockscope.core.results.batch_means import FEWEST, batches
from sockscope.core.results.lens_result import HOLDS_SHAPE, LENS_SHAPE, holds, lens
from sockscope.core.results.run_figures import (
    CPU_PER_REQUEST,
    NAMES,
    OF_FRAMES,
    PERCENTILES,
    SECTIONS,
)
from sockscope.core.results.run_reading import (
    FIGURES,
    SHORT_S,
    basis,
    columns,
    doubts,
    estimates,
    main_section_of,
    pair_doubts,
    waiting_ratio,
)
from sockscope.core.results.schema import (
    ENVIRONMENT,
    ResultField,
    ResultKind,
    bounds,
    experiment_shape,
    head,
    shapes,
    short_names,
    written,
)
from sockscope.core.results.shape import FLAG, NAME, NUMBER, SCALAR, TEXT, list_of, one_of, optional, record
from sockscope.core.roles import RELAY
from sockscope.core.run.adding import joined
from sockscope.core.run.datagrams import flows
from sockscope.core.run.figures import (
    cores_taken,
    figures,
    machine_readings,
    part_figures,
    stall_s,
    without_answer,
    without_response,
)
from sockscope.core.run.findings import Evidence, Finding, limit_of_run
from sockscope.core.run.injected import Injected
from sockscope.core.run.little import accounted_ratio
from sockscope.core.run.raised import Raised
from sockscope.core.run.relay import TapFigures
from sockscope.core.run.schedule import why_invalid
from sockscope.core.run.snapshot import (
    ProcessUse,
    Resources,
    RoleSnapshot,
    Snapshot,
    SocketOption,
)


@dataclass(frozen=True)
class _Source:
    """What a result is written from."""

    snapshot: Snapshot
    environment: Mapping[str, object]
    windows: Sequence[Snapshot] = ()

    @cached_property
    def finding(self) -> Finding:
        """What limited what the snapshot covers."""
        return limit_of_run(self.snapshot)

    @property
    def swarm(self) -> RoleSnapshot | None:
        """The role that sees requests as clients do: they themselves, or a relay that is alone with them."""
        alone = self.snapshot.experiment.role == RELAY
        return self.snapshot.relay if alone else self.snapshot.swarm

    @property
    def server(self) -> RoleSnapshot | None:
        return self.snapshot.server


_Field = ResultField[_Source]


# Sections of figures.


def _section(name: str, values: Callable[[_Source], Mapping[str, Any] | None]) -> _Field:
    """Return the field of a section; ``values`` returns None where all of its figures are not known."""
    names = [figure.name for figure in SECTIONS[name]]

    def write(source: _Source) -> dict[str, Any]:
        found = values(source)
        return dict.fromkeys(names) if found is None else {one: found[one] for one in names}

    return ResultField(name, record(dict.fromkeys(names, NUMBER), NUMBER), write)


def _statistics(name: str, statistics: Callable[[_Source], object | None]) -> _Field:
    """Return the field of a section whose figures are the attributes of ``statistics``."""
    return _section(name, lambda source: _attributes(name, statistics(source)))


def _later(field: _Field) -> _Field:
    """Return a field that older results of the same schema lack."""
    return replace(field, shape=optional(field.shape))


def _attributes(section: str, statistics: object | None) -> dict[str, Any] | None:
    if statistics is None:
        return None
    return {figure.name: getattr(statistics, figure.name) for figure in SECTIONS[section]}


def _rates(source: _Source) -> dict[str, Any]:
    shown = figures(source.snapshot)
    return {"requests_per_s": shown.requests_per_s, "bytes_per_s": shown.bytes_per_s}


def _times(answered: Histogram, unanswered: Ages) -> dict[str, Any]:
    values = percentiles(answered, unanswered, tuple(PERCENTILES.values()))
    return {
        **dict(zip(PERCENTILES, values, strict=True)),
        "mean": mean(answered, unanswered),
        "count": answered.total,
    }


def _service_time(source: _Source) -> dict[str, Any] | None:
    swarm, snapshot = source.swarm, source.snapshot
    if swarm is None:
        return None
    return {
        **_times(swarm.service_time, without_answer(snapshot)),
        "unanswered": swarm.unanswered.total,
        "stall": stall_s(snapshot),
    }


def _response_time(source: _Source) -> dict[str, Any] | None:
    swarm, snapshot = source.swarm, source.snapshot
    if swarm is None:
        return None
    return {
        **_times(swarm.response_time, without_response(snapshot)),
        "unanswered": swarm.response_unanswered.total,
    }


def _schedule_lateness(source: _Source) -> dict[str, Any] | None:
    return _times(source.swarm.schedule_lateness, Ages()) if source.swarm is not None else None


def _tls_handshake(source: _Source) -> dict[str, Any]:
    return _times(source.snapshot.main.handshake_time, Ages())


def _relay_delay(relay: RoleSnapshot | None) -> dict[str, Any] | None:
    if relay is None or relay.relay is None or not relay.relay.delay.total:
        return None
    p50_s, p99_s = relay.relay.delay.percentiles((0.5, 0.99))
    return {"p50": p50_s, "p99": p99_s, "count": relay.relay.delay.total}


def _passed(relay: RoleSnapshot | None, direction: str) -> dict[str, Any] | None:
    """Return what a direction of the relay has counted, with what faults have done there."""
    if relay is None or relay.relay is None:
        return None
    passed = asdict(getattr(relay.relay, direction))
    impaired: dict[str, Any] = passed.pop("impaired")
    del passed["black_holed_at_s"]  # a moment of a clock that nobody else has
    return passed | impaired


def _jitter(swarm: RoleSnapshot | None) -> dict[str, Any] | None:
    if swarm is None or not swarm.jitter.total:
        return None
    p50_s, p99_s = swarm.jitter.percentiles((0.5, 0.99))
    return {"p50": p50_s, "p99": p99_s, "count": swarm.jitter.total}


def _tcp(role: RoleSnapshot | None) -> dict[str, Any] | None:
    """Return what TCP_INFO told at one end; None where nothing was looked at."""
    if role is None or not role.tcp.looks:
        return None
    sample = role.tcp
    p50_s, p99_s = sample.rtt.percentiles((0.5, 0.99))
    return {
        "looks": sample.looks,
        "retransmits": sample.retransmits,
        "rtt_p50_s": p50_s,
        "rtt_p99_s": p99_s,
        "busy_s": sample.busy_s,
        "rwnd_limited_s": sample.rwnd_limited_s,
        "sndbuf_limited_s": sample.sndbuf_limited_s,
    }


def _clients(source: _Source) -> dict[str, Any] | None:
    swarm = source.snapshot.swarm
    if swarm is None:
        return None
    return {
        "running": swarm.clients,
        "connecting": swarm.clients_connecting,
        "retrying": swarm.clients_retrying,
        "connections_open": swarm.connections_open,
        "in_flight": swarm.in_flight,
        "queued": swarm.queued,
        "accounted_ratio": accounted_ratio(source.snapshot),
        "ready_after_s": _ready_after_s(swarm, source.snapshot),
    }


def _ready_after_s(swarm: RoleSnapshot, snapshot: Snapshot) -> float | None:
    """Return when every client had its first connection; those that listen for a greeting have it before."""
    return max(0.0, swarm.ready_s - snapshot.started_s) if swarm.ready_s else None


def _server(source: _Source) -> dict[str, Any] | None:
    server, swarm = source.server, source.swarm
    if server is None:
        return None
    totals = _attributes("totals", server.totals) or {}
    if not server.counts_frames:
        totals |= dict.fromkeys(OF_FRAMES)
    skew_s = server.time_s - swarm.time_s if swarm is not None else None
    return {
        **totals,
        "connections_open": server.connections_open,
        "listen_drops": server.listen_drops,
        "unwritable_s": server.unwritable_s,
        "skew_s": skew_s,
    }


def _resources(resources: Resources) -> dict[str, Any]:
    p50, p99, most = resources.loop_lag.percentiles((0.5, 0.99, 1.0))
    return {
        "cpu_ratio": resources.cpu_ratio,
        "cpu_s": resources.cpu_s,
        "core_wait_s": resources.core_wait_s,
        "rss_bytes": resources.rss_bytes,
        "threads": resources.threads,
        "loop_lag_p50_s": p50,
        "loop_lag_p99_s": p99,
        "loop_lag_max_s": most,
        "descriptors": resources.descriptors,
        "descriptor_limit": resources.descriptor_limit,
        "voluntary_switches": resources.voluntary_switches,
        "involuntary_switches": resources.involuntary_switches,
    }


# The rest of the object.


def _experiment(source: _Source) -> dict[str, Value | None]:
    """Return every field as it is now, and None for those that mean nothing to this run."""
    experiment, tuning = source.snapshot.experiment, source.snapshot.tuning
    unknown = unused_fields(replace(experiment, tuning=tuning))
    return {
        entry.attribute: (
            None if key in unknown else getattr(tuning if entry.live else experiment, entry.attribute)
        )
        for key, entry in FIELDS.items()
    }


def _address(source: _Source) -> str:
    return source.snapshot.address


def _trouble(role: RoleSnapshot | None) -> str | None:
    return (role.last_trouble if role is not None else "") or None


def _process_bounds(use: ProcessUse) -> list[str]:
    return ["p99_s"] if isinstance(part_figures(use)[1], AtLeast) else []


_PROCESS: tuple[ResultField[ProcessUse], ...] = (
    ResultField("name", NAME, lambda use: use.name),
    ResultField("pid", NUMBER, lambda use: use.pid),
    ResultField("roles", list_of(NAME), lambda use: list(use.roles)),
    ResultField("state", NAME, lambda use: use.state),
    ResultField("alive", FLAG, lambda use: use.alive),
    ResultField("loop", TEXT, lambda use: use.loop_name or None),
    ResultField("duration_s", NUMBER, lambda use: use.resources.measured_s),
    ResultField("generation", NUMBER, lambda use: use.generation),
    ResultField("clock_offset_s", NUMBER, lambda use: use.clock_offset_s),
    ResultField("clock_error_s", NUMBER, lambda use: use.clock_error_s),
    ResultField("requests_per_s", NUMBER, lambda use: part_figures(use)[0]),
    ResultField("p99_s", NUMBER, lambda use: part_figures(use)[1]),
    ResultField("at_least", optional(list_of(TEXT)), _process_bounds),
)
_MACHINE: tuple[ResultField[Resources], ...] = (
    ResultField("machine_cores_taken", NUMBER, cores_taken),
    ResultField("machine_cores", NUMBER, lambda machine: machine.machine_cores),
)
_PROCESS_SHAPE = record(
    {
        **shapes(_PROCESS),
        **shapes(_MACHINE),
        **{figure.name: NUMBER for figure in SECTIONS["resources"]},
        "environment": ENVIRONMENT,
    }
)


def _process(use: ProcessUse, machine: Resources) -> dict[str, Any]:
    return {
        **written(_PROCESS, use),
        **written(_MACHINE, machine),
        **_resources(use.resources),
        "environment": dict(use.environment),
    }


def _processes(snapshot: Snapshot) -> list[dict[str, Any]]:
    readings = machine_readings(snapshot)
    return [_process(use, readings[use.cores_of]) for use in snapshot.processes]


_OPTION: tuple[ResultField[SocketOption], ...] = (
    ResultField("name", NAME, lambda option: option.name),
    ResultField("requested", NUMBER, lambda option: option.requested),
    ResultField("effective", NUMBER, lambda option: option.effective),
)
_OPTIONS = optional(list_of(record(shapes(_OPTION))))


def _options(role: RoleSnapshot | None) -> list[dict[str, Any]] | None:
    return [written(_OPTION, option) for option in role.socket_options] if role is not None else None


_RAISED: tuple[ResultField[Raised], ...] = (
    ResultField("what", TEXT, lambda raised: raised.what),
    ResultField("where", TEXT, lambda raised: raised.where or None),
    ResultField("message", TEXT, lambda raised: raised.message or None),
    ResultField("count", NUMBER, lambda raised: raised.count),
)


def _injected(server: RoleSnapshot | None) -> Injected | None:
    return server.injected if server is not None and server.injected else None


def _raised(server: RoleSnapshot | None) -> list[dict[str, Any]]:
    return [written(_RAISED, row) for row in server.raised if row.count] if server is not None else []


_TAP: tuple[ResultField[TapFigures], ...] = (
    ResultField("address", TEXT, lambda tap: tap.address),
    ResultField("target", TEXT, lambda tap: tap.target),
    ResultField("speaks", TEXT, lambda tap: tap.speaks or None),
    *(
        ResultField(name, NUMBER, attrgetter(name))
        for name in (
            "connections_open", "connections_opened", "unreached", "requests", "responses", "unanswered",
            "in_flight", "ended_by_silence", "bytes_in", "bytes_out",
        )
    ),
    ResultField("service_time_p50_s", NUMBER, lambda tap: tap.service_time.percentile(0.5)),
    ResultField("service_time_p99_s", NUMBER, lambda tap: tap.service_time.percentile(0.99)),
    ResultField("service_time_max_s", NUMBER, lambda tap: tap.service_time.percentile(1.0)),
)  # fmt: skip


def _taps(relay: RoleSnapshot | None) -> list[dict[str, Any]] | None:
    """Return a row for each address of a relay that is alone; None where there is none."""
    taps = relay.relay.taps if relay is not None and relay.relay is not None else ()
    return [written(_TAP, tap) for tap in taps] or None


def _batches(source: _Source) -> dict[str, Any] | None:
    """Return what is compared in the batches of the run; None for a short run."""
    measured = [one for one in source.windows if not one.warming_up and one.measured_s >= SHORT_S / 2]
    parts = [interval(reduce(joined, batch)) for batch in batches(measured)]
    if len(parts) < FEWEST:
        return None
    main = main_section_of(source.snapshot.experiment.role)
    found = {
        name: [basis(part, name, main) for part in parts]
        for name, figure in FIGURES.items()
        if not figure.extent
    }
    return {
        "count": len(parts),
        "waiting_ratio": [waiting_ratio(part) for part in parts],
        "figures": {name: values for name, values in found.items() if None not in values},
    }


def _changes(source: _Source) -> list[dict[str, Any]]:
    """Return what was changed while the figures were taken, as far as the snapshot has the events."""
    snapshot = source.snapshot
    return [
        {"at_s": event.time_s - snapshot.started_s, "text": event.text}
        for event in snapshot.events
        if event.kind is EventKind.TUNING and event.time_s >= snapshot.measured_since_s
    ]


def _finite(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


_EVIDENCE: tuple[ResultField[Evidence], ...] = (
    ResultField("name", TEXT, lambda evidence: evidence.name),
    ResultField("value", SCALAR, lambda evidence: _finite(evidence.value)),
    ResultField("unit", TEXT, lambda evidence: evidence.unit or None),
    ResultField("threshold", NUMBER, lambda evidence: _finite(evidence.threshold)),
    ResultField("source", TEXT, lambda evidence: evidence.source),
    ResultField("holds", FLAG, lambda evidence: evidence.holds),
)
_VERDICT = record({"kind": TEXT, "sentence": TEXT, "evidence": list_of(record(shapes(_EVIDENCE)))})


def _verdict(source: _Source) -> dict[str, Any]:
    found = source.finding
    return {
        "kind": found.kind.value,
        "sentence": found.sentence,
        "evidence": [written(_EVIDENCE, evidence) for evidence in found.evidence],
    }


def _limit(source: _Source) -> dict[str, str | None]:
    found = source.finding
    return {"name": found.limit, "text": found.sentence, "processes": ", ".join(found.who) or None}


_MEASURED: tuple[_Field, ...] = (
    ResultField("state", TEXT, lambda source: source.snapshot.state.value),
    ResultField("warming_up", FLAG, lambda source: source.snapshot.warming_up),
    ResultField("elapsed_s", NUMBER, lambda source: source.snapshot.elapsed_s),
    ResultField("duration_s", NUMBER, lambda source: source.snapshot.measured_s),
    ResultField("paused_s", NUMBER, lambda source: source.snapshot.paused_s),
    ResultField("verdict", optional(_VERDICT), _verdict),
    ResultField("valid", FLAG, lambda source: not why_invalid(source.snapshot)),
    ResultField("invalid_reason", TEXT, lambda source: why_invalid(source.snapshot) or None),
    ResultField("limit", optional(record({"name": TEXT, "text": TEXT, "processes": TEXT})), _limit),
    _statistics("totals", lambda source: source.swarm and source.swarm.totals),
    _section("rates", _rates),
    _section("service_time_s", _service_time),
    _later(_section("response_time_s", _response_time)),
    _later(_section("schedule_lateness_s", _schedule_lateness)),
    ResultField(
        "at_least",
        optional(list_of(NAME)),
        lambda source: bounds(
            {
                "service_time_s": _service_time(source) or {},
                "response_time_s": _response_time(source) or {},
            }
        ),
    ),
    ResultField("tls", TEXT, lambda source: source.snapshot.main.tls or None),
    _later(_section("tls_handshake_s", _tls_handshake)),
    _section("clients", _clients),
    _statistics("limiter", lambda source: source.swarm and source.swarm.limiter),
    _statistics("admission", lambda source: source.server and source.server.limiter),
    _statistics("pool", lambda source: source.swarm and source.swarm.pool),
    _section("server", _server),
    ResultField("raised", optional(list_of(record(shapes(_RAISED)))), lambda source: _raised(source.server)),
    _later(_statistics("injected", lambda source: _injected(source.server))),
    _section("resources", lambda source: _resources(source.snapshot.resources)),
    ResultField("processes", list_of(_PROCESS_SHAPE), lambda source: _processes(source.snapshot)),
    _statistics("kernel_udp", lambda source: source.snapshot.resources.kernel_udp),
    _later(ResultField("lens", LENS_SHAPE, lambda source: lens(source.snapshot))),
    _later(ResultField("holds", HOLDS_SHAPE, lambda source: holds(source.snapshot))),
    _later(_statistics("kernel_tcp", lambda source: source.snapshot.resources.kernel_tcp)),
)
_INTERVAL = (*head("interval"), *_MEASURED)
_SUMMARY: tuple[_Field, ...] = (
    *head("summary"),
    ResultField("experiment", experiment_shape(role=one_of("both", "server", "swarm", "relay")), _experiment),
    ResultField("environment", ENVIRONMENT, lambda source: dict(source.environment)),
    ResultField("address", TEXT, _address),
    ResultField("loop", TEXT, lambda source: source.snapshot.loop_name),
    ResultField("error", TEXT, lambda source: source.snapshot.error or None),
    ResultField("last_trouble", TEXT, lambda source: _trouble(source.swarm)),
    ResultField("serves_as", TEXT, lambda source: (source.server and source.server.serves_as) or None),
    ResultField("server_trouble", TEXT, lambda source: _trouble(source.server)),
    ResultField("closing_s", NUMBER, lambda source: source.snapshot.closing_s),
    ResultField("tunings", NUMBER, lambda source: source.snapshot.generation),
    ResultField("changes", optional(list_of(record({"at_s": NUMBER, "text": TEXT}))), _changes),
    *_MEASURED,
    _later(_section("jitter_s", lambda source: _jitter(source.swarm))),
    _later(_section("relay_delay_s", lambda source: _relay_delay(source.snapshot.relay))),
    _later(
        ResultField(
            "taps",
            optional(list_of(record(shapes(_TAP)))),
            lambda source: _taps(source.snapshot.relay),
        )
    ),
    _later(_section("relay_up", lambda source: _passed(source.snapshot.relay, "up"))),
    _later(_section("relay_down", lambda source: _passed(source.snapshot.relay, "down"))),
    _later(_section("tcp", lambda source: _tcp(source.swarm))),
    _later(_section("server_tcp", lambda source: _tcp(source.server))),
    _later(_statistics("datagrams_to_server", lambda source: flows(source.snapshot)[0])),
    _later(_statistics("datagrams_to_clients", lambda source: flows(source.snapshot)[1])),
    ResultField(
        "captures",
        record({"recorded": NUMBER, "overwritten": NUMBER}, NUMBER),
        lambda source: {
            "recorded": source.snapshot.main.captures_recorded,
            "overwritten": source.snapshot.main.captures_overwritten,
        },
    ),
    ResultField(
        "socket_options",
        record({"swarm": _OPTIONS, "server": _OPTIONS}),
        lambda source: {"swarm": _options(source.swarm), "server": _options(source.server)},
    ),
    ResultField(
        "batches",
        optional(
            record(
                {
                    "count": NUMBER,
                    "waiting_ratio": list_of(NUMBER),
                    "figures": record({}, list_of(NUMBER)),
                }
            )
        ),
        _batches,
    ),
)


_SECTIONS: Mapping[str, _Field] = {field.name: field for field in _SUMMARY if field.name in SECTIONS}


def report(
    snapshot: Snapshot, environment: Mapping[str, object], windows: Sequence[Snapshot] = ()
) -> dict[str, Any]:
    """Return the object of ``--json``: what ran, where, and the figures that ``snapshot`` covers.

    ``windows`` are the seconds of the run, in order; from them is told how sure the figures are.
    """
    return written(_SUMMARY, _Source(snapshot, environment, windows))


def reading(snapshot: Snapshot) -> Callable[[str], float | None]:
    """Return what reads single figures of a window by their dotted names; None: not known.

    Sections are worked out when something in them is read, and nothing else of the object is.
    """
    source = _Source(snapshot, {})
    sections: dict[str, Mapping[str, Any]] = {}

    def read(name: str) -> float | None:
        section, _, figure = name.rpartition(".")
        if section not in sections:
            sections[section] = _SECTIONS[section].write(source)
        value: float | None = sections[section][figure]
        return value

    return read


def interval(snapshot: Snapshot) -> dict[str, Any]:
    """Return the object of ``--json-stream`` for one window (:func:`sockscope.core.run.window.window`)."""
    return written(_INTERVAL, _Source(snapshot, {}))


RUN = ResultKind(
    name=kind_names.RUN,
    type="summary",
    shape=record(shapes(_SUMMARY)),
    interval=record(shapes(_INTERVAL)),
    figures=dict(FIGURES),
    names={**NAMES, **short_names([CPU_PER_REQUEST])},
    columns=columns,
    estimates=estimates,
    doubts=doubts,
    pair_doubts=pair_doubts,
)
