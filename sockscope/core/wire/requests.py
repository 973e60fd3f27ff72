"""What clients ask: one request or several, in turn or by weight, with places to be filled in.

``{n}`` in a request becomes its number among those of its client, from 1, and ``{client}`` the number of the
client; ``{{n}}`` and ``{{client}}`` are sent as ``{n}`` and ``{client}``. All other braces are braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from math import gcd
from typing import Self

MAX_WEIGHT = 1_000
MAX_REQUESTS = 256
"""Most requests that are asked in turn."""
_PLACE = re.compile(rb"\{\{(n|client)\}\}|\{(n|client)\}")


@dataclass(frozen=True)
class Template:
    """One request: what stands before each of its places, the place's name, and what follows the last one."""

    places: tuple[tuple[bytes, str], ...]
    rest: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the template that ``data`` is."""
        places: list[tuple[bytes, str]] = []
        before, at = b"", 0
        for found in _PLACE.finditer(data):
            before += data[at : found.start()]
            at = found.end()
            if found[1]:
                before += b"{%b}" % found[1]
            else:
                places.append((before, found[2].decode()))
                before = b""
        return cls(tuple(places), before + data[at:])

    def has(self, octets: bytes) -> bool:
        """Tell whether these bytes stand in the request outside of its places."""
        return octets in self.rest or any(octets in piece for piece, _ in self.places)

    @property
    def size(self) -> int:
        """Bytes of the request, its places counted as they are written."""
        return len(self.rest) + sum(len(piece) + len(name) + len("{}") for piece, name in self.places)

    @property
    def is_fixed(self) -> bool:
        """Whether it is always the same bytes."""
        return not self.places

    def filled(self, number: int, client: int) -> bytes:
        """Return the request with this number of this client."""
        values = {"n": b"%d" % number, "client": b"%d" % client}
        return b"".join([piece + values[name] for piece, name in self.places]) + self.rest


@dataclass(frozen=True)
class Requests:
    """The requests of a run. ``weights`` are how often each is asked, relative to the others; none: alike."""

    templates: tuple[Template, ...]
    weights: tuple[int, ...] = ()

    @classmethod
    def of(cls, requests: Sequence[bytes], weights: Sequence[int] = ()) -> Self:
        """Return those that are these bytes."""
        return cls(tuple(map(Template.of, requests)), tuple(weights))

    @cached_property
    def turns(self) -> tuple[int, ...]:
        """The order in which a client asks them, again and again, as indexes of ``templates``.

        Each is asked in the middle of an equal part of the turns for each time that it is asked, so that they
        are spread evenly.
        """
        weights = self.weights or (1,) * len(self.templates)
        common = reduce(gcd, weights)
        shares = [weight // common for weight in weights]
        asked = [((time + 0.5) / share, index) for index, share in enumerate(shares) for time in range(share)]
        return tuple(index for _, index in sorted(asked))

    @property
    def size(self) -> int:
        """Bytes of the largest one, its places counted as they are written."""
        return max(template.size for template in self.templates)

    @property
    def is_one(self) -> bool:
        """Whether every request is the same bytes."""
        return len(self.templates) == 1 and self.templates[0].is_fixed

    def asked_by(self, client: int) -> Iterator[tuple[int, bytes]]:
        """Yield the requests of a client, each with its index; clients begin at different turns."""
        turns, number = self.turns, 0
        fixed = [template.rest if template.is_fixed else b"" for template in self.templates]
        while True:
            index = turns[(client - 1 + number) % len(turns)]
            number += 1
            yield index, fixed[index] or self.templates[index].filled(number, client)


def parse_weights(text: str, count: int) -> tuple[int, ...]:
    """Return the weights of ``count`` requests that ``text`` lists (``3,1``). Raises ValueError."""
    weights = []
    for place, word in enumerate(text.split(","), 1):
        if not re.fullmatch(r" *[0-9]{1,6} *", word) or not 1 <= int(word) <= MAX_WEIGHT:
            raise ValueError(f"has {word.strip()!r} as weight {place}; a weight is 1 to {MAX_WEIGHT:,}")
        weights.append(int(word))
    if len(weights) != count:
        what = "is one weight" if len(weights) == 1 else f"are {len(weights):,} weights"
        raise ValueError(f"{what} for {count:,} requests")
    return tuple(weights)
