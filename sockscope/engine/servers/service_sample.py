"""Looks at the connections of a server, when a reader asks which are accepted and which are served."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, takewhile

from sockscope.core.connection import ConnectionRecord
from sockscope.core.run.client_states import ServiceSample, end_of
from sockscope.engine.recorder import Recorder
from sockscope.engine.servers.endpoint import Endpoint

LOOKED_AT_ONCE = 1_024
"""Connections of an endpoint that are looked at for one reading; more of them are in turns."""
CLOSED_LATELY_S = 0.25
"""Whose connection is closed no longer than this may not know of it yet, and was accepted."""


class ServiceLooks:
    """The connections of a server as they were when they were looked at last."""

    def __init__(self) -> None:
        self._accepted = array("Q")
        self._accepted_of = (0, 0)
        self._served: list[array[int]] = [array("Q")]
        self._next = 0

    def sample(self, recorder: Recorder, endpoints: Sequence[Endpoint], now_s: float) -> ServiceSample:
        """Look at the next connections; return what is known of all."""
        self._look_who_is_accepted(recorder, now_s)
        parts = max(1, -(-len(recorder.live) // LOOKED_AT_ONCE))
        if parts != len(self._served):
            self._served = [array("Q")] * parts
        self._next = (self._next + 1) % parts
        start = self._next * LOOKED_AT_ONCE
        self._served[self._next] = _client_ends(
            record for endpoint in endpoints for record in endpoint.in_service(start, LOOKED_AT_ONCE)
        )
        in_service = array("Q", chain.from_iterable(self._served)) if parts > 1 else self._served[0]
        return ServiceSample(now_s, self._accepted, in_service if recorder.counts_frames else None)

    def _look_who_is_accepted(self, recorder: Recorder, now_s: float) -> None:
        of = (recorder.opened, len(recorder.live))
        if of != self._accepted_of:
            before_s = now_s - CLOSED_LATELY_S
            lately = takewhile(lambda record: (record.closed_s or 0.0) >= before_s, reversed(recorder.closed))
            self._accepted, self._accepted_of = _client_ends(chain(recorder.live.values(), lately)), of


def _client_ends(records: Iterable[ConnectionRecord]) -> array[int]:
    return array("Q", [record.client_end or _name(record) for record in records])


def _name(record: ConnectionRecord) -> int:
    record.client_end = end_of(record.remote_address)
    return record.client_end
