"""The figures of a run: the one table from which they are written, checked, named, judged and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from sockscope.core.impairment.impaired import Impaired
from sockscope.core.results.batch_means import PERCENTILE_FLOOR_RATIO
from sockscope.core.results.schema import Better, Figure, short_names
from sockscope.core.run.datagrams import Flow
from sockscope.core.run.injected import Injected
from sockscope.core.run.relay import Passed
from sockscope.core.run.snapshot import KernelTcp, KernelUdp, LimiterStatistics, Totals

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
"""Percentiles of times, as shares."""
PROGRESS = frozenset({"requests", "responses", "requests_due"})
"""Counts that tell how much was done, and nothing about how well."""
OF_FRAMES = PROGRESS | {"messages_torn", "reads_merged"}
"""Counts that nobody knows where nothing tells messages apart."""
_UNWELCOME = frozenset(
    {"timeouts", "errors", "failed", "answers_rejected", "unexpected", "connections_refused",
     "connections_reset", "connections_timed_out", "connections_failed", "connections_rejected",
     "connects_without_port", "connections_truncated", "handshakes_failed", "accept_stops", "datagrams_lost",
     "datagrams_late", "datagrams_held", "datagrams_reordered", "datagrams_duplicated", "datagrams_unsent",
     "datagrams_dropped", "datagrams_unread", "in_errors", "rcvbuf_errors",
     "listen_overflows", "requests_dropped"}
)  # fmt: skip
"""Counts of which fewer are better."""
_OF_A_MOMENT = frozenset({"permits", "in_flight", "waiting", "longest_wait_s"})
_OF_CLIENTS = frozenset({"connections_opened", "connections_closed", "handshakes", "sessions_reused"})
"""Counts that grow with the clients, not with the requests."""


def _counts(statistics: type) -> tuple[Figure, ...]:
    """Return a figure for each field of a dataclass of counts."""
    return tuple(
        Figure(
            f.name,
            Better.LOWER if f.name in _UNWELCOME else Better.NEITHER,
            per_request=f.name not in _OF_A_MOMENT | _OF_CLIENTS | PROGRESS,
            extent=f.name in PROGRESS,
        )
        for f in fields(statistics)
    )


def _flow() -> tuple[Figure, ...]:
    """Return the figures of one direction of datagrams."""
    done = ("sent", "received", "doubled")
    return tuple(
        Figure(f.name, Better.NEITHER if f.name in done else Better.LOWER, per_request=True)
        for f in fields(Flow)
    )


def _passed() -> tuple[Figure, ...]:
    """Return the figures of one direction of a relay, with what faults have done."""
    of_a_moment = ("held", "held_bytes")
    return tuple(
        Figure(f.name, per_request=f.name not in of_a_moment)
        for f in (*fields(Passed), *fields(Impaired))
        if f.name not in ("impaired", "black_holed_at_s")
    )


def _tcp() -> tuple[Figure, ...]:
    """Return the figures of TCP_INFO at one end."""
    return (
        Figure("looks", extent=True),
        Figure("retransmits", Better.LOWER, per_request=True),
        *_latencies("rtt_p50_s", "rtt_p99_s"),
        Figure("busy_s", per_request=True),
        Figure("rwnd_limited_s", Better.LOWER, per_request=True),
        Figure("sndbuf_limited_s", Better.LOWER, per_request=True),
    )


def _latencies(*names: str) -> tuple[Figure, ...]:
    return tuple(Figure(name, Better.LOWER, floor_ratio=PERCENTILE_FLOOR_RATIO) for name in names)


def _totals() -> Iterator[Figure]:
    """Yield the counts of a role, and behind their parts those that are sums."""
    for figure in _counts(Totals):
        yield figure
        if figure.name == "errors":
            yield replace(figure, name="failed")


SECTIONS: Mapping[str, tuple[Figure, ...]] = {
    "totals": tuple(_totals()),
    "rates": (Figure("requests_per_s", Better.HIGHER), Figure("bytes_per_s", Better.HIGHER)),
    "service_time_s": (
        *_latencies(*PERCENTILES),
        Figure("mean", Better.LOWER),
        Figure("count", extent=True),
        Figure("unanswered", Better.LOWER, per_request=True),
        Figure("stall", Better.LOWER),
    ),
    "response_time_s": (
        *_latencies(*PERCENTILES),
        Figure("mean", Better.LOWER),
        Figure("count", extent=True),
        Figure("unanswered", Better.LOWER, per_request=True),
    ),
    "schedule_lateness_s": (*_latencies(*PERCENTILES, "mean"), Figure("count", extent=True)),
    "tls_handshake_s": (*_latencies(*PERCENTILES, "mean"), Figure("count", extent=True)),
    "clients": tuple(
        map(
            Figure,
            (
                "running",
                "connecting",
                "retrying",
                "connections_open",
                "in_flight",
                "queued",
                "ready_after_s",
                "accounted_ratio",
            ),
        )
    ),
    "limiter": _counts(LimiterStatistics),
    "admission": _counts(LimiterStatistics),
    "pool": _counts(LimiterStatistics),
    "server": (
        *_totals(),
        Figure("connections_open"),
        Figure("listen_drops", Better.LOWER, per_request=True),
        Figure("unwritable_s", per_request=True),
        Figure("skew_s"),
    ),
    "resources": (
        Figure("cpu_ratio"),
        Figure("cpu_s", per_request=True),
        Figure("core_wait_s", per_request=True),
        Figure("rss_bytes", Better.LOWER),
        Figure("threads"),
        *_latencies("loop_lag_p50_s", "loop_lag_p99_s", "loop_lag_max_s"),
        Figure("descriptors"),
        Figure("descriptor_limit"),
        Figure("voluntary_switches", per_request=True),
        Figure("involuntary_switches", per_request=True),
    ),
    "injected": tuple(Figure(one.name, extent=True) for one in fields(Injected)),
    "kernel_udp": _counts(KernelUdp),
    "kernel_tcp": _counts(KernelTcp),
    "jitter_s": (*_latencies("p50", "p99"), Figure("count", extent=True)),
    "relay_delay_s": (*_latencies("p50", "p99"), Figure("count", extent=True)),
    "relay_up": _passed(),
    "relay_down": _passed(),
    "tcp": _tcp(),
    "server_tcp": _tcp(),
    "datagrams_to_server": _flow(),
    "datagrams_to_clients": _flow(),
}
"""The sections of figures and what is in each, in the order in which short names are looked up."""

_TIMES = {"service": "service_time_s", "response": "response_time_s", "lateness": "schedule_lateness_s"}

CPU_PER_REQUEST = "resources.cpu_s_per_request"
"""Processor time of all processes per request that was answered: a figure of comparisons only, in seconds."""


def compared() -> Iterator[tuple[str, Figure]]:
    """Yield the dotted name and the facts of each figure of a comparison."""
    for section, found in SECTIONS.items():
        yield from ((f"{section}.{figure.name}", figure) for figure in found)
        if section == "resources":
            yield CPU_PER_REQUEST, Figure(CPU_PER_REQUEST.removeprefix("resources."), Better.LOWER)


def _names() -> dict[str, str]:
    """Return each name that a figure may be called by, and its dotted name; the first section wins.

    The server's figures need their section, for the short names mean what the clients saw.
    """
    dotted = [f"{section}.{figure.name}" for section, found in SECTIONS.items() for figure in found]
    alone = [figure for figure in dotted if not figure.startswith(("server.", "server_tcp."))]
    return {
        "p99.9": "service_time_s.p999",
        **{figure: figure for figure in dotted},
        **short_names(alone),
        **dict(_names_of_times()),
        "dropped": "totals.requests_dropped",
    }


def _names_of_times() -> Iterator[tuple[str, str]]:
    """Yield what else the times of requests may be called: ``response_p99``, ``response_p99_s``."""
    for what, section in _TIMES.items():
        for figure in SECTIONS[section]:
            short = f"{what}_{figure.name}"
            yield short, f"{section}.{figure.name}"
            yield f"{short}_s", f"{section}.{figure.name}"


NAMES: Mapping[str, str] = _names()
"""Names by which a figure of a run may be called, with its dotted name."""
