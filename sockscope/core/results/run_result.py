"""The result of a run: the objects of ``--json`` and ``--json-stream``, and the columns of ``--csv``.

``docs/json.md`` tells what each field means. A figure that is not known is None, never 0; the fields that
are there do not depend on the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from sockscope.core.censoring import mean, percentiles
from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.fields import Value
from sockscope.core.config.models import DEFAULT_SERVERS
from sockscope.core.events import EventKind
from sockscope.core.results.batch_means import FEWEST, Batches, batches
from sockscope.core.results.run_figures import (
    CPU_PER_REQUEST,
    NAMES,
    OF_FRAMES,
    PERCENTILES,
    SECTIONS,
    compared,
)
from sockscope.core.results.schema import (
    ENVIRONMENT,
    Estimate,
    Report,
    ResultField,
    ResultKind,
    bounds,
    experiment_shape,
    head,
    known,
    shapes,
    short_names,
    written,
)
from sockscope.core.results.shape import FLAG, NAME, NUMBER, TEXT, list_of, one_of, optional, record
from sockscope.core.run.adding import joined
from sockscope.core.run.figures import figures, stall_s, without_answer
from sockscope.core.run.findings import limit_of_run
from sockscope.core.run.little import accounted_ratio
from sockscope.core.run.snapshot import (
    ProcessUse,
    Raised,
    Resources,
    RoleSnapshot,
    Snapshot,
    SocketOption,
)
from sockscope.core.units import format_duration, format_ratio

SHORT_S = 1.0
"""Figures of less time say little."""
BUSIER_RATIO = 0.1
"""Runs that waited for a core by so different shares of the time that they wanted one are worth a word."""
UNEQUAL = 2.0
"""Runs of which one lasted this many times as long as the other are worth a word."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What a result is written from."""

    snapshot: Snapshot
    environment: Mapping[str, object]
    windows: Sequence[Snapshot] = ()

    @property
    def swarm(self) -> RoleSnapshot | None:
        return self.snapshot.swarm

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


def _attributes(section: str, statistics: object | None) -> dict[str, Any] | None:
    if statistics is None:
        return None
    return {figure.name: getattr(statistics, figure.name) for figure in SECTIONS[section]}


def _rates(source: _Source) -> dict[str, Any]:
    shown = figures(source.snapshot)
    return {"requests_per_s": shown.requests_per_s, "bytes_per_s": shown.bytes_per_s}


def _service_time(source: _Source) -> dict[str, Any] | None:
    if source.swarm is None:
        return None
    answered, unanswered = source.swarm.service_time, without_answer(source.snapshot)
    values = percentiles(answered, unanswered, tuple(PERCENTILES.values()))
    return {
        **dict(zip(PERCENTILES, values, strict=True)),
        "mean": mean(answered, unanswered),
        "count": answered.total,
        "unanswered": source.swarm.unanswered.total,
        "stall": stall_s(source.snapshot),
    }


def _clients(source: _Source) -> dict[str, Any] | None:
    swarm = source.swarm
    if swarm is None:
        return None
    return {
        "running": swarm.clients,
        "connecting": swarm.clients_connecting,
        "retrying": swarm.clients_retrying,
        "connections_open": swarm.connections_open,
        "in_flight": swarm.in_flight,
        "accounted_ratio": accounted_ratio(source.snapshot),
        "ready_after_s": swarm.ready_s - source.snapshot.started_s if swarm.ready_s else None,
    }


def _server(source: _Source) -> dict[str, Any] | None:
    server, swarm = source.server, source.swarm
    if server is None:
        return None
    totals = _attributes("totals", server.totals) or {}
    if not server.counts_frames:
        totals |= dict.fromkeys(OF_FRAMES)
    skew_s = server.time_s - swarm.time_s if swarm is not None else None
    return {**totals, "connections_open": server.connections_open, "skew_s": skew_s}


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
    unknown = without_effect(experiment)
    return {
        entry.attribute: (
            None if key in unknown else getattr(tuning if entry.live else experiment, entry.attribute)
        )
        for key, entry in FIELDS.items()
    }


def _address(source: _Source) -> str:
    return (source.server.address if source.server is not None else "") or source.snapshot.main.address


def _trouble(role: RoleSnapshot | None) -> str | None:
    return (role.last_trouble if role is not None else "") or None


_PROCESS: tuple[ResultField[ProcessUse], ...] = (
    ResultField("name", NAME, lambda use: use.name),
    ResultField("pid", NUMBER, lambda use: use.pid),
    ResultField("roles", list_of(NAME), lambda use: list(use.roles)),
    ResultField("state", NAME, lambda use: use.state),
    ResultField("alive", FLAG, lambda use: use.alive),
    ResultField("loop", TEXT, lambda use: use.loop_name or None),
    ResultField("duration_s", NUMBER, lambda use: use.resources.measured_s),
)
_PROCESS_SHAPE = record(
    {
        **shapes(_PROCESS),
        **{figure.name: NUMBER for figure in SECTIONS["resources"]},
        "environment": ENVIRONMENT,
    }
)


