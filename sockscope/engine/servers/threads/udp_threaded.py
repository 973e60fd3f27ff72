"""The ``threaded`` model over UDP: threads take turns at one socket, each answers what it has received.

Leader and followers: one thread waits in recvfrom; when it has a datagram the next one takes its place. A
thread for every datagram, as ``socketserver.ThreadingUDPServer`` makes them, costs more than the echo, and
has no bound.
"""

from __future__ import annotations

from sockscope.engine.servers.threads.udp_blocking import BlockingUdpEndpoint

UDP_THREADS = 100
"""Threads at the socket: as many requests are in service at once at the most."""


class ThreadedUdpEndpoint(BlockingUdpEndpoint):
    """Threads that take turns in recvfrom."""

    model = "threaded"
    threads = UDP_THREADS
