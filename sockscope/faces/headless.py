"""A run without a screen: a line of progress while it lasts, and its figures for people or programs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter

from sockscope.core.config.experiment import FIELDS, READY, Experiment
from sockscope.core.results.intervals import LENGTH_S, Intervals
from sockscope.core.results.percentile_text import percentile_text
from sockscope.core.results.run_result import report
from sockscope.core.results.thresholds import missed
from sockscope.core.run.adding import origin
from sockscope.core.run.figures import figures
from sockscope.core.run.shortfall import shortfall
from sockscope.core.run.snapshot import RunState, Snapshot, Totals
from sockscope.core.run.source import RunSource
from sockscope.core.run.unanswered import why_unanswered
from sockscope.core.run.window import drained, window
from sockscope.core.units import counted, format_count, format_duration, format_elapsed
from sockscope.engine.engine import CANCELLED, Engine
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_INVALID, EXIT_OK, EXIT_THRESHOLD, EngineError
from sockscope.faces.ending import Ending
from sockscope.faces.keeping import keep, kept_text
from sockscope.faces.output import Output, Plan
from sockscope.faces.printing import lent_streams, say, stderr
from sockscope.faces.progress import Progress, ended_by_signals
from sockscope.faces.summary import report_text, title_of
from sockscope.store.history import History

SLACK_S = 1e-6
"""Moments that lie closer together are the same one, computed otherwise."""


def run_headless(
    experiment: Experiment,
    plan: Plan,
    environment: Mapping[str, object],
    history: History | None = None,
) -> int:
    """Run ``experiment`` to its end, keep it in ``history`` and write what ``plan`` asks for.

    Returns the exit code. Raises SockscopeError when the run cannot start or its figures cannot be written.
    """
    began_at = datetime.now(UTC)
    runs_own_code = bool(experiment.own_server) and experiment.tuning.layout == "loop"
    with (
        Ending(runs_own_code) as signals,
        Output(plan, lambda: signals.is_asked) as output,
        _distribution(plan, lambda: signals.is_asked) as distribution,
    ):
        try:
            with lent_streams() if experiment.own_server else nullcontext():
                outcome = signals.run(experiment.loop, _run(experiment, plan, output, signals))
        except asyncio.CancelledError:
            if signals.is_asked:
                return EXIT_INTERRUPTED
            raise EngineError(f"the run failed: {CANCELLED}") from None
        figures = report(outcome.snapshot, environment, outcome.intervals.windows)
        number = keep(
            history,
            figures,
            title=title_of(figures),
            began_at=began_at,
            intervals=outcome.intervals.reports(),
            cut_short=_was_cut_short(outcome),
        )
        output.summary(figures, report_text(figures) + kept_text("run", number, history))
        if distribution is not None:
            distribution.summary({}, _percentile_text(outcome.snapshot, plan.hdr_of))
        if why := _failure(outcome):
            say(why)
            return EXIT_FAILED
        if (reason := figures["invalid_reason"]) and not plan.allow_invalid:
            say(f"the result is not valid: {reason} (--allow-invalid)")
            return EXIT_INVALID
        misses = missed(plan.thresholds, figures)
        for miss in misses:
            say(f"--fail-if {miss}")
        return EXIT_THRESHOLD if misses else EXIT_OK


def _distribution(plan: Plan, must_end: Callable[[], bool]) -> AbstractContextManager[Output | None]:
    """Open the file of the distribution, where there is to be one."""
    if plan.hdr_path is None:
        return nullcontext()
    return Output(Plan(path=plan.hdr_path), must_end, "--hdr")


def _percentile_text(snapshot: Snapshot, of: str) -> str:
    role = snapshot.main
    if of == "response":
        return percentile_text(role.response_time, role.response_unanswered, "response time")
    return percentile_text(role.service_time, role.unanswered, "service time")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The figures at the moment the run ended and on the way there, and whether somebody ended it."""

    snapshot: Snapshot
    intervals: Intervals
    interrupted: bool