def _process(use: ProcessUse) -> dict[str, Any]:
    return {**written(_PROCESS, use), **_resources(use.resources), "environment": dict(use.environment)}


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


def _raised(server: RoleSnapshot | None) -> list[dict[str, Any]]:
    return [written(_RAISED, row) for row in server.raised if row.count] if server is not None else []


def _batches(source: _Source) -> dict[str, Any] | None:
    """Return what is compared in the batches of the run; None for a short run."""
    measured = [one for one in source.windows if not one.warming_up and one.measured_s >= SHORT_S / 2]
    parts = [interval(reduce(joined, batch)) for batch in batches(measured)]
    if len(parts) < FEWEST:
        return None
    main = _main_section(source.snapshot.experiment.role)
    found = {
        name: [_basis(part, name, main) for part in parts]
        for name, figure in RUN.figures.items()
        if not figure.extent
    }
    return {
        "count": len(parts),
        "waiting_ratio": [_waiting_ratio(part) for part in parts],
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


def _limit(source: _Source) -> dict[str, str | None]:
    found = limit_of_run(source.snapshot)
    return {"name": found.limit, "text": found.text, "processes": ", ".join(found.who) or None}


_MEASURED: tuple[_Field, ...] = (
    ResultField("state", TEXT, lambda source: source.snapshot.state.value),
    ResultField("warming_up", FLAG, lambda source: source.snapshot.warming_up),
    ResultField("elapsed_s", NUMBER, lambda source: source.snapshot.elapsed_s),
    ResultField("duration_s", NUMBER, lambda source: source.snapshot.measured_s),
    ResultField("paused_s", NUMBER, lambda source: source.snapshot.paused_s),
    ResultField("limit", optional(record({"name": TEXT, "text": TEXT, "processes": TEXT})), _limit),
    _statistics("totals", lambda source: source.swarm and source.swarm.totals),
    _section("rates", _rates),
    _section("service_time_s", _service_time),
    ResultField(
        "at_least",
        optional(list_of(NAME)),
        lambda source: bounds({"service_time_s": _service_time(source) or {}}),
    ),
    _section("clients", _clients),
    _statistics("limiter", lambda source: source.swarm and source.swarm.limiter),
    _statistics("admission", lambda source: source.server and source.server.limiter),
    _statistics("pool", lambda source: source.swarm and source.swarm.pool),
    _section("server", _server),
    ResultField("raised", optional(list_of(record(shapes(_RAISED)))), lambda source: _raised(source.server)),
    _section("resources", lambda source: _resources(source.snapshot.resources)),
    ResultField(
        "processes", list_of(_PROCESS_SHAPE), lambda source: [*map(_process, source.snapshot.processes)]
    ),
    _statistics("kernel_udp", lambda source: source.snapshot.resources.kernel_udp),
)
_INTERVAL = (*head("interval"), *_MEASURED)
_SUMMARY: tuple[_Field, ...] = (
    *head("summary"),
    ResultField("experiment", experiment_shape(role=one_of("both", "server", "swarm")), _experiment),
    ResultField("environment", ENVIRONMENT, lambda source: dict(source.environment)),
    ResultField("address", TEXT, _address),
    ResultField("loop", TEXT, lambda source: source.snapshot.loop_name),
    ResultField("error", TEXT, lambda source: source.snapshot.error or None),
    ResultField("last_trouble", TEXT, lambda source: _trouble(source.swarm)),
    ResultField("server_trouble", TEXT, lambda source: _trouble(source.server)),
    ResultField("closing_s", NUMBER, lambda source: source.snapshot.closing_s),
    ResultField("tunings", NUMBER, lambda source: source.snapshot.generation),
    ResultField("changes", optional(list_of(record({"at_s": NUMBER, "text": TEXT}))), _changes),
    *_MEASURED,
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


def report(
    snapshot: Snapshot, environment: Mapping[str, object], windows: Sequence[Snapshot] = ()
) -> dict[str, Any]:
    """Return the object of ``--json``: what ran, where, and the figures that ``snapshot`` covers.

    ``windows`` are the seconds of the run, in order; from them is told how sure the figures are.
    """
    return written(_SUMMARY, _Source(snapshot, environment, windows))


def interval(snapshot: Snapshot) -> dict[str, Any]:
    """Return the object of ``--json-stream`` for one window (:func:`sockscope.core.run.window.window`)."""
    return written(_INTERVAL, _Source(snapshot, {}))


# What lists and comparisons need.


def main_section(report: Report) -> str:
    """Return the section whose counts are the run's: the server's where it ran alone."""
    return _main_section(known(report, "experiment.role"))


def _main_section(role: object) -> str:
    return "server" if role == "server" else "totals"


def _columns(report: Report) -> dict[str, Any]:
    main, transport = main_section(report), known(report, "experiment.transport")
    model = known(report, "experiment.server")
    return {
        "transport": transport,
        "server": DEFAULT_SERVERS.get(transport) if model == "default" else model,
        "client": known(report, "experiment.client"),
        "clients": known(report, "experiment.clients"),
        "duration_s": known(report, "duration_s"),
        "requests_per_s": known(report, "rates.requests_per_s"),
        "p99_s": known(report, "service_time_s.p99"),
        "failed": _failed(report, main),
    }


def _failed(report: Report, main: str) -> int:
    """Return how many requests failed, of an older result too, which has only the parts."""
    return sum(known(report, f"{main}.{name}") or 0 for name in ("timeouts", "errors"))


def _estimates(report: Report) -> dict[str, dict[str, Estimate]]:
    return {"": {name: _estimate(report, name) for name in RUN.figures}}


def _estimate(report: Report, name: str) -> Estimate:
    main = main_section(report)
    return Estimate(_value(report, name, main), _basis(report, name, main), batches=_batches_of(report, name))


def _batches_of(report: Report, name: str) -> Batches | None:
    found = report.get("batches") or {}
    values, waiting = found.get("figures", {}).get(name, ()), found.get("waiting_ratio", ())
    if len(values) < FEWEST or None in values:
        return None
    known_waiting = len(waiting) == len(values) and None not in waiting
    return Batches(tuple(values), tuple(waiting) if known_waiting else (0.0,) * len(values))


def _waiting_ratio(report: Report) -> float | None:
    """Return the share of the processor time wanted by all processes for which they waited."""
    uses = [(known(use, "cpu_s"), known(use, "core_wait_s")) for use in report["processes"]]
    if not uses or any(used is None or waited is None for used, waited in uses):
        return None
    used, waited = (sum(each) for each in zip(*uses, strict=True))
    return waited / (used + waited) if used + waited > 0 else None


def _value(report: Report, name: str, main: str) -> float | None:
    return _cpu_s_per_request(report, main) if name == CPU_PER_REQUEST else known(report, name)


def _basis(report: Report, name: str, main: str) -> float | None:
    value = _value(report, name, main)
    return _per_request(report, value, main) if RUN.figures[name].per_request else value


def _cpu_s_per_request(report: Report, main: str) -> float | None:
    """Return the processor time of all processes, wherever the roles were placed, per answer."""
    uses = [known(use, "cpu_s") for use in report["processes"]]
    answered = known(report, f"{main}.responses")
    return sum(uses) / answered if None not in uses and answered else None


def _per_request(report: Report, count: float | None, main: str) -> float | None:
    """Return a count per request of the run; without requests only nothing has a share."""
    requests = known(report, f"{main}.requests")
    if count is None or requests is None:
        return None
    if requests:
        share: float = count / requests
        return share
    return 0.0 if count == 0 else None


def _doubts(name: str, report: Report) -> Iterator[str]:
    if error := known(report, "error"):
        yield f"{name} {'failed' if known(report, 'state') == 'failed' else 'fell short'}: {error}"
    if known(report, "warming_up"):
        yield f"{name} ended while it was warming up"
    elif (known(report, "duration_s") or 0.0) < SHORT_S:
        yield f"{name} measured only {format_duration(known(report, 'duration_s'))}"
    elif report.get("batches") is None:
        measured = format_duration(known(report, "duration_s"))
        yield f"{name} measured {measured}, without batches that tell a difference from chance"
    if times := known(report, "tunings"):
        turned = "once" if times == 1 else f"{times:,} times"
        yield f"{name} was tuned {turned} while it went on: its figures mix what was before and after"


def _pair_doubts(a: Report, b: Report) -> Iterator[str]:
    lasted = [known(one, "duration_s") or 0.0 for one in (a, b)]
    if max(lasted) > UNEQUAL * min(lasted):
        yield f"A lasted {format_duration(lasted[0])} and B {format_duration(lasted[1])}"
    a_waited, b_waited = (_waiting_ratio(one) or 0.0 for one in (a, b))
    if abs(a_waited - b_waited) > BUSIER_RATIO:
        yield (
            f"other programs took more of the machine from {'A' if a_waited > b_waited else 'B'}: of the "
            f"processor time it wanted A waited for {format_ratio(a_waited)}, B for {format_ratio(b_waited)}"
        )
    roles = [known(one, "experiment.role") for one in (a, b)]
    if roles[0] != roles[1]:
        yield f"other roles ran ({roles[0]} → {roles[1]}): some figures are of one side only"


RUN = ResultKind(
    name="run",
    type="summary",
    shape=record(shapes(_SUMMARY)),
    interval=record(shapes(_INTERVAL)),
    figures=dict(compared()),
    names={**NAMES, **short_names([CPU_PER_REQUEST])},
    columns=_columns,
    estimates=_estimates,
    doubts=_doubts,
    pair_doubts=_pair_doubts,
)
