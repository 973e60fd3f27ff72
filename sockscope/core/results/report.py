"""From a snapshot to the objects that ``--json``, ``--json-stream`` and ``--csv`` write.

``docs/json.md`` tells what each field means. A figure that is not known is None, never 0; the fields that
are there do not depend on the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.fields import Value
from sockscope.core.histogram import Histogram
from sockscope.core.run.figures import figures
from sockscope.core.run.snapshot import (
    KernelUdp,
    LimiterStatistics,
    ProcessUse,
    Resources,
    RoleSnapshot,
    Snapshot,
    SocketOption,
    Totals,
)
from sockscope.core.units import DASH

SCHEMA_VERSION = 1

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
_TOTALS = tuple(f.name for f in fields(Totals))
_LIMITER = tuple(f.name for f in fields(LimiterStatistics))
_KERNEL_UDP = tuple(f.name for f in fields(KernelUdp))
_SPECS = {entry.attribute: entry.spec for entry in FIELDS.values()}

FIGURES: Mapping[str, tuple[str, ...]] = {
    "service_time_s": (*_PERCENTILES, "mean", "count"),
    "rates": ("requests_per_s", "bytes_per_s"),
    "totals": _TOTALS,
    "resources": (
        "cpu_ratio", "cpu_s", "rss_bytes", "threads", "loop_lag_p50_s", "loop_lag_p99_s", "loop_lag_max_s",
        "descriptors", "descriptor_limit", "voluntary_switches", "involuntary_switches",
    ),
    "clients": ("running", "connecting", "retrying", "connections_open", "in_flight"),
    "limiter": _LIMITER,
    "admission": _LIMITER,
    "pool": _LIMITER,
    "server": (*_TOTALS, "connections_open", "skew_s"),
    "kernel_udp": _KERNEL_UDP,
}  # fmt: skip
"""The sections of figures and the names in each, in the order in which short names are looked up."""


def report(snapshot: Snapshot, environment: Mapping[str, object]) -> dict[str, Any]:
    """Return the object of ``--json``: what ran, where, and the figures that ``snapshot`` covers."""
    swarm, server = snapshot.swarm, snapshot.server
    return {
        "schema_version": SCHEMA_VERSION,
        "type": "summary",
        "experiment": _experiment(snapshot),
        "environment": dict(environment),
        "address": (server.address if server is not None else "") or snapshot.main.address,
        "loop": snapshot.loop_name,
        "error": snapshot.error or None,
        "last_trouble": (swarm.last_trouble if swarm is not None else "") or None,
        "server_trouble": (server.last_trouble if server is not None else "") or None,
        "tunings": snapshot.generation,
        **_figures(snapshot),
        "captures": {
            "recorded": snapshot.main.captures_recorded,
            "overwritten": snapshot.main.captures_overwritten,
        },
        "socket_options": {"swarm": _options(swarm), "server": _options(server)},
    }


def interval(snapshot: Snapshot) -> dict[str, Any]:
    """Return the object of ``--json-stream`` for one window (:func:`sockscope.core.run.window.window`)."""
    return {"schema_version": SCHEMA_VERSION, "type": "interval", **_figures(snapshot)}


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a nested mapping with its dotted name (``totals.requests``)."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def known(report: Mapping[str, Any], name: str) -> Any:
    """Return the value with this dotted name, or None where it is not known or not there."""
    value: Any = report
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def format_field(attribute: str, value: object) -> str:
    """Return the value of a field of ``experiment`` for people; one that cannot be is shown as it is."""
    spec = _SPECS.get(attribute)
    if value is None:
        return DASH
    if spec is None or not isinstance(value, Value) or spec.check(value) is not None:
        return str(value)
    return spec.format(value)


def _figures(snapshot: Snapshot) -> dict[str, Any]:
    swarm, server, shown = snapshot.swarm, snapshot.server, figures(snapshot)
    return {
        "state": snapshot.state.value,
        "warming_up": snapshot.warming_up,
        "elapsed_s": snapshot.elapsed_s,
        "duration_s": snapshot.measured_s,
        "totals": _named("totals", swarm.totals if swarm is not None else None),
        "rates": {
            "requests_per_s": shown.requests_per_s,
            "bytes_per_s": shown.bytes_per_s,
        },
        "service_time_s": _service_time(swarm.service_time if swarm is not None else None),
        "clients": _clients(swarm),
        "limiter": _named("limiter", swarm.limiter if swarm is not None else None),
        "admission": _named("admission", server.limiter if server is not None else None),
        "pool": _named("pool", swarm.pool if swarm is not None else None),
        "server": {
            **_server_totals(server),
            "connections_open": server.connections_open if server is not None else None,
            "skew_s": server.time_s - swarm.time_s if server is not None and swarm is not None else None,
        },
        "resources": _resources(snapshot.resources),
        "processes": [_process(use) for use in snapshot.processes],
        "kernel_udp": _named("kernel_udp", snapshot.resources.kernel_udp),
    }


def _server_totals(server: RoleSnapshot | None) -> dict[str, Any]:
    named = _named("totals", server.totals if server is not None else None)
    if server is not None and not server.counts_frames:
        named |= {"requests": None, "responses": None}
    return named


def _named(section: str, values: object | None) -> dict[str, Any]:
    """Return the figures of a section by name; each is None when there are no values."""
    return {name: getattr(values, name, None) for name in FIGURES[section]}


def _experiment(snapshot: Snapshot) -> dict[str, Value | None]:
    """Return every field as it is now, and None for those that mean nothing to this run."""
    experiment, tuning = snapshot.experiment, snapshot.tuning
    unknown = without_effect(experiment)
    return {
        entry.attribute: (
            None if key in unknown else getattr(tuning if entry.live else experiment, entry.attribute)
        )
        for key, entry in FIELDS.items()
    }


def _service_time(histogram: Histogram | None) -> dict[str, float | None]:
    if histogram is None:
        return dict.fromkeys(FIGURES["service_time_s"])
    values = histogram.percentiles(tuple(_PERCENTILES.values()))
    return {
        **dict(zip(_PERCENTILES, values, strict=True)),
        "mean": histogram.mean_s,
        "count": histogram.total,
    }


def _clients(swarm: RoleSnapshot | None) -> dict[str, int | None]:
    if swarm is None:
        return dict.fromkeys(FIGURES["clients"])
    return {
        "running": swarm.clients,
        "connecting": swarm.clients_connecting,
        "retrying": swarm.clients_retrying,
        "connections_open": swarm.connections_open,
        "in_flight": swarm.in_flight,
    }


def _process(use: ProcessUse) -> dict[str, Any]:
    return {
        "name": use.name,
        "pid": use.pid,
        "roles": list(use.roles),
        "state": use.state,
        "alive": use.alive,
        "loop": use.loop_name or None,
        "duration_s": use.resources.measured_s,
        **_resources(use.resources),
        "environment": dict(use.environment),
    }


def _resources(resources: Resources) -> dict[str, float | None]:
    p50, p99, most = resources.loop_lag.percentiles((0.5, 0.99, 1.0))
    return {
        "cpu_ratio": resources.cpu_ratio,
        "cpu_s": resources.cpu_s,
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


def _options(role: RoleSnapshot | None) -> list[dict[str, Any]] | None:
    return [_option(option) for option in role.socket_options] if role is not None else None


def _option(option: SocketOption) -> dict[str, Any]:
    return {"name": option.name, "requested": option.requested, "effective": option.effective}
