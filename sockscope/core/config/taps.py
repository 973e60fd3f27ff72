"""The addresses at which a tap listens besides its first one, and where each of them leads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sockscope.core.addresses import Address, format_address, parse_target

MOST_TAPS = 16
"""Addresses at which one relay listens."""
MOST_PORT = 65_535
_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Lead:
    """An address at which a relay listens, and where that leads: of several the first that answers."""

    listen: Address
    targets: tuple[Address, ...]

    @property
    def text(self) -> str:
        """How it is written, such that :func:`parse_lead` reads the same."""
        return f"{format_address(self.listen)}={','.join(map(format_address, self.targets))}"


def parse_listen(text: str) -> Address:
    """Return the address that ``6380`` (on the loopback), ``host:6380`` or ``unix:/path`` names.

    Raises ValueError with the reason.
    """
    text = text.strip().removeprefix(":")
    if text.isascii() and text.isdigit() and int(text) <= MOST_PORT:
        return _HERE, int(text)
    if text.endswith(":0"):  # the kernel chooses
        return parse_target(f"{text[:-1]}1")[0], 0
    return parse_target(text)


def parse_lead(text: str) -> Lead:
    """Return what ``LISTEN=TARGET`` names (``8081=127.0.0.1:8080``); raises ValueError with the reason."""
    listen, sign, target = text.partition("=")
    if not (sign and listen.strip() and target.strip()):
        raise ValueError("is not LISTEN=TARGET, such as 8081=127.0.0.1:8080")
    return Lead(parse_listen(listen), tuple(map(parse_target, target.split(","))))


def leads_of(text: str) -> Iterator[Lead]:
    """Yield those of a text with a line for each; raises ValueError with the reason."""
    if text:
        yield from map(parse_lead, text.split("\n"))
