"""What a curve of a sweep tells: where it bends, and which law it follows.

**The knee** of a round is the first step whose throughput is at least 95 % of the round's best; the knee of a
curve is the median of its rounds, with the interval of that (:mod:`sockscope.core.results.spread`). It is one
only where it is not the last step, which throughput may still rise beyond, and where the latency at the last
step is told apart as higher than at the knee. A round counts if every step was measured in it.

**The law** is that of :mod:`sockscope.core.results.usl`, fitted to the medians, and to each round for the
spread of its numbers. What speaks against it is told with it, as sentences.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sockscope.core.results.axis import Axis, Number
from sockscope.core.results.contest import laps_by_figure, usual_verdict
from sockscope.core.results.design import Design, Step, curves_of
from sockscope.core.results.lateness import is_mostly_late
from sockscope.core.results.search import Found, found
from sockscope.core.results.spread import APART_ROUNDS, Spread, lead
from sockscope.core.results.standing import CLIENTS, SHARED, Standing, limit_of
from sockscope.core.results.usl import Law, Point, explained, fitted, shortfall
from sockscope.core.run.evidence import Finding
from sockscope.core.run.kinds import Kind

KNEE_RATIO = 0.95
"""The share of the best throughput that the knee reaches."""
SCALED = ("clients", "permits", "pool", "depth", "server_permits", "server_processes", "swarm_processes")
"""Fields that tell how many there are of something, which is what the law is about."""
BENT = (*SCALED, "batch", "rate")
"""Fields along which a knee is looked for."""
ENOUGH_STEPS = 6
"""Fewer steps hardly tell three numbers from chance."""
FAR_OFF_RATIO = 0.1
"""Where the steps lie as far from the law as a rule, it is not theirs."""
FAILED_RATIO = 0.01
BUSY_RATIO = 0.2
"""From this share of a core on, what other programs used is worth a word."""
THROUGHPUT, LATENCY = "requests_per_s", "response_time_p50_s"


@dataclass(frozen=True, slots=True)
class Knee:
    """Where throughput stops rising: ``at`` is over the rounds; ``why_not`` tells why there is none."""

    at: Spread
    why_not: str = ""

    @property
    def value(self) -> float | None:
        """The knee, a value of the axis; None where there is none."""
        return None if self.why_not else self.at.median


@dataclass(frozen=True, slots=True)
class Fit:
    """The law of a curve: of its medians, and of each number the spread over the rounds.

    ``peak`` is the N* of the rounds that have one. ``explained_ratio`` is R squared, ``off_ratio`` how far a
    step lies from the law as a rule. ``doubts`` are sentences about why it is not to be believed.
    """

    law: Law
    one_per_s: Spread
    sigma: Spread
    kappa: Spread
    peak: Spread
    explained_ratio: float | None
    off_ratio: float
    doubts: tuple[str, ...]

    @property
    def has_peak(self) -> bool:
        """Whether a peak is shown: kappa is told apart from 0, and each round has one."""
        low = self.kappa.low
        return low is not None and low > 0 and self.law.peak is not None and None not in self.peak.rounds


@dataclass(frozen=True, slots=True)
class Measured:
    """A step with the spread of each of its figures, who was its limit, and why it could not be measured.

    ``verdict`` is what limited most of its rounds; ``generator_late`` whether the generator of an open loop
    was late itself in most of them.
    """

    step: Step
    figures: Mapping[str, Spread]
    limit: str
    fault: str
    verdict: Finding | None = None
    generator_late: bool = False

    @property
    def value(self) -> Number:
        """Its value of the first axis."""
        return self.step.values[0][1]

    @property
    def failed_ratio(self) -> float:
        """The share of its requests that failed, of those that ended."""
        rounds = zip(
            *(self.figures[name].rounds for name in ("failed", THROUGHPUT, "duration_s")), strict=True
        )
        ended = [(f or 0.0, (rate or 0.0) * (s or 0.0)) for f, rate, s in rounds]
        failed = sum(f for f, _ in ended)
        return failed / whole if (whole := failed + sum(answered for _, answered in ended)) else 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """The steps along the first axis for one value of the second (``of``, empty where there is one axis).

    ``knee`` and ``fit`` are None where they have no meaning, or nothing was measured yet; ``found`` is what a
    search came to.
    """

    axis: Axis
    of: tuple[tuple[str, Number], ...]
    steps: tuple[Measured, ...]
    knee: Knee | None
    fit: Fit | None
    found: Found | None = None

    @property
    def name(self) -> str:
        """What sets it apart from the other curves: ``permits=10``."""
        return Step(self.of).name

    @property
    def best(self) -> Measured | None:
        """The step with the highest median throughput."""
        known = [one for one in self.steps if one.figures[THROUGHPUT].median is not None]
        return max(known, key=lambda one: one.figures[THROUGHPUT].median or 0.0, default=None)


def curves(design: Design, standing: Standing) -> tuple[Curve, ...]:
    """Return the curves of a sweep as it stands."""
    by_name = {contestant.name: contestant for contestant in standing.contest.contestants}
    curves = []
    for of, steps in curves_of(design):
        measured = []
        for step in steps:
            laps = standing.laps.get(step.name, ())
            figures = {name: Spread.of(values) for name, values in laps_by_figure(laps).items()}
            limit, fault = limit_of(by_name[step.name], figures), standing.faults.get(step.name, "")
            measured.append(Measured(step, figures, limit, fault, usual_verdict(laps), is_mostly_late(laps)))
        curve = Curve(design.axes[0], of, tuple(measured), None, None)
        if design.find is not None:
            curve = replace(curve, found=_found(design, standing))
        elif not design.experiment.tuning.rate or design.axes[0].key == "rate":
            # In an open loop throughput is the rate that was asked for, however many there are of anything.
            curve = _bent(curve)
        curves.append(curve)
    return tuple(curves)


def _found(design: Design, standing: Standing) -> Found | None:
    if design.find is None:
        return None
    names = {step.values[0][1]: step.name for step in design.steps}
    laps = {value: standing.laps.get(name, ()) for value, name in names.items()}
    faults = {value: standing.faults[name] for value, name in names.items() if name in standing.faults}
    return found(design.find, laps, faults)


def _bent(curve: Curve) -> Curve:
    """Return a curve with its knee and its law."""
    # One that could not be measured to its end would leave few whole rounds for the others.
    key = curve.axis.key
    known = [one for one in curve.steps if one.figures[THROUGHPUT].median and not one.fault]
    knee = knee_of(known) if key in BENT and len(known) > 1 else None
    return replace(curve, knee=knee, fit=fit_of(known) if key in SCALED else None)


# The knee.


def knee_of(steps: Sequence[Measured]) -> Knee:
    """Return the knee of steps that follow each other."""
    values = [one.value for one in steps]
    rounds = list(_whole_rounds(steps))
    at = Spread.of(float(_first_near_best(values, rates)) for rates in rounds)
    if at.median is None:
        return Knee(at, "no round has every step")
    # An even number of rounds may have its median between two steps.
    middle = statistics.median_high(value for value in at.rounds if value is not None)
    at = Spread(at.rounds, middle, at.min, at.max, at.low, at.high)
    if len(at.rounds) < 2:
        return Knee(at, "one whole round says nothing about the spread")
    knee = steps[values.index(min(values, key=lambda value: abs(value - middle)))]
    last = steps[-1]
    few = sum(value is not None for value in at.rounds) < APART_ROUNDS
    if knee is last or at.high == last.value:
        return Knee(at, "throughput still rises at the last step, or may do so")
    if few:
        return Knee(
            at,
            f"throughput stops rising, but {len(at.rounds)} whole rounds cannot tell latencies apart; "
            f"use {APART_ROUNDS} or more",
        )
    if lead(last.figures[LATENCY], knee.figures[LATENCY]) != 1:
        return Knee(at, "throughput stops rising, but the latency is not shown to")
    return Knee(at)


def _whole_rounds(steps: Sequence[Measured]) -> Iterator[tuple[float, ...]]:
    """Yield the throughputs of each round in which every step has one."""
    for rates in zip(*(one.figures[THROUGHPUT].rounds for one in steps), strict=False):
        if all(rates):
            yield tuple(rate or 0.0 for rate in rates)


def _first_near_best(values: Sequence[Number], rates: Sequence[float]) -> Number:
    enough = KNEE_RATIO * max(rates)
    return next(value for value, rate in zip(values, rates, strict=True) if rate >= enough)


# The law.


def fit_of(steps: Sequence[Measured]) -> Fit | None:
    """Return the law of the steps, or None where they do not determine one."""
    points = [(float(one.value), one.figures[THROUGHPUT].median or 0.0) for one in steps]
    law = fitted(points)
    if law is None:
        return None
    rounds = [
        fitted([(n, rate) for (n, _), rate in zip(points, rates, strict=True)])
        for rates in _whole_rounds(steps)
    ]
    laws = [one for one in rounds if one is not None]
    fit = Fit(
        law=law,
        one_per_s=Spread.of(one.one_per_s for one in laws),
        sigma=Spread.of(one.sigma for one in laws),
        kappa=Spread.of(one.kappa for one in laws),
        peak=Spread.of(one.peak for one in laws),
        explained_ratio=explained(law, points),
        off_ratio=shortfall(law, points),
        doubts=(),
    )
    doubts = (*_doubts_of_steps(steps), *_doubts_of_numbers(fit, points, steps))
    return Fit(law, fit.one_per_s, fit.sigma, fit.kappa, fit.peak, fit.explained_ratio, fit.off_ratio, doubts)


def _doubts_of_steps(steps: Sequence[Measured]) -> Iterator[str]:
    if len(steps) < ENOUGH_STEPS:
        yield f"{len(steps)} steps hardly tell three numbers from chance; use {ENOUGH_STEPS} or more"
    if failing := [one for one in steps if one.failed_ratio >= FAILED_RATIO]:
        most = max(failing, key=lambda one: one.failed_ratio)
        yield (
            f"requests failed, most at {most.step.name} ({most.failed_ratio * 100:.0f} %): "
            "what gives up waiting takes part in no queue"
        )
    if bound := [one for one in steps if is_of_the_load(one)]:
        at = _where(bound, steps)
        yield f"{at} the clients had no CPU left: it is the law of the load, not of the server"
    if shared := [one for one in steps if one.limit == SHARED]:
        yield f"{_where(shared, steps)} both ends share one CPU: it is the law of both together"
    busy = [one.figures["others_cpu_ratio"].median or 0.0 for one in steps]
    if max(busy) >= BUSY_RATIO:
        yield f"other programs used up to {max(busy) * 100:.0f} % of a core meanwhile"


def _where(some: Sequence[Measured], steps: Sequence[Measured]) -> str:
    """Return at which of the steps: from one of them on, or at those that are named."""
    if some[0] is steps[0] or [*some] != [*steps[-len(some) :]]:
        whole = len(some) == len(steps)
        return "at all steps" if whole else f"at {', '.join(one.step.name for one in some)}"
    return f"from {some[0].step.name} on"


def _doubts_of_numbers(fit: Fit, points: Sequence[Point], steps: Sequence[Measured]) -> Iterator[str]:
    if len(fit.sigma.rounds) < 2:
        yield "one whole round says nothing about the spread"
    for name, spread in (("sigma", fit.sigma), ("kappa", fit.kappa)):
        if spread.high is not None and spread.high < 0:
            more = "throughput rises faster than their number" if name == "sigma" else "it never levels off"
            yield f"{name} is negative, which the law does not know: {more}"
    if fit.sigma.low is not None and fit.sigma.low > 1:
        yield "sigma is above 1, which the law does not know: several have less throughput than one"
    if fit.off_ratio > FAR_OFF_RATIO:
        yield f"the steps lie {fit.off_ratio * 100:.0f} % off it as a rule"
    if not fit.has_peak:
        return
    peak, last = fit.law.peak or math.inf, points[-1][0]
    if peak > last:
        yield f"its peak at {peak:,.0f} lies beyond what was measured (up to {last:,.0f})"
    elif not _falls(steps):
        yield "its peak may be chance: no step beyond it is told apart as less than the best"


def is_of_the_load(step: Measured) -> bool:
    """Tell whether the load itself was the limit of a step: clients without CPU, a generator that is late."""
    kind = None if step.verdict is None else step.verdict.kind
    return step.limit == CLIENTS or kind in (Kind.CLIENT_CPU, Kind.GENERATOR_BOUND)


def _falls(steps: Sequence[Measured]) -> bool:
    """Tell whether the last step has less throughput than the best one, by more than chance explains."""
    best = max(steps, key=lambda one: one.figures[THROUGHPUT].median or 0.0).figures[THROUGHPUT]
    last = steps[-1].figures[THROUGHPUT]
    enough = sum(None not in pair for pair in zip(best.rounds, last.rounds, strict=False)) >= APART_ROUNDS
    return enough and best is not last and lead(best, last) == 1