async def _run(experiment: Experiment, plan: Plan, output: Output, signals: Ending) -> _Outcome:
    engine = Engine(experiment)
    signals.bound(lambda: engine.latest_end_s)
    progress = Progress(stderr(), quiet=plan.quiet)
    starting = asyncio.ensure_future(engine.start())
    with ended_by_signals(signals, starting.cancel, progress, "stopping"):
        try:
            await starting
        except asyncio.CancelledError:
            if signals.is_asked:
                say("ended before the run had begun: there are no figures")
            raise
    ending = asyncio.ensure_future(engine.wait())
    if signals.is_asked:  # in the last step of the start, which had nothing left to be cancelled
        ending.cancel()
    intervals = Intervals()
    with ended_by_signals(signals, ending.cancel, progress, "stopping"):
        try:
            # What another process has done until somebody could look belongs to the first interval.
            first = origin(engine.snapshot())
            _announce(first, plan, output)
            before, last = await _watch(engine, ending, first, plan.interval_s, output, progress, intervals)
        except asyncio.CancelledError:
            if signals.is_asked:
                raise
            engine.fail(EngineError(CANCELLED))
            await engine.settle()
            before = last = engine.snapshot()
        finally:
            progress.clear()
            await engine.stop()
    # What was under way at the end is answered by now: it is in the last interval as it is in the summary.
    last = drained(last, engine.snapshot())
    intervals.finish(last)
    if last.time_s > before.time_s:
        output.interval(window(before, last))
    interrupted = (ending.cancelled() and signals.is_asked) or output.gone
    error = engine.error or ("" if interrupted else shortfall(last))
    return _Outcome(
        replace(last, state=engine.state, error=error, closing_s=engine.closing_s), intervals, interrupted
    )


async def _watch(
    engine: Engine,
    ending: asyncio.Future[None],
    first: Snapshot,
    interval_s: float,
    output: Output,
    progress: Progress,
    intervals: Intervals,
) -> tuple[Snapshot, Snapshot]:
    """Tell of each interval until the run ends but the last, and return the two ends of that one.

    A snapshot every second goes into ``intervals``, however long those are that are told.
    """
    before = now = latest = first
    intervals.absorb(first)
    due_s = 0.0
    told = ""

    def is_over() -> bool:
        return ending.done() or output.gone

    while True:
        elapsed_s = perf_counter() - first.started_s
        after_s = max(elapsed_s, due_s)  # a timer may be early
        told_s = _due_s(first, interval_s, after_s, latest.paused_s)
        due_s = min(told_s, _due_s(first, LENGTH_S, after_s, latest.paused_s))
        if not is_over():
            timeout_s = None if due_s == math.inf else max(due_s - elapsed_s, 0.0)
            await asyncio.wait({ending}, timeout=timeout_s)
        ended = await brought_up_to_date(engine, is_over)
        latest = engine.snapshot()
        if not ended:
            intervals.absorb(latest)
            # What a slow reader has no room for is part of the interval that follows.
            if not output.hand_over() or due_s < told_s - SLACK_S:
                continue
        before, now = now, latest
        if ended:
            break
        interval = window(before, now)
        anew = now.measured_since_s != before.measured_since_s
        if anew and interval.measured_s < interval_s / 2:
            # The figures began a moment ago: that is part of the interval that follows.
            now = origin(now)
            continue
        output.interval(interval)
        progress.tell(progress_line(now, interval))
        if not told and (told := _waiting_in_vain(interval)):
            progress.note(told)
    return before, now


async def brought_up_to_date(run: RunSource, is_over: Callable[[], bool]) -> bool:
    """Let the next snapshot of a run be exact; return whether it is over, and the snapshot that of its end.

    A run may end while it settles, and what has settled then is of a moment before its end.
    """
    if not is_over():
        await run.settle()
    if not is_over():
        return False
    await run.conclude()
    return True


