"""What panels ask for; the dashboard's screen passes it on to the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from textual.message import Message

from sockscope.core.config.fields import Value
from sockscope.core.run.snapshot import Capture


class TuningRequested(Message):
    """A knob was turned: new values by field key."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__()
        self.values = values


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
    """A moment was pointed at in a graph (monotonic seconds)."""

    def __init__(self, time_s: float) -> None:
        super().__init__()
        self.time_s = time_s


class QueryChanged(Message):
    """A panel is interested in other rows from now on."""


class CloseRequested(Message):
    """A connection is to be closed."""

    def __init__(self, role: str, conn_id: int) -> None:
        super().__init__()
        self.role = role
        self.conn_id = conn_id
