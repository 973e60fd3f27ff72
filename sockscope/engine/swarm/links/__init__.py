"""How a client is connected: one link for each transport and client model."""

from __future__ import annotations

from collections.abc import Mapping

from sockscope.engine.swarm.links.blocking import BlockingLink
from sockscope.engine.swarm.links.link import Link
from sockscope.engine.swarm.links.protocol import ProtocolLink
from sockscope.engine.swarm.links.selector import SelectorLink
from sockscope.engine.swarm.links.streams import StreamsLink
from sockscope.engine.swarm.links.udp import ReaderUdpLink, SelectorUdpLink
from sockscope.engine.swarm.links.udp_blocking import BlockingUdpLink
from sockscope.engine.swarm.links.udp_streams import StreamsUdpLink

LINKS: Mapping[tuple[str, str], type[Link]] = {
    ("tcp", "selector"): SelectorLink,
    ("tcp", "protocol"): ProtocolLink,
    ("tcp", "streams"): StreamsLink,
    ("tcp", "blocking"): BlockingLink,
    ("udp", "selector"): SelectorUdpLink,
    ("udp", "protocol"): ReaderUdpLink,
    ("udp", "streams"): StreamsUdpLink,
    ("udp", "blocking"): BlockingUdpLink,
}
"""What a client is connected by, by transport and client model."""
