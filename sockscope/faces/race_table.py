"""A race as text: a table for the terminal, or for a page in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from textwrap import wrap

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.results.contest import Contest, usual_verdict
from sockscope.core.results.lateness import late_told
from sockscope.core.results.spread import Spread
from sockscope.core.results.standing import (
    BOTH,
    CLIENTS,
    MIXED,
    NEITHER,
    SERVER,
    SHARED,
    UNKNOWN,
    Standing,
    StandingRow,
    baseline_of,
    is_valid,
    overall_limit,
    rows,
)  # fmt: skip
from sockscope.core.units import (
    DASH,
    bounded,
    counted,
    format_bytes,
    format_count,
    format_duration,
    format_ratio,
)
from sockscope.faces.columns import TextColumn, aligned, bar, escaped, markdown_row

WIDTH = 100
"""Columns in which the sentences of a race are wrapped; its tables are as wide as they must be."""
_SHOWN = ("transport", "clients", "permits", "size", "service_time", "work", "think_time", "lifetime",
          "framing", "depth", "batch", "pool", "place")  # fmt: skip
"""Fields of the workload that are told, those at their default left out unless they are in `_ALWAYS`."""
_ALWAYS = {"transport", "clients", "size", "service_time", "place"}

LIMITS: Mapping[str, str] = {
    SERVER: "the servers had no CPU left: their own cost is compared",
    CLIENTS: "the clients had no CPU left: the servers could do more than is seen here",
    BOTH: "neither the servers nor the clients had any CPU left",
    NEITHER: "neither used up a core",
    SHARED: "one CPU, which the servers and the clients share",
    MIXED: "not the same for all; see the column limit",
}
"""Who was the limit, in words."""
OTHERS_RATIO = 0.2
"""From this share of a core on, what other programs used is worth a word."""
INVALID = (
    "The clients were the limit for most contestants, so this does not compare the servers. Give them "
    "more CPU with --swarm-processes, or the servers more to do with --service-time or --size."
)
"""Said of a race in which the clients were the limit."""


def race_text(standing: Standing, environment: Mapping[str, object]) -> str:
    """Return the table for a terminal: what ran, ranks and rates, resources, who was the limit."""
    table = rows(standing)
    parts = [
        *wrap(headline(standing), WIDTH),
        *wrap(workload_line(standing.contest), WIDTH),
        "",
        *aligned(result_columns(standing.contest, table, bars=True), table),
        "",
        *aligned(resource_columns(), table),
        *published_lines(standing, table),
        "",
        *_remarks(standing, table),
        *wrap(environment_line(environment), WIDTH),
    ]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def race_markdown(standing: Standing, environment: Mapping[str, object]) -> str:
    """Return the same as a page in Markdown."""
    table = rows(standing)
    columns = [*result_columns(standing.contest, table, bars=False), *resource_columns()[1:]]
    lines = [
        f"**{escaped(headline(standing))}**", "", escaped(workload_line(standing.contest)), "",
        markdown_row(column.head for column in columns),
        markdown_row("---" if column.left else "---:" for column in columns),
        *(markdown_row(column.cell(row) for column in columns) for row in table),
        "",
        *(f"- {escaped(remark)}" for remark in remarks(standing, table)),
        f"- {escaped(environment_line(environment))}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


# What ran.


def headline(standing: Standing) -> str:
    """Return what was raced, and for how long."""
    contest = standing.contest
    done = min((len(laps) for name, laps in standing.laps.items() if name not in standing.faults), default=0)
    rounds = f"{done:,} of {contest.rounds:,} rounds" if done < contest.rounds else counted(done, "round")
    what = (
        f"batches of {counted(contest.requests, 'request')}"
        if contest.requests
        else f"slices of {format_duration(contest.slice_s)} after {format_duration(contest.warmup_s)}"
    )
    name = f" {contest.preset}" if contest.preset else ""
    cut = ", ended before its time" if standing.cut_short else ""
    return (
        f"SockScope race{name}: {counted(len(contest.contestants), 'server')} in turn, {rounds}, {what}{cut}"
    )


def workload_line(contest: Contest) -> str:
    """Return the workload that all contestants share."""
    workload, default = contest.workload(), Experiment()
    parts = []
    for key in _SHOWN:
        entry = FIELDS[key]
        value = workload[entry.attribute]
        if value is None or (key not in _ALWAYS and value == default.value(key)):
            continue
        shown = entry.spec.format(value)
        parts.append(f"{entry.spec.label} {shown.upper() if key == 'transport' else shown}")
    return ", ".join(parts)


def environment_line(environment: Mapping[str, object]) -> str:
    """Return where it ran, on one line."""
    names = {"sockscope": "SockScope", "python": "Python", "uvloop": "uvloop", "kernel": "kernel"}
    parts = [f"{shown} {environment[name]}" for name, shown in names.items() if environment.get(name)]
    parts.append(f"{environment.get('platform')}, {environment.get('cores')} cores")
    return " · ".join(parts)


# Columns.


def result_columns(
    contest: Contest, table: Sequence[StandingRow], *, bars: bool
) -> list[TextColumn[StandingRow]]:
    """Return the columns of ranks, the deciding figure and its spread, latency and failures."""
    deciding, show = contest.figure, _shower(contest.figure)
    longest = max((row.figures[deciding].median or 0.0 for row in table), default=0.0)
    columns: list[TextColumn[StandingRow]] = [
        TextColumn("rank", lambda row: rank_text(row.rank, [other.rank for other in table])),
        TextColumn("server", lambda row: row.name, left=True),
        TextColumn("time" if contest.requests else "req/s", lambda row: show(row.figures[deciding].median)),
    ]
    if bars:
        columns.append(TextColumn("", lambda row: bar(row.figures[deciding].median, longest), left=True))
    columns += [
        TextColumn("min … max", lambda row: _extent(row.figures[deciding], show)),
        TextColumn("×", lambda row: _times(row.ratio.median)),
        TextColumn("low … high", lambda row: _bounds(row.ratio)),
    ]
    if contest.requests or any((row.figures["connections_per_s"].median or 0) > 0 for row in table):
        columns.append(
            TextColumn("conn/s", lambda row: format_count(row.figures["connections_per_s"].median))
        )
    columns += [
        TextColumn("p50", lambda row: format_duration(row.figures["service_time_p50_s"].median)),
        TextColumn("p99", lambda row: format_duration(row.figures["service_time_p99_s"].median)),
        TextColumn("failed", lambda row: format_count(_sum(row.figures["failed"]))),
    ]
    if any(_sum(row.figures["answers_rejected"]) for row in table):
        columns.append(
            TextColumn("rejected", lambda row: format_count(_sum(row.figures["answers_rejected"])))
        )
    if any(_sum(row.figures["connects_failed"]) for row in table):
        columns.append(TextColumn("no conn", lambda row: format_count(_sum(row.figures["connects_failed"]))))
    return columns


def resource_columns() -> list[TextColumn[StandingRow]]:
    """Return the columns of what the server's process used."""
    return [
        TextColumn("server", lambda row: row.name, left=True),
        TextColumn("CPU", lambda row: format_ratio(row.figures["cpu_ratio"].median)),
        TextColumn("clients' CPU", lambda row: format_ratio(row.figures["clients_cpu_ratio"].median)),
        TextColumn("CPU/request", lambda row: format_duration(row.figures["cpu_s_per_request"].median)),
        TextColumn("RSS", lambda row: format_bytes(row.figures["rss_bytes"].median)),
        TextColumn("threads", lambda row: format_count(row.figures["threads"].median)),
        TextColumn("switches", _switches),
        TextColumn("limit", lambda row: DASH if row.limit == UNKNOWN else row.limit, left=True),
    ]


