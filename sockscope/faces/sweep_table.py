"""A sweep as text: a table and a plot of each curve for the terminal, or a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from sockscope.core.results.design import Design
from sockscope.core.results.lateness import late_told
from sockscope.core.results.scaling import THROUGHPUT, Curve, Fit, Measured, curves
from sockscope.core.results.spread import Spread
from sockscope.core.results.standing import UNKNOWN, Standing
from sockscope.core.results.sweep_result import is_valid
from sockscope.core.results.thresholds import format_figure
from sockscope.core.run.kinds import Kind
from sockscope.core.units import DASH, counted, format_count, format_duration, format_ratio
from sockscope.faces.columns import TextColumn, aligned, bar, escaped, markdown_row
from sockscope.faces.race_table import WIDTH, environment_line, workload_line
from sockscope.faces.sweep_plot import plotted

INVALID = (
    "The clients were the limit of most steps, so this tells of the load and not of the server. Give them "
    "more CPU with --swarm-processes, or the server more to do with --service-time or --size."
)
"""Said of a sweep in which the clients were the limit."""
LAW = "X(N) = λN / (1 + σ(N−1) + κN(N−1))"

BAR_CELLS = 10
"""Cells of the longest bar."""

Column = TextColumn[Measured]


def sweep_text(design: Design, standing: Standing, environment: Mapping[str, object]) -> str:
    """Return what a terminal is told: what was swept, each curve as table and plot, knee and law."""
    found = curves(design, standing)
    lines = [
        *wrap(headline(design, standing), WIDTH),
        *wrap(workload_line(standing.contest), WIDTH),
    ]
    for curve in found:
        lines += ["", *([curve_title(curve)] if curve.of else [])]
        lines += aligned(columns(curve, bars=True), curve.steps)
        lines += ["", *plotted(curve)]
        lines += [line for told in remarks_of(curve) for line in wrap(told, WIDTH)]
    lines += ["", *(line for told in remarks(design, standing, found) for line in wrap(told, WIDTH))]
    lines += wrap(environment_line(environment), WIDTH)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def sweep_markdown(design: Design, standing: Standing, environment: Mapping[str, object]) -> str:
    """Return the same as a page in Markdown, without the plots."""
    found = curves(design, standing)
    lines = [f"**{escaped(headline(design, standing))}**", "", escaped(workload_line(standing.contest))]
    for curve in found:
        shown = columns(curve, bars=False)
        lines += ["", *([f"**{escaped(curve_title(curve))}**", ""] if curve.of else [])]
        lines += [
            markdown_row(column.head for column in shown),
            markdown_row("---" if column.left else "---:" for column in shown),
            *(markdown_row(column.cell(one) for column in shown) for one in curve.steps),
            "",
            *(f"- {escaped(told)}" for told in remarks_of(curve)),
        ]
    lines += [f"- {escaped(told)}" for told in remarks(design, standing, found)]
    return "\n".join([*lines, f"- {escaped(environment_line(environment))}"]) + "\n"


# What was swept.


def headline(design: Design, standing: Standing) -> str:
    """Return what was swept, and for how long."""
    counts = [len(laps) for name, laps in standing.laps.items() if name not in standing.faults]
    done = min(counts, default=0)
    rounds = f"{done:,} of {design.rounds:,} rounds" if done < design.rounds else counted(done, "round")
    if design.find is not None:
        over = f"highest {design.find.axis} that keeps {design.find.condition.text}"
        rounds = f"{counted(len(design.steps), 'value')} tried"
    else:
        over = " by ".join(f"{axis} in {counted(len(axis.values), 'step')}" for axis in design.axes)
    cut = ", ended before its time" if standing.cut_short else ""
    return (
        f"SockScope sweep: {over}, {rounds}, slices of {format_duration(design.slice_s)} "
        f"after {format_duration(design.warmup_s)}{cut}"
    )


def curve_title(curve: Curve) -> str:
    """Return what sets a curve apart, as people say it."""
    return curve.name.replace("=", " ")


def columns(curve: Curve, *, bars: bool) -> list[Column]:
    """Return the columns of the steps of a curve."""
    most = curve.best.figures[THROUGHPUT].median if curve.best is not None else None

    def rate(one: Measured) -> Spread:
        return one.figures[THROUGHPUT]

    shown: list[Column] = [
        TextColumn(curve.axis.spec.label, lambda one: curve.axis.shown(one.value)),
        TextColumn("req/s", lambda one: format_count(rate(one).median)),
    ]
    if bars:
        shown.append(TextColumn("", lambda one: bar(rate(one).median, most or 0.0, BAR_CELLS), left=True))
    return [
        *shown,
        TextColumn("min … max", lambda one: _extent(rate(one))),
        TextColumn("p50", lambda one: format_duration(one.figures["service_time_p50_s"].median)),
        TextColumn("p99", lambda one: format_duration(one.figures["service_time_p99_s"].median)),
        TextColumn("resp. p50", lambda one: format_duration(one.figures["response_time_p50_s"].median)),
        TextColumn("resp. p99", lambda one: format_duration(one.figures["response_time_p99_s"].median)),
        TextColumn("failed", lambda one: format_count(_sum(one.figures["failed"]))),
        TextColumn("CPU s + c", _cpu),
        TextColumn("limit", _limit, left=True),
    ]


def _cpu(one: Measured) -> str:
    return " + ".join(format_ratio(one.figures[name].median) for name in ("cpu_ratio", "clients_cpu_ratio"))


def _limit(one: Measured) -> str:
    """Return what limited a step, as a run tells it; else whose CPU was used up."""
    return str(one.verdict.kind) if one.verdict is not None else DASH if one.limit == UNKNOWN else one.limit


def _extent(spread: Spread) -> str:
    return DASH if spread.min is None else f"{format_count(spread.min)} … {format_count(spread.max)}"


def _sum(spread: Spread) -> float | None:
    known = [value for value in spread.rounds if value is not None]
    return sum(known) if known else None


# Remarks.


def remarks_of(curve: Curve) -> list[str]:
    """Return in sentences what a curve tells: its knee, its law, and why not to believe that."""
    return [
        *_of_search(curve),
        *_of_knee(curve),
        *(_of_law(curve, curve.fit) if curve.fit is not None else []),
    ]


def _of_search(curve: Curve) -> Iterator[str]:
    found, axis = curve.found, curve.axis
    if found is None:
        return
    condition, so_far = found.search.condition.text, "" if found.complete else " so far"
    by_value = {one.value: one for one in curve.steps}
    beyond = ""
    if found.broken is not None:
        limit, bound = by_value[found.broken].verdict, found.generator_bound
        beyond = f"{axis.shown(found.broken)} {'cannot be told' if bound else 'does not'}: {found.why_not}"
        if limit is not None and not (bound and limit.kind is Kind.GENERATOR_BOUND):  # which says the same
            beyond += f"; limit there: {limit.kind}: {limit.sentence}"
    if found.value is None:
        none = f"found{so_far}: no {axis.spec.label} that keeps {condition}"
        yield f"{none}; {beyond}" if beyond else none
        return
    figure = found.search.condition.figure
    median = by_value[found.value].figures[figure].median
    yield (
        f"found{so_far}: {axis.spec.label} {axis.shown(found.value)} keeps {condition} "
        f"({figure} {format_figure(figure, median)})"
        + (
            f"; {beyond}"
            if beyond
            else ", the end of the range"
            if found.value == found.search.axis.values[-1]
            else ""
        )
    )


def _of_knee(curve: Curve) -> Iterator[str]:
    knee, axis = curve.knee, curve.axis
    if knee is None:
        return
    if knee.value is None:
        yield f"knee: none is shown: {knee.why_not}"
        return
    most = curve.best.figures[THROUGHPUT].median if curve.best is not None else None
    low, high = (axis.shown(type(axis.values[0])(end or 0)) for end in (knee.at.low, knee.at.high))
    sure = f" ({low} … {high})" if len(knee.at.rounds) > 1 else ""
    shown = axis.shown(type(axis.values[0])(knee.value))
    yield (
        f"knee: {axis.spec.label} {shown}{sure}, the first step with 95 % of the most throughput "
        f"({format_count(most)}/s); from there on the latency rises"
    )


def _of_law(curve: Curve, fit: Fit) -> Iterator[str]:
    law = fit.law
    yield (
        f"law: {LAW}, N {curve.axis.spec.label}: "
        f"λ {format_count(law.one_per_s)}/s{_between(fit.one_per_s, ',.0f')}, "
        f"σ {law.sigma:.3g}{_between(fit.sigma)}, κ {law.kappa:.3g}{_between(fit.kappa)}; "
        f"R² {fit.explained_ratio or 0.0:.3f}, steps lie {fit.off_ratio * 100:.1f} % off it as a rule"
    )
    if fit.doubts:
        yield "The law is not to be believed here: " + "; ".join(fit.doubts) + "."
    elif fit.has_peak and law.peak is not None:
        yield (
            f"predicted peak: {law.peak:,.0f} {curve.axis.spec.label}{_between(fit.peak, ',.0f')} with "
            f"{format_count(law.per_s(law.peak))}/s; more of them is less"
        )
    else:
        yield "predicted peak: none, as κ is not told apart from 0"


def _between(spread: Spread, form: str = ".3g") -> str:
    if spread.low is None or spread.high is None or len(spread.rounds) < 2:
        return ""
    return f" ({spread.low:{form}} … {spread.high:{form}})"


def remarks(design: Design, standing: Standing, found: Sequence[Curve]) -> list[str]:
    """Return in sentences what one needs to know to read the whole right."""
    said = []
    if not is_valid(found):
        said.append(INVALID)
    if design.find is None and (late := late_told(standing.laps)):
        said.append(f"Not valid: {late}, so rate and response times there are not those that were asked for.")
    if standing.confidence and design.rounds > 1:
        said.append(
            f"Figures are medians of the rounds; what stands in brackets encloses the median at "
            f"{standing.confidence * 100:.0f} %."
        )
    return [*said, *not_measured(standing)]


def not_measured(standing: Standing) -> list[str]:
    """Return a sentence for each step that could not be measured, and for those that came to nothing."""
    told = [f"{name} could not be measured: {why}" for name, why in standing.faults.items()]
    return [*told, *([f"the sweep ended there: {standing.failure}"] if standing.failure else [])]
