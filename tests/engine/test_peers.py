"""The peers of a UDP server, without a socket."""

from __future__ import annotations

from sockscope.engine.recorder import Recorder
from sockscope.engine.servers.endpoint import ServerContext
from sockscope.engine.servers.peers import Peers
from tests.engine.runs import experiment


def test_what_comes_late_is_not_lost_however_often_silence_is_looked_for() -> None:
    recorder = Recorder("server")
    context = ServerContext(experiment(role="server", transport="udp", idle_timeout_s=0.1), recorder)
    peers, remote = Peers(context, recorder, ("127.0.0.1", 7), 0), ("127.0.0.1", 9)
    for number in (1, 3):
        peers.arrived(remote, number)
    for _ in range(3):
        peers.forget_silent()
    peers.arrived(remote, 2)
    assert peers.sequence_counts()[:2] == (0, 1), "lost, reordered"
