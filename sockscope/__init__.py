"""SockScope: real servers, real clients, and every knob turns while they run.

::

    from sockscope import Engine, Experiment, Tuning

The names are loaded when they are first used, so that ``sockscope --help`` does not pay for the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment, Tuning
    from sockscope.engine.engine import Engine

__version__ = "0.1.0"
__all__ = ["Engine", "Experiment", "Tuning", "__version__"]

_HOMES = {
    "Engine": "sockscope.engine.engine",
    "Experiment": "sockscope.core.config.experiment",
    "Tuning": "sockscope.core.config.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
