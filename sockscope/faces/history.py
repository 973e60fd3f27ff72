"""The history and comparisons as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

from sockscope.core.censoring import AtLeast, AtMost
from sockscope.core.config.experiment import FIELDS_BY_ATTRIBUTE
from sockscope.core.results.comparison import (
    Comparison,
    FieldChange,
    FigureChange,
    Side,
    Verdict,
    format_change_ratio,
)
from sockscope.core.results.kinds import KINDS, parse_json
from sockscope.core.results.run_figures import CPU_PER_REQUEST
from sockscope.core.results.run_reading import evidence_told, main_section, verdicts_differ
from sockscope.core.results.schema import SCHEMA_VERSION, Report, bounds, format_field, known
from sockscope.core.results.thresholds import format_figure
from sockscope.core.units import DASH, bounded, format_count, format_duration
from sockscope.core.wire.octets import printable
from sockscope.faces.race_table import rank_text
from sockscope.faces.summary import WIDTH, report_text, summary_row, title_of
from sockscope.store.history import RunRow, StoredRun

_SHOWN = {
    "rates.requests_per_s": "requests/s",
    "rates.bytes_per_s": "payload/s",
    "service_time_s.p50": "p50",
    "service_time_s.p90": "p90",
    "service_time_s.p99": "p99",
    "service_time_s.p999": "p99.9",
    "service_time_s.max": "max",
    "{main}.requests": "requests",
    "{main}.responses": "answers",
    "{main}.failed": "failed",
    "{main}.timeouts": "timeouts",
    "{main}.errors": "errors",
    "{main}.answers_rejected": "rejected",
    "{main}.connections_opened": "connections opened",
    "{main}.connections_refused": "connections refused",
    "{main}.connections_reset": "connections reset",
    "{main}.connections_timed_out": "connects timed out",
    "{main}.connections_failed": "connects failed",
    "{main}.datagrams_lost": "datagrams lost",
    "{main}.datagrams_late": "datagrams late",
    "{main}.datagrams_held": "datagrams held",
    "{main}.datagrams_reordered": "reordered",
    "{main}.datagrams_duplicated": "duplicated",
    "{main}.reads": "reads",
    "limiter.wait_s": "waited for permits",
    "resources.cpu_ratio": "CPU of a core",
    CPU_PER_REQUEST: "CPU per request",
    "resources.rss_bytes": "RSS",
    "resources.loop_lag_p99_s": "loop lag p99",
    "resources.involuntary_switches": "forced switches",
    "kernel_udp.rcvbuf_errors": "kernel UDP drops",
}
"""The figures of a comparison that the text shows, in order; ``{main}`` is the section of the counts."""
_ALWAYS = ("failed",)
_CONTESTANT = {
    "duration_s": "time", "connections_per_s": "conn/s", "requests_per_s": "req/s",
    "service_time_p50_s": "p50", "service_time_p99_s": "p99", "cpu_ratio": "CPU",
    "cpu_s_per_request": "CPU/req", "rss_bytes": "RSS",
}  # fmt: skip
"""The figures of a race that its text shows."""
_STEP = {
    **{name: label for name, label in _CONTESTANT.items() if name != "duration_s"},
    "response_time_p50_s": "resp. p50", "response_time_p99_s": "resp. p99",
}  # fmt: skip
"""The figures of a step of a sweep that its text shows."""
_CURVE = {
    "knee": "knee", "most_requests_per_s": "most req/s", "one_requests_per_s": "λ /s", "sigma": "σ",
    "kappa": "κ", "peak": "peak", "found": "found",
}  # fmt: skip
"""The figures of a curve of a sweep."""
_WORDS = {
    Verdict.DIFFERENT: "",
    Verdict.NOT_SHOWN: "no difference shown",
    Verdict.UNTOLD: "cannot tell",
    Verdict.UNKNOWN: "",
}


# The list.


def list_text(rows: Sequence[RunRow], width: int | None = None) -> str:
    """Return the table of runs, in local time; cut to ``width`` columns where that is given."""
    head = ("id", "began", "kind", "req/s", "p99", "failed", "lasted", "what")
    return _table([head, *(row_cells(row, "%Y-%m-%d %H:%M") for row in rows)], "><<>>>><", width)


def row_cells(row: RunRow, moment: str) -> tuple[str, ...]:
    """Return what the list tells of a run, when it began in the form ``moment`` (of strftime), local time."""
    return (
        str(row.id),
        row.began_at.astimezone().strftime(moment),
        row.kind,
        format_count(row.requests_per_s),
        format_duration(row.p99_s),
        format_count(row.failed),
        format_duration(row.duration_s),
        row.title + (" (cut short)" if row.cut_short else ""),
    )


def list_json(rows: Iterable[RunRow]) -> str:
    """Return the list as one JSON object."""
    found = {"schema_version": SCHEMA_VERSION, "type": "history", "runs": [_row(row) for row in rows]}
    return json.dumps(found, indent=2, allow_nan=False)


def _row(row: RunRow) -> dict[str, Any]:
    found = {**asdict(row), "began_at": row.began_at.isoformat()}
    return {**found, "at_least": bounds(found)}


# One run.


def stored_text(stored: StoredRun) -> str:
    """Return what a run said when it ended, and where and when that was."""
    report, row = stored.report, stored.row
    lines = VIEWS[row.kind].text(row.title, report)
    rows = [("began", f"{row.began_at.astimezone():%Y-%m-%d %H:%M:%S}")]
    if row.cut_short:
        rows.append(("cut short", "ended before the length that was asked for"))
    for number, told in enumerate(evidence_told(report)):
        rows.append(("" if number else "evidence", printable(told, None)))
    if stored.intervals:
        longest = max(known(one, "duration_s") or 0.0 for one in stored.intervals)
        count = len(stored.intervals)
        rows.append(("intervals", f"{count:,} of up to {format_duration(longest)} (--json has them)"))
    shown = ", ".join(f"{name} {value}" for name, value in report["environment"].items() if value is not None)
    rows.append(("environment", shown or DASH))
    return lines + "".join(f"{line}\n" for label, text in rows for line in summary_row(label, text))


def stored_json(stored: StoredRun) -> str:
    """Return everything that was kept of a run as one JSON object."""
    row = stored.row
    found = {
        "schema_version": SCHEMA_VERSION,
        "type": "stored",
        "id": row.id,
        "kind": row.kind,
        "began_at": row.began_at.isoformat(),
        "title": row.title,
        "cut_short": row.cut_short,
        "report": stored.report,
        "intervals": stored.intervals,
    }
    return json.dumps(found, indent=2, allow_nan=False)


def _race_text(title: str, report: Report) -> str:
    """Return the contestants with the medians of their figures."""
    medians = {
        contestant: {name: estimate.value for name, estimate in estimates.items()}
        for contestant, estimates in KINDS["race"].estimates(report).items()
    }
    shown = {
        name: label
        for name, label in _CONTESTANT.items()
        if any(values.get(name) for values in medians.values())
    }
    ranks = [one.get("rank") for one in report["contestants"]]
    cells = [
        (
            rank_text(one.get("rank"), ranks),
            one["name"],
            *(_value(name, medians[one["name"]].get(name)) for name in shown),
            format_count(_total(one.get("failed"))),
        )
        for one in report["contestants"]
    ]
    table = _table([("rank", "name", *shown.values(), "failed"), *cells], "><" + ">" * len(shown) + ">")
    heading = "\n".join(wrap(f"SockScope: race {printable(title, None)}", WIDTH))
    return f"{heading}\n\n{table}"


def _sweep_text(title: str, report: Report) -> str:
    """Return the steps with the medians of their figures, and the curves with theirs and what they tell."""
    heading = "\n".join(wrap(f"SockScope: sweep {printable(title, None)}", WIDTH))
    steps = _medians("step", report, report["steps"], _STEP, {"failed": _failed, "limit": _limit})
    told = [line for one in report["curves"] for text in _told_of(one) for line in wrap(text, WIDTH)]
    end = "\n" + "".join(f"{printable(line, None)}\n" for line in told) if told else ""
    return f"{heading}\n\n{steps}\n{_medians('curve', report, report['curves'], _CURVE, {})}{end}"


def _medians(
    what: str,
    report: Report,
    entries: Sequence[Report],
    labels: Mapping[str, str],
    more: Mapping[str, Callable[[Report], str]],
) -> str:
    """Return the table of some of the subjects of a sweep; columns in which nothing is known are left out."""
    estimates = KINDS["sweep"].estimates(report)
    values = {one["name"]: {name: of.value for name, of in estimates[one["name"]].items()} for one in entries}
    shown = [name for name in labels if any(of.get(name) for of in values.values())]
    cells = [
        (
            one["name"],
            *(_value(name, values[one["name"]].get(name)) for name in shown),
            *(write(one) for write in more.values()),
        )
        for one in entries
    ]
    return _table([(what, *(labels[name] for name in shown), *more), *cells], "<" + ">" * len(cells[0][1:]))


def _failed(step: Report) -> str:
    return format_count(_total(step.get("failed")))


def _limit(step: Report) -> str:
    return (step.get("verdict") or {}).get("kind") or step.get("limit") or DASH


def _told_of(curve: Report) -> Iterator[str]:
    """Yield what a curve tells in sentences."""
    of = "" if curve["name"] == "curve" else f"{curve['name']}: "
    if search := curve.get("search"):
        edge = "" if search.get("complete") else " so far"
        missed = f"; {_number(search, 'not_kept_at')} does not: {search['why_not']}"
        told = f"{of}found{edge}: {_number(search, 'value')} keeps {search.get('condition')}"
        yield told + (missed if search.get("why_not") else "")
    if why_not := (curve.get("bend") or {}).get("why_not"):
        yield f"{of}no knee is shown: {why_not}"
    if doubts := (curve.get("law") or {}).get("doubts"):
        yield f"{of}the law is not to be believed here: {'; '.join(map(str, doubts))}"


def _number(of: Report, name: str) -> str:
    value = of.get(name)
    return "nothing" if value is None else f"{value:,g}"


def _axis_text(axis: Report) -> str:
    values = [format_field(axis["field"], value) for value in axis["values"]]
    entry = FIELDS_BY_ATTRIBUTE.get(axis["field"])
    name = axis["field"] if entry is None else entry.spec.label
    return f"{name} {' … '.join(dict.fromkeys([*values[:1], *values[-1:]]))}"


def _total(spread: Report | None) -> float | None:
    """Return the sum of the rounds of a count; None when none is known."""
    rounds = [value for value in (spread or {}).get("rounds", ()) if value is not None]
    return sum(rounds) if rounds else None


def _run_labels(a: Report, b: Report) -> dict[str, str]:
    main = main_section(b) if main_section(a) == main_section(b) else "totals"
    return {name.format(main=main): label for name, label in _SHOWN.items()}


@dataclass(frozen=True, slots=True)
class ResultView:
    """How results of a kind are told: ``text`` returns what a result said when it ended (its title is the
    first argument), ``title`` what it is in a few words, and ``labels`` the figures that the table of a
    comparison has, by their names.
    """

    text: Callable[[str, Report], str]
    title: Callable[[Report], str]
    labels: Callable[[Report, Report], Mapping[str, str]]


VIEWS: Mapping[str, ResultView] = {
    "run": ResultView(lambda _, report: report_text(report), title_of, _run_labels),
    "race": ResultView(
        _race_text,
        lambda report: f"race of {', '.join(one['name'] for one in report['contestants'])}",
        lambda a, b: _CONTESTANT,
    ),
    "sweep": ResultView(
        _sweep_text,
        lambda report: f"sweep over {' and '.join(_axis_text(one) for one in report['axes'])}",
        lambda a, b: {**_STEP, **_CURVE},
    ),
}
"""The view of each kind of result."""


# Objects that come back.


def read_object(data: bytes) -> tuple[dict[str, Any], bool]:
    """Return the result in what ``--json``, ``--json-stream`` or ``history show --json`` wrote, and whether
    that run was cut short; raise ValueError when it is something else.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not JSON") from None
    # The summary of a stream is its last line.
    for piece in (text, text.rstrip().rpartition("\n")[2]):
        try:
            found = parse_json(piece)
        except ValueError:
            continue
        if isinstance(found, dict) and found.get("type") == "stored":
            report = found.get("report")
            return (report if isinstance(report, dict) else {}), found.get("cut_short") is True
        if isinstance(found, dict):
            return found, False
    raise ValueError("is not JSON")


