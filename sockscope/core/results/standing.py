"""How a race stands: everything that its result has, at any moment of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sockscope.core.results.contest import Contest, Contestant, Lap, laps_by_figure
from sockscope.core.results.spread import Spread, confidence, ranks, ratios
from sockscope.core.run.used_up import CPU_FULL_RATIO

SERVER, CLIENTS, BOTH, NEITHER, SHARED, UNKNOWN = "server", "clients", "both", "neither", "shared", "unknown"
MIXED = "mixed"
RATIO = "ratio"
"""Name of the ratio to the baseline, which is a figure of a contestant, too."""
UNANSWERED = "no request was answered"
"""Why a contestant has no rank that has been measured all the same."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A race at one moment; the last one of a race is its result.

    ``laps`` are the finished slices by contestant, ``faults`` why a contestant dropped out, ``failure`` why
    none could go on. While the race
    goes on, ``running`` is whose slice it is, ``round`` its number (from 1) and ``partial`` its figures so
    far. ``time_left_s`` is None until it can be told. ``to_come`` are the slices to come where what has been
    measured decides how many they are.
    """

    contest: Contest
    laps: Mapping[str, tuple[Lap, ...]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    running: str = ""
    round: int = 0
    partial: Lap | None = None
    elapsed_s: float = 0.0
    time_left_s: float | None = None
    finished: bool = False
    cut_short: bool = False
    to_come: int | None = None

    @property
    def unanswered(self) -> frozenset[str]:
        """Contestants that have been measured and have not answered a single request."""
        return frozenset(
            name for name, laps in self.laps.items() if laps and not any(lap.requests_per_s for lap in laps)
        )

    @property
    def slices_done(self) -> int:
        """Slices that are measured."""
        return sum(map(len, self.laps.values()))

    @property
    def slices(self) -> int:
        """Slices that there are to be, those of contestants that dropped out not counted."""
        if self.to_come is not None:
            return self.slices_done + self.to_come
        racing = [c.name for c in self.contest.contestants if c.name not in self.faults]
        gone = sum(len(self.laps.get(name, ())) for name in self.faults)
        return len(racing) * self.contest.rounds + gone

    @property
    def confidence(self) -> float:
        """Probability with which each interval encloses its median, by the fewest rounds of a contestant."""
        counts = [len(laps) for name, laps in self.laps.items() if name not in self.faults and laps]
        return confidence(min(counts, default=0))


@dataclass(frozen=True, slots=True)
class StandingRow:
    """One contestant in the table. ``figures`` has the spread of each figure; ``rank`` is None without one.

    ``ratio`` is the deciding figure relative to the baseline's, so that more is better: of durations it is
    the baseline's divided by this one's ("times as fast").
    """

    contestant: Contestant
    rank: int | None
    figures: Mapping[str, Spread]
    ratio: Spread
    limit: str
    fault: str

    @property
    def name(self) -> str:
        """The contestant's name."""
        return self.contestant.name

    @property
    def spreads(self) -> Mapping[str, Spread]:
        """The spread of each figure, the ratio to the baseline included."""
        return {RATIO: self.ratio, **self.figures}


def rows(standing: Standing) -> tuple[StandingRow, ...]:
    """Return the contestants, the best first and those without a rank last."""
    contest = standing.contest
    figures = {
        c.name: {
            name: Spread.of(values)
            for name, values in laps_by_figure(standing.laps.get(c.name, ())).items()
        }
        for c in contest.contestants
    }  # fmt: skip
    deciding = {name: spreads[contest.figure] for name, spreads in figures.items()}
    out = {**dict.fromkeys(standing.unanswered, UNANSWERED), **standing.faults}
    racing = {name: spread for name, spread in deciding.items() if name not in out}
    placed = ranks(racing, higher_is_better=contest.higher_is_better)
    baseline = deciding.get(baseline_of(standing), Spread.of(()))
    unsorted = [
        StandingRow(
            contestant=c,
            rank=placed.get(c.name),
            figures=figures[c.name],
            ratio=_ratio(contest, deciding[c.name], baseline),
            limit=limit_of(c, figures[c.name]),
            fault=out.get(c.name, ""),
        )
        for c in contest.contestants
    ]
    sign = -1 if contest.higher_is_better else 1

    def place(row: StandingRow) -> tuple[bool, int, float]:
        return row.rank is None, row.rank or 0, sign * (row.figures[contest.figure].median or 0.0)

    return tuple(sorted(unsorted, key=place))


def baseline_of(standing: Standing) -> str:
    """Return the name that the others are compared with: the chosen one, or the first that can be ranked."""
    names = [contestant.name for contestant in standing.contest.contestants]
    out = standing.faults.keys() | standing.unanswered
    return standing.contest.baseline or next((n for n in names if n not in out), names[0])


def _ratio(contest: Contest, figure: Spread, baseline: Spread) -> Spread:
    return ratios(figure, baseline) if contest.higher_is_better else ratios(baseline, figure)


# Who was the limit.


def limit_of(contestant: Contestant, figures: Mapping[str, Spread]) -> str:
    """Return who had no CPU left in the median round: ``server``, ``clients``, ``both`` or ``neither``.

    A role is at its limit when each of its processes uses 93 % of a core. ``shared``: both roles ran in one
    process, whose CPU does not tell them apart. ``unknown``: nothing was measured.
    """
    server, clients = figures["cpu_ratio"].median, figures["clients_cpu_ratio"].median
    tuning = contestant.experiment.tuning
    if server is None or clients is None:
        return UNKNOWN
    if tuning.layout == "loop":
        return SHARED if server >= CPU_FULL_RATIO else NEITHER
    server_full = server >= CPU_FULL_RATIO * tuning.server_processes
    clients_full = clients >= CPU_FULL_RATIO * tuning.swarm_processes
    if server_full and clients_full:
        return BOTH
    return SERVER if server_full else CLIENTS if clients_full else NEITHER


def overall_limit(table: tuple[StandingRow, ...]) -> str:
    """Return the limit that all ranked contestants have in common, ``mixed``, or ``unknown``."""
    found = {row.limit for row in table if row.rank is not None}
    return found.pop() if len(found) == 1 else MIXED if found else UNKNOWN


def is_valid(table: tuple[StandingRow, ...]) -> bool:
    """Tell whether the table compares servers: not when most of them waited for clients without CPU."""
    ranked = [row.limit for row in table if row.rank is not None]
    return 2 * ranked.count(CLIENTS) <= len(ranked)