def _waiting_in_vain(interval: Snapshot) -> str:
    """Return what is to be said of a run of a number of requests in which nothing is answered, or nothing."""
    swarm, experiment = interval.swarm, interval.experiment
    if swarm is None or not experiment.requests or interval.state is not RunState.RUNNING:
        return ""
    totals = swarm.totals
    if totals.responses or not (totals.errors or totals.timeouts or swarm.clients_retrying):
        return ""
    bound = FIELDS["give_up"].spec.format(experiment.give_up_s)
    return (
        f"no answer: {swarm.last_trouble}; retrying; the run fails if nothing is answered for {bound} "
        "(--give-up)"
    )


def _due_s(first: Snapshot, interval_s: float, after_s: float, paused_s: float) -> float:
    """Return when the next interval ends, in seconds of the run; inf: with the run.

    The figures begin at the end of the warm-up, and an interval with them; it takes the place of one of the
    warm-up that would end about then. The last interval of a run of known length ends with the run, which
    goes on for longer when it has been stopped.
    """
    experiment = first.experiment
    warmup_s = 0.0 if experiment.warmup_s == READY else experiment.warmup_s
    known = experiment.duration_s and experiment.warmup_s != READY
    length_s = warmup_s + experiment.duration_s + paused_s if known else math.inf
    due_s = _next(after_s, interval_s)
    if due_s > warmup_s - interval_s / 2:
        due_s = warmup_s + _next(max(0.0, after_s - warmup_s), interval_s)
    return due_s if due_s < length_s - SLACK_S else math.inf


def _next(elapsed_s: float, interval_s: float) -> float:
    """Return when the interval ends that is under way."""
    return (math.floor(elapsed_s / interval_s + 1e-6) + 1) * interval_s


def _announce(snapshot: Snapshot, plan: Plan, output: Output) -> None:
    """Tell the address of a server or a relay alone, so that clients can be aimed at it."""
    if snapshot.relay is not None and snapshot.relay.relay is not None:
        for tap in snapshot.relay.relay.taps:
            say(f"listening on {tap.address} for {tap.target}")
    if snapshot.experiment.role != "server" or snapshot.server is None:
        return
    if plan.stdout_is_free:
        output.tell(snapshot.server.address)
    else:
        say(f"listening on {snapshot.server.address}")


def _was_cut_short(outcome: _Outcome) -> bool:
    """Tell whether a run of a certain length was ended before it; one without end ends when it is ended."""
    experiment = outcome.snapshot.experiment
    return outcome.interrupted and bool(experiment.duration_s or experiment.requests)


def _failure(outcome: _Outcome) -> str:
    """Return why the run counts as failed, or nothing."""
    snapshot = outcome.snapshot
    if snapshot.state is RunState.FAILED:
        return f"the run failed: {snapshot.error}"
    if snapshot.error:
        return f"the run fell short: {snapshot.error}"
    swarm = snapshot.swarm
    if swarm is None or swarm.totals.responses or outcome.interrupted:
        return ""
    return f"no request was answered: {why_unanswered(snapshot)}"


def _failures(totals: Totals) -> str:
    """Return how many requests failed, and of which kind they were if they were of both."""
    text = f"failed {format_count(totals.failed)}"
    if totals.timeouts and totals.errors:
        return f"{text} ({counted(totals.timeouts, 'timeout')}, {counted(totals.errors, 'error')})"
    return text


def progress_line(now: Snapshot, interval: Snapshot) -> str:
    """Return one line: elapsed time, failures so far, in flight; rate and p99 of ``interval``."""
    parts = [format_elapsed(now.elapsed_s), f"{format_count(figures(interval).requests_per_s):>9} req/s"]
    swarm, totals = interval.swarm, now.main.totals
    if swarm is not None:
        parts.append(f"p99 {format_duration(figures(interval).p99_s):>7}")
    parts.append(_failures(totals))
    if swarm is not None:
        parts.append(f"in flight {format_count(swarm.in_flight)}")
        if swarm.last_trouble and not swarm.totals.responses:
            parts.append(swarm.last_trouble)
    else:
        parts.append(f"connections {format_count(now.main.connections_open)}")
    if now.warming_up:
        parts.append("warming up")
    return "  ".join(parts)
