"""Where the datagrams of a direction went, in words: a sum that a reader can check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sockscope.core.run.snapshot import LOST, UNDIVIDED
from sockscope.core.units import format_count

UNBROKEN = "\N{NO-BREAK SPACE}"
DIRECTIONS = {"to server": "datagrams_to_server", "to clients": "datagrams_to_clients"}
"""The two directions, and their sections in a report."""
CAUSES: Mapping[str, str] = {
    "late": "late",
    "impaired": "dropped by a fault",
    "doubled": "doubled by a fault",
    "relay_full": "without room in the relay",
    "send_buffer": "send buffer full",
    "receive_buffer": "receive buffer full",
    "unread": "unread",
    "device_queue": "device queue full",
    "nobody_listened": "nobody listened",
    "on_the_way": "on the way",
    "not_explained": "not explained",
}
"""What becomes of datagrams besides being received, in the order in which it is told."""
UNTOLD = "not told by a lost process"
"""What stands for datagrams on the way where a process is lost: it has not told of its last ones."""
SURPLUS = {"doubled": CAUSES["doubled"], "on_the_way": "sent since", "not_explained": "of others"}
"""The same where it is below 0: more was received than sent."""


def sum_of(flow: Mapping[str, int | None], states: Iterable[str] = ()) -> str:
    """Return what was sent as the sum of what became of it, without what is 0; nothing where there is none.

    ``states`` are those of the processes of the run. Words that belong together have no-break spaces.
    """
    if not (flow.get("sent") or flow.get("received")):
        return ""
    is_untold = not {LOST, UNDIVIDED}.isdisjoint(states)
    told = f"{format_count(flow.get('sent'))} = {format_count(flow.get('received'))} received"
    for cause, words in CAUSES.items():
        count = flow.get(cause) or 0
        if count:
            if cause == "on_the_way" and is_untold:
                words = UNTOLD
            elif count < 0:
                words = SURPLUS[cause]
            part = f"{format_count(abs(count))} {words}".replace(" ", UNBROKEN)
            told += f" {'+' if count > 0 else '−'} {part}"
    return told
