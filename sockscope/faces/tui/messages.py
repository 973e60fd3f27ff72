"""What panels ask for; the dashboard's screen passes it on to the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from textual.message import Message

from sockscope.core.config.fields import Value
from sockscope.core.run.snapshot import Capture, ProcessKey
from sockscope.errors import ConfigError


class TuningRequested(Message):
    """A knob was turned: new values by field key."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__()
        self.values = values


class ValueRefused(Message):
    """What was typed for a knob is no value of it."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__()
        self.error = error


class ExchangeRequested(Message):
    """The bytes of one exchange are to be shown: ``reply`` takes them, or None when they are gone."""

    def __init__(self, record_id: int, reply: Callable[[Capture | None], None]) -> None:
        super().__init__()
        self.record_id = record_id
        self.reply = reply


class HoldRequested(Message):
    """The captures in sight are to stay readable (the reader stopped following), or may go."""

    def __init__(self, held: bool) -> None:
        super().__init__()
        self.held = held


class MomentRequested(Message):
    """A moment was pointed at in a graph (seconds on the clock of the run)."""

    def __init__(self, time_s: float) -> None:
        super().__init__()
        self.time_s = time_s


class QueryChanged(Message):
    """A panel is interested in other rows from now on."""


class Told(Message):
    """Something is to be said in a notice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class CancelRequested(Message):
    """A task of own code is to be cancelled: ``number`` of those that the lens shows of a process."""

    def __init__(self, process: ProcessKey, number: int) -> None:
        super().__init__()
        self.process = process
        self.number = number


class CloseRequested(Message):
    """A connection is to be closed."""

    def __init__(self, role: str, conn_id: int) -> None:
        super().__init__()
        self.role = role
        self.conn_id = conn_id
