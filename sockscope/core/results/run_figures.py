"""The figures of a run: the one table from which they are written, checked, named, judged and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from sockscope.core.results.schema import Better, Figure, short_names
from sockscope.core.run.snapshot import KernelUdp, LimiterStatistics, Totals

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
"""Percentiles of the service time, as shares."""
PROGRESS = frozenset({"requests", "responses"})
"""Counts that tell how much was done, and nothing about how well."""
OF_FRAMES = PROGRESS | {"messages_torn", "reads_merged"}
"""Counts that nobody knows where nothing tells messages apart."""
_UNWELCOME = frozenset(
    {"timeouts", "errors", "failed", "unexpected", "connections_refused", "connections_reset",
     "connections_timed_out", "connections_failed", "connections_rejected", "accept_stops", "datagrams_lost",
     "datagrams_late",
     "datagrams_reordered", "datagrams_duplicated", "in_errors", "rcvbuf_errors"}
)  # fmt: skip
"""Counts of which fewer are better."""
_OF_A_MOMENT = frozenset({"permits", "in_flight", "waiting"})
_OF_CLIENTS = frozenset({"connections_opened", "connections_closed"})
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


def _latencies(*names: str) -> tuple[Figure, ...]:
    return tuple(Figure(name, Better.LOWER) for name in names)


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
        *_latencies(*PERCENTILES, "mean"),
        Figure("count", extent=True),
        Figure("unanswered", Better.LOWER, per_request=True),
        Figure("stall", Better.LOWER),
    ),
    "clients": tuple(
        map(
            Figure,
            (
                "running",
                "connecting",
                "retrying",
                "connections_open",
                "in_flight",
                "ready_after_s",
                "accounted_ratio",
            ),
        )
    ),
    "limiter": _counts(LimiterStatistics),
    "admission": _counts(LimiterStatistics),
    "pool": _counts(LimiterStatistics),
    "server": (*_totals(), Figure("connections_open"), Figure("skew_s")),
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
    "kernel_udp": _counts(KernelUdp),
}
"""The sections of figures and what is in each, in the order in which short names are looked up."""

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
    alone = [figure for figure in dotted if not figure.startswith("server.")]
    return {"p99.9": "service_time_s.p999", **{figure: figure for figure in dotted}, **short_names(alone)}


NAMES: Mapping[str, str] = _names()
"""Names by which a figure of a run may be called, with its dotted name."""
