"""SockScope: real servers, real clients, and every knob turns while they run.

::

    from sockscope import Experiment, run

    experiment = Experiment(role="swarm", target="127.0.0.1:6379", requests=10_000).speaking("redis")
    result = run(experiment)
    print(result.figure("requests_per_s"), result.figure("p99"), result.figure("answers_rejected"))

:func:`run` and :func:`sweep` are for a script without an event loop; :class:`Engine` is a run on one,
whose knobs can be turned.

The names are loaded when they are first used, so that ``sockscope --help`` does not pay for the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment
    from sockscope.core.config.tuning import Tuning
    from sockscope.engine.engine import Engine
    from sockscope.lab.run import RunResult, run
    from sockscope.lab.swept import SweepResult, sweep

__version__ = "0.1.0"
__all__ = [
    "Engine", "Experiment", "RunResult", "SweepResult", "Tuning", "__version__", "run", "sweep",
]  # fmt: skip

_HOMES = {
    "Engine": "sockscope.engine.engine",
    "Experiment": "sockscope.core.config.experiment",
    "RunResult": "sockscope.lab.run",
    "SweepResult": "sockscope.lab.swept",
    "Tuning": "sockscope.core.config.tuning",
    "run": "sockscope.lab.run",
    "sweep": "sockscope.lab.swept",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