# Comparisons.


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison for people: what differs in what ran, the figures, and what makes them doubtful."""
    blocks = [_heads(comparison), _changed_text(comparison), _limits_text(comparison)]
    for contestant, changes in comparison.figures.items():
        blocks.append(
            (f"{printable(contestant, None)}\n" if contestant else "") + _figures_text(comparison, changes)
        )
    for name, only in (("A", comparison.only_a), ("B", comparison.only_b)):
        if only:
            blocks.append("\n".join(wrap(f"only in {name}: {', '.join(only)}", WIDTH)) + "\n")
    if comparison.doubts:
        sentences = [
            line
            for doubt in comparison.doubts
            for line in wrap(doubt, WIDTH, initial_indent="! ", subsequent_indent="  ")
        ]
        blocks.append("\n".join(["Compare with care:", *sentences]) + "\n")
    return "\n".join(block for block in blocks if block)


def _heads(comparison: Comparison) -> str:
    return _table([(label, side.name, _title(side)) for label, side in _sides(comparison)], "<<<")


def _sides(comparison: Comparison) -> tuple[tuple[str, Side], tuple[str, Side]]:
    return ("A", comparison.a), ("B", comparison.b)


def _title(side: Side) -> str:
    return VIEWS[side.kind].title(side.report)


def _changed_text(comparison: Comparison) -> str:
    changed = [*comparison.experiment, *comparison.environment]
    if not changed:
        return "Experiment and environment are the same.\n"
    cells = [(one.label, format_field(one.name, one.a), format_field(one.name, one.b)) for one in changed]
    return _table([("differs", "A", "B"), *cells], "<>>")


def _limits_text(comparison: Comparison) -> str:
    kinds = verdicts_differ(comparison.a.report, comparison.b.report)
    return _table([("limit", *(printable(kind, None) for kind in kinds))], "<>>") if kinds else ""


def _figures_text(comparison: Comparison, changes: Sequence[FigureChange]) -> str:
    by_name = {one.figure: one for one in changes if _tells(one)}
    cells = [
        (
            label,
            _value(name, one.a),
            _value(name, one.b),
            _change(one),
            format_change_ratio(one.change_ratio),
            _judged(one),
        )
        for name, label in VIEWS[comparison.a.kind].labels(comparison.a.report, comparison.b.report).items()
        if (one := by_name.get(name)) is not None
    ]
    return _table([("figure", "A", "B", "change", "relative", ""), *cells], "<>>>><")


def _judged(change: FigureChange) -> str:
    """Return what the relative change is the change of, where not of the figures shown, and the verdict."""
    basis = "per request" if change.per_request and change.change_ratio else ""
    return ", ".join(filter(None, (basis, _WORDS.get(change.verdict, change.verdict.value))))


def _tells(change: FigureChange) -> bool:
    """Tell whether a figure deserves a line: known on a side, and not zero on both."""
    if change.figure.rpartition(".")[2] in _ALWAYS:
        return change.a is not None or change.b is not None
    return bool(change.a) or bool(change.b)


def _value(figure: str, value: float | None) -> str:
    """Return a figure with its unit; of a rate only what is worth reading."""
    if value is not None and figure.endswith(("requests_per_s", "connections_per_s")):
        return format_count(value) if value >= 99.95 else f"{value:.1f}"
    return format_figure(figure, value)


def _change(change: FigureChange) -> str:
    """Return the absolute change with its sign and unit; shares in points."""
    value = change.change
    if value is None:
        return DASH
    sign = "+" if value > 0 else "−" if value < 0 else ""
    if change.figure.endswith("_ratio"):
        return bounded(value, f"{sign}{abs(value) * 100:.1f} points")
    return bounded(value, sign + _value(change.figure, abs(value)))


def comparison_json(comparison: Comparison, misses: Sequence[str]) -> str:
    """Return a comparison as one JSON object; ``misses`` are the conditions that held, in words."""
    groups = comparison.figures
    found = {
        "schema_version": SCHEMA_VERSION,
        "type": "comparison",
        "kind": comparison.a.kind,
        "a": _side_json(comparison.a),
        "b": _side_json(comparison.b),
        "experiment": _fields_json(comparison.experiment),
        "environment": _fields_json(comparison.environment),
        "figures": _figures_json(groups.get("", ())),
        "contestants": [
            {"name": name, "figures": _figures_json(changes)} for name, changes in groups.items() if name
        ],
        "only_a": list(comparison.only_a),
        "only_b": list(comparison.only_b),
        "doubts": list(comparison.doubts),
        "missed": list(misses),
    }
    return json.dumps(found, indent=2, allow_nan=False)


def _side_json(side: Side) -> dict[str, Any]:
    return {"name": side.name, "title": _title(side), "cut_short": side.cut_short}


def _fields_json(changes: Iterable[FieldChange]) -> dict[str, Any]:
    return {one.name: {"a": one.a, "b": one.b} for one in changes}


def _figures_json(changes: Iterable[FigureChange]) -> dict[str, Any]:
    return {
        one.figure: {
            "a": one.a,
            "b": one.b,
            "change": one.change,
            "change_ratio": one.change_ratio if one.a else (0.0 if one.change_ratio == 0 else None),
            **_bounds(a=one.a, b=one.b, change=one.change, change_ratio=one.change_ratio),
            "better": one.better.value,
            "verdict": one.verdict.value,
        }
        for one in changes
    }


def _bounds(**values: float | None) -> dict[str, list[str]]:
    """Return which of these values are but bounds, by their names."""
    return {
        name: [key for key, value in values.items() if isinstance(value, kind)]
        for name, kind in (("at_least", AtLeast), ("at_most", AtMost))
    }


# Tables.


def _table(rows: Sequence[Sequence[str]], aligned: str, width: int | None = None) -> str:
    """Return rows in columns, each aligned to the left (``<``) or right (``>``), two spaces apart."""
    rows = [[printable(cell, None) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(f"{line}\n" for line in _lines(rows, aligned, widths, width))


def _lines(
    rows: Iterable[Sequence[str]], aligned: str, widths: Sequence[int], width: int | None
) -> Iterator[str]:
    for row in rows:
        cells = zip(row, aligned, widths, strict=True)
        line = "  ".join(f"{cell:{side}{size}}" for cell, side, size in cells).rstrip()
        yield line if width is None or len(line) <= width else line[: max(0, width - 1)] + "…"
