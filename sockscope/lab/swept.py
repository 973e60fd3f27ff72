"""One sweep from a script: an experiment and what is stepped through go in, its result comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sockscope.core.config.experiment import Experiment
from sockscope.core.results.axis import Axis
from sockscope.core.results.design import Design
from sockscope.core.results.lap_figures import NAMES as CONDITIONS
from sockscope.core.results.sweep_result import CURVE, NAMES, SWEEP, sweep_report
from sockscope.core.results.thresholds import Threshold
from sockscope.engine.loops import run_on
from sockscope.errors import ConfigError
from sockscope.lab.environment import environment
from sockscope.lab.find import Find
from sockscope.lab.sweep import Sweep

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep has shown; ``report`` is the object of ``sockscope sweep --json`` (docs/json.md)."""

    report: Mapping[str, Any]

    def figure(self, name: str, of: str = CURVE) -> float | None:
        """Return the median of a figure of a step (``of="clients=8"``), or of a curve (``knee``, ``found``).

        None where it is not known. Raises KeyError when there is no such figure, or step.
        """
        estimate = SWEEP.estimates(self.report)[of].get(NAMES[name])
        return None if estimate is None else estimate.value


def sweep(
    experiment: Experiment,
    *over: str,
    find: str = "",
    rounds: int | None = None,
    slice_s: float | None = None,
) -> SweepResult:
    """Step through the values of one field or two (``"clients=1..64"``), on an event loop of its own.

    ``find`` is a condition (``"response_p99<20ms"``) whose highest value is searched. Raises ConfigError or
    ResourceLimitError when it cannot start; a step that could not be measured has its fault in the report.
    """
    design = Design.of(
        experiment,
        [_read("over", text, Axis.parse) for text in over],
        _read("find", find, lambda text: Threshold.parse(text, CONDITIONS)) if find else None,
        rounds=rounds,
        slice_s=slice_s,
    )
    swept = Sweep(design) if design.find is None else Find(design)
    standing = run_on(experiment.loop, swept.result())
    return SweepResult(sweep_report(swept.design, standing, environment()))


def _read(name: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError.of(name, text, str(error)) from None
