"""Every exception that SockScope raises on purpose.

::

    SockscopeError              one sentence that a user can act on, plus an exit code
    ├── ConfigError             what was asked for cannot be run; names every faulty field
    ├── EngineError             the run could not start or go on
    │   ├── ListenError         an address cannot be listened on
    │   ├── TargetGoneError     nothing serves at the target
    │   └── ResourceLimitError  this machine's limits do not allow the experiment
    ├── StateError              the operation does not fit the state of the run
    └── HistoryError            the file of finished runs cannot be used
        └── UnknownRunError     a run that was asked for is not in it

What a *peer* does (a reset, a refusal, a timeout, garbage) is data, never one of these: see
:class:`sockscope.core.events.CloseReason`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_THRESHOLD = 3
EXIT_INVALID = 4
EXIT_INTERRUPTED = 130


class SockscopeError(Exception):
    """Base of the tree; ``exit_code`` is what the command line ends with.

    Each can be pickled (``__reduce__``), so that what is raised in a child process arrives as the same.
    """

    exit_code = EXIT_FAILED


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field that is wrong: its name, the value that was given, and why it does not do."""

    field: str
    value: object
    why: str

    def __str__(self) -> str:
        # A switch tells its value by its name: --tls, --udp.
        switch = self.field.startswith("--") and (self.value is True or self.field == f"--{self.value}")
        return sentence(self.field if switch else f"{self.field} = {_shown(self.value)}", self.why)


_PREDICATES = frozenset(
    (
        "and",
        "cancels",
        "cannot",
        "does",
        "ends",
        "has",
        "is",
        "makes",
        "means",
        "must",
        "names",
        "needs",
        "raised",
        "serves",
        "takes",
        "tells",
        "was",
    )
)


def sentence(subject: str, why: str) -> str:
    """Return what is wrong with a subject; ``why`` is its predicate (``is empty``) or a sentence."""
    return f"{subject}{'' if why.partition(' ')[0] in _PREDICATES else ':'} {why}"


def _shown(value: object) -> str:
    """Return a value in at most 60 characters; one of a file may be nested, or a number, without end."""
    if isinstance(value, dict | list):
        return "{...}" if isinstance(value, dict) else "[...]"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length():,} bits"
    return shortened(repr(value[:61]) if isinstance(value, str) else str(value))


def shortened(text: str) -> str:
    """Return a text in at most 60 characters."""
    return text if len(text) <= 60 else text[:59] + "…"


class ConfigError(SockscopeError):
    """The experiment or tuning that was asked for is not possible; ``faults`` names every reason."""

    exit_code = EXIT_USAGE

    def __init__(self, faults: Iterable[FieldFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.faults,)

    @classmethod
    def of(cls, field: str, value: object, why: str) -> ConfigError:
        """Return the error for a single faulty field."""
        return cls([FieldFault(field, value, why)])


class EngineError(SockscopeError):
    """The run could not start or could not go on."""


class ListenError(EngineError):
    """An address cannot be listened on; ``os_error`` is what the kernel said."""

    def __init__(self, address: str, os_error: OSError, advice: str) -> None:
        self.address = address
        self.os_error = os_error
        self.advice = advice
        super().__init__(f"cannot listen on {address}: {advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address, self.os_error, self.advice)


class TargetGoneError(EngineError):
    """Nothing serves at the target of a measurement in steps, or no longer does: none of them can go on."""


class ResourceLimitError(EngineError):
    """A limit of this machine or process is too low for the experiment."""

    exit_code = EXIT_USAGE

    def __init__(self, resource: str, limit: int, message: str) -> None:
        self.resource = resource
        self.limit = limit
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.resource, self.limit, str(self))


class StateError(SockscopeError):
    """The operation does not fit the state of the run."""

    def __init__(self, state: str, operation: str) -> None:
        self.state = state
        self.operation = operation
        super().__init__(f"cannot {operation} while the run is {state}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.state, self.operation)


class HistoryError(SockscopeError):
    """The history cannot be read or written; the file is left as it is."""


class UnknownRunError(HistoryError):
    """There is no run ``run_id`` (a number, or a name such as ``last-1``) in the history."""

    exit_code = EXIT_USAGE

    def __init__(self, run_id: int | str, why: str) -> None:
        self.run_id = run_id
        super().__init__(sentence(str(run_id), why))
