"""Results as they come back: written by the program, dumped as JSON and loaded again; some damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.axis import Axis
from sockscope.core.results.contest import Contest, Published
from sockscope.core.results.lap_figures import NAMES
from sockscope.core.results.race_result import race_report
from sockscope.core.results.run_result import report
from sockscope.core.results.search import Search
from sockscope.core.results.standing import Standing
from sockscope.core.results.sweep_result import sweep_report
from sockscope.core.results.thresholds import Threshold
from sockscope.core.run.snapshot import RunState, Totals
from tests.core.races import batches, contestant, rates, two_servers
from tests.core.runs import both, child, resources, role, run
from tests.core.sweeps import design, standing

ENVIRONMENT: dict[str, object] = {"sockscope": "0.1.0", "python": "3.11", "uvloop": None, "cores": 2}


def reread(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as it is when it has been written to a file and read again."""
    found: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return found


def runs() -> list[dict[str, Any]]:
    """Return results of runs of every sort: roles, places, transports, an end in failure."""
    totals = Totals(requests=10, responses=7, errors=1, timeouts=2)
    own = Experiment(role="server", handler="a:handle")
    untold = role("server", totals, counts_frames=False, last_trouble="KeyError at a.py:1")
    snapshots = [
        both(),
        both(children=(child("server", 101, resources()), child("clients", 102, resources()))),
        run(tuning=Tuning(transport="udp"), swarm=role("swarm", totals), server=role("server", totals)),
        run(experiment=own, server=untold),
        run(experiment=Experiment(role="swarm", target="127.0.0.1:1"), swarm=role("swarm", Totals())),
        replace(both(last_trouble="refused"), state=RunState.FAILED, error="internal", warming_up=True),
        run(
            seconds=0, used=replace(resources(), kernel_udp=None, rss_bytes=None), swarm=role("swarm", totals)
        ),
    ]
    return [reread(report(snapshot, ENVIRONMENT)) for snapshot in snapshots]


def races() -> list[dict[str, Any]]:
    """Return results of races of every sort: rates and batches, cut short, without a figure, a preset."""
    guide = Contest(
        (contestant("blocking", uses_loop=False, server="blocking"), contestant("uvloop")),
        rounds=9,
        requests=100,
        preset="guide",
        note="It is about waiting.",
        published=(Published("blocking", 10.23, 9.78, 0.10, 15_200_000, 1.0),),
        left_out=(("kqueue", "is not on Linux"),),
    )
    laps = {"blocking": batches(*[10.2] * 9), "uvloop": batches(*[0.1] * 8, 0.9)}
    standings = [
        two_servers(),
        Standing(guide, laps=laps, elapsed_s=93.0, finished=True),
        two_servers(laps={"slow": rates(1.0)}, faults={"fast": "cannot listen"}, cut_short=True),
        two_servers(laps={}),
    ]
    return [reread(race_report(standing, ENVIRONMENT)) for standing in standings]


def sweeps() -> list[dict[str, Any]]:
    """Return results of sweeps of every sort: one axis and two, a search, cut short, without a figure."""
    one, two = design("clients=1..64", rounds=2), design("clients=1,2", "permits=off,3", rounds=1)
    asked = Search(Axis.parse("clients=1..64"), Threshold.parse("p99<1ms", NAMES), 1)
    found = replace(two, axes=one.axes[:1], find=asked)
    whole = standing(one, lambda values: values["clients"] * 100)
    pairs = [
        (one, whole),
        (two, standing(two, lambda values: values["clients"] * 100)),
        (found, replace(whole, laps={name: laps[:1] for name, laps in whole.laps.items()}, cut_short=True)),
        (one, replace(whole, laps={}, faults={"clients=2": "cannot listen"})),
    ]
    return [reread(sweep_report(swept, stands, ENVIRONMENT)) for swept, stands in pairs]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([10**400, -1e300, "run", "race", "both"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
"""What ``json.loads`` may return, and numbers that are none."""


@st.composite
def damaged(draw: st.DrawFn, originals: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one of these results in which a few values are gone or are something else."""
    found: dict[str, Any] = deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from([*_places(found)]))
        if draw(st.booleans()):
            holder[key] = draw(ANY_JSON)
        else:
            del holder[key]
            if not found:
                break
    return found


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where each value of a JSON object stands: what holds it, and its key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)
