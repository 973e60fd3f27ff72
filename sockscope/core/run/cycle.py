"""Where the seconds of a client go, from one request to the next."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.config.models import ServerModel, server_model
from sockscope.core.impairment.kinds import LINK
from sockscope.core.run.snapshot import LimiterStatistics, Snapshot


@dataclass(frozen=True, slots=True)
class Cycle:
    """Mean seconds per request of a window.

    ``think_s``: the client does not ask. ``wait_s``: for a connection of the pool and for a permit.
    ``service_s``: from the write to the answer; None without an answer. In it are ``admission_s``, the wait
    to be admitted at the server, ``work_s``, the service time that is asked of a server of ours, and
    ``delay_s``, what faults on the link add on purpose.
    """

    think_s: float
    wait_s: float
    service_s: float | None
    admission_s: float
    work_s: float
    delay_s: float = 0.0

    @property
    def rest_s(self) -> float:
        """What of the service time nobody asked for: queues, system calls, the network."""
        return max((self.service_s or 0.0) - self.admission_s - self.work_s - self.delay_s, 0.0)

    @property
    def mostly_thinks(self) -> bool:
        """Whether no server, however fast, could as much as double the rate."""
        return self.service_s is not None and self.think_s >= self.wait_s + self.service_s > 0

    @property
    def mostly_queues(self) -> bool:
        """Whether more time is lost in the rest than clients think, servers work or faults delay."""
        return self.service_s is not None and self.rest_s >= max(self.think_s, self.work_s, self.delay_s)


def cycle_of(window: Snapshot) -> Cycle:
    """Return the mean cycle of the clients of a window."""
    swarm, server = window.swarm, window.server
    work_s = window.tuning.service_time_s if model_of(window) is not None else 0.0
    if swarm is None:
        return Cycle(0.0, 0.0, None, 0.0, work_s)
    return Cycle(
        think_s=window.tuning.think_time_s,
        wait_s=_mean_wait_s(swarm.limiter) + _mean_wait_s(swarm.pool),
        service_s=swarm.service_time.mean_s,
        admission_s=_mean_wait_s(server.limiter) if server is not None else 0.0,
        work_s=work_s,
        delay_s=_mean_delay_s(window),
    )


def _mean_delay_s(window: Snapshot) -> float:
    """Return by how much faults delay what arrives, both ways together."""
    figures = window.relay.relay if window.relay is not None else None
    if figures is None or not any(fault.about.where == LINK for fault in window.tuning.faults):
        return 0.0
    # What is read at once is late together: the mean of the reads is that of the requests.
    return figures.up.impaired.mean_delay_s + figures.down.impaired.mean_delay_s


def _mean_wait_s(limiter: LimiterStatistics) -> float:
    """Return the mean wait of all that were admitted, those that did not have to wait included."""
    return limiter.wait_s / limiter.acquired if limiter.acquired else 0.0


def model_of(window: Snapshot) -> ServerModel | None:
    """Return the model of the server; None where it is elsewhere or the user's own."""
    if window.server is None or window.experiment.own_server:
        return None
    return server_model(window.tuning.transport, window.tuning.server)


def in_service_at_once(window: Snapshot) -> int:
    """Return how many requests the server works on at a time, at most; 0: as many as come, or not known.

    A loop that sleeps or computes works on one, and so does one thread; a thread of a TCP server is taken by
    a connection, of a UDP server by a datagram. Requests of one connection are served in order.
    """
    model = model_of(window)
    if model is None:
        return 0
    if model.at_once:
        return model.at_once * window.tuning.server_processes
    if not serves_in_order(window):
        return window.tuning.server_processes if _sleeps_alone(window, model) else 0
    return window.server.connections_open if window.server is not None else 0


def serves_in_order(window: Snapshot) -> bool:
    """Tell whether clients wait for the requests that they have sent before (pipelining), and nobody else."""
    model = model_of(window)
    pipelined = window.tuning.transport == "tcp" and window.tuning.depth > 1
    return pipelined and model is not None and not (model.at_once or _sleeps_alone(window, model))


def _sleeps_alone(window: Snapshot, model: ServerModel) -> bool:
    """Tell whether a request that is in service holds up all the others of its process."""
    return (not model.threaded or bool(model.mechanism)) and window.tuning.work != "wait"