def _shower(figure: str) -> Callable[[float | None], str]:
    return format_duration if figure.endswith("_s") and not figure.endswith("_per_s") else format_count


def rank_text(rank: int | None, ranks: Iterable[int | None]) -> str:
    """Return a rank for people: with a sign where others share it, a dash where there is none."""
    if rank is None:
        return DASH
    return f"={rank}" if sum(other == rank for other in ranks) > 1 else f"{rank}"


def _switches(row: StandingRow) -> str:
    kinds = ("voluntary_switches", "involuntary_switches")
    return " + ".join(format_count(row.figures[kind].median) for kind in kinds)


def _extent(spread: Spread, show: Callable[[float | None], str]) -> str:
    return DASH if spread.min is None else f"{show(spread.min)} … {show(spread.max)}"


def _bounds(ratio: Spread) -> str:
    """Return the interval of a ratio; one round has none."""
    if ratio.low is None or len(ratio.rounds) < 2:
        return DASH
    return f"{_times(ratio.low)} … {_times(ratio.high)}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return DASH
    shown = f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:,.0f}"
    return bounded(ratio, shown)


def _sum(spread: Spread) -> float | None:
    known = [value for value in spread.rounds if value is not None]
    return sum(known) if known else None


# Remarks.


def _verdicts(standing: Standing) -> str:
    """Return what limited how many contestants, where that was looked at, to end a sentence."""
    found = (usual_verdict(laps) for laps in standing.laps.values())
    kinds = Counter(str(one.kind) for one in found if one is not None)
    told = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())
    return f": {told}" if told else "; they waited for the service time, for each other, or for a core"


def remarks(standing: Standing, table: Sequence[StandingRow]) -> list[str]:
    """Return in sentences what one needs to know to read the table right."""
    contest, table = standing.contest, tuple(table)
    said = []
    if (limit := overall_limit(table)) in LIMITS:
        said.append(f"limit: {LIMITS[limit]}{_verdicts(standing) if limit == NEITHER else ''}")
    busy = [row.figures["others_cpu_ratio"].median or 0.0 for row in table]
    if busy and (most := max(busy)) >= OTHERS_RATIO:
        said.append(
            f"Meanwhile other programs used {format_ratio(most)} of a core: more is possible without them."
        )
    if not is_valid(table):
        said.append(INVALID)
    if late := late_told(standing.laps):
        said.append(f"Not valid: {late}, so rate and response times there are not those that were asked for.")
    if any(row.rank for row in table):
        times = f"× is how many times as fast as {baseline_of(standing)}, round by round."
        if standing.confidence:
            said.append(
                "Contestants that cannot be told apart from the best of their group (at "
                f"{standing.confidence * 100:.0f} %) share its rank (=). {times} "
                "Low and high are its interval."
            )
        else:
            said.append(f"One round says nothing about the spread: ranks are of this round alone. {times}")
    said += out_of_the_race(standing, table)
    said += [f"{name} does not take part: {why}" for name, why in contest.left_out]
    if contest.note:
        said.append(contest.note)
    return said


def out_of_the_race(standing: Standing, table: Sequence[StandingRow]) -> list[str]:
    """Return a sentence for each contestant without a rank: why it has none."""
    return [
        f"{row.name} {'dropped out' if row.name in standing.faults else 'has no rank'}: {row.fault}"
        for row in table
        if row.fault
    ]


def _remarks(standing: Standing, table: Sequence[StandingRow]) -> Iterator[str]:
    for remark in remarks(standing, table):
        yield from wrap(remark, WIDTH)


def published_lines(standing: Standing, table: Sequence[StandingRow]) -> Iterator[str]:
    """Yield published figures beside those that were measured here."""
    by_name = {row.name: row for row in table}
    pairs = [(each, by_name[each.contestant]) for each in standing.contest.published
             if each.contestant in by_name]  # fmt: skip
    if not pairs:
        return
    kinds = ["time", "conn/s", "CPU", "memory", "×"]
    lines = [["", *("a guide", *kinds[1:]), "|", *("here", *kinds[1:])]]
    for published, row in pairs:
        there = (published.duration_s, published.connections_per_s, published.cpu_ratio, published.rss_bytes)
        here = [row.figures[name].median
                for name in ("duration_s", "connections_per_s", "cpu_ratio", "rss_bytes")]  # fmt: skip
        lines.append([
            row.name, *_four(*there), _times(published.times), "|", *_four(*here), _times(row.ratio.median)
        ])  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    yield ""
    for first, *rest in lines:
        yield "  ".join(
            [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        )


def _four(
    duration_s: float | None, per_s: float | None, cpu: float | None, memory: float | None
) -> list[str]:
    rate = DASH if per_s is None else f"{per_s:,.2f}" if per_s < 1_000 else f"{per_s:,.0f}"
    time = (
        f"{duration_s:.2f} s" if duration_s is not None and duration_s >= 1 else format_duration(duration_s)
    )
    return [time, rate, format_ratio(cpu), format_bytes(memory)]
