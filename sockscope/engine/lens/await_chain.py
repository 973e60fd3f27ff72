"""Where a task waits: the coroutines that it waits through, and the future at the end of them.

Nothing here runs code of the user's.
"""

from __future__ import annotations

import asyncio
import asyncio.locks
import asyncio.queues
import gc
from asyncio import CancelledError
from collections.abc import Sequence
from functools import lru_cache
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import Any

from sockscope.core.wire.octets import printable
from sockscope.engine.own_errors import is_ours, is_users, shown_path

DEEPEST = 64
"""Coroutines that are followed; what waits through more is cut off there."""
NAME_CHARACTERS = 60
"""Of a name that is shown."""
_PRIMITIVES = (asyncio.locks.__file__, asyncio.queues.__file__)

_KINDS = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType, type(None)))

Link = tuple[CodeType, int]
"""The code of a coroutine and the line at which it waits."""


class Wait:
    """What a coroutine waits through: ``links``, itself first, with their ``coroutines``; and the ``future``
    at the end, None where there is none (it has not begun, or is to go on in the next turn of the loop)."""

    __slots__ = ("_frames", "coroutines", "future", "key", "links")

    def __init__(self, coroutine: object) -> None:
        self.links: list[Link] = []
        self._frames: list[FrameType] = []
        key: list[int] = []
        self.coroutines: list[object] = []
        at: Any = coroutine
        while at is not None and len(key) < 2 * DEEPEST:
            kind = type(at)
            if kind is CoroutineType:
                frame, following = at.cr_frame, at.cr_await
            elif kind is GeneratorType:
                frame, following = at.gi_frame, at.gi_yieldfrom
            elif kind is AsyncGeneratorType:
                frame, following = at.ag_frame, at.ag_await
            elif hasattr(kind, "cr_frame"):  # compiled
                frame, following = at.cr_frame, at.cr_await
            else:
                break
            if frame is None:
                break
            code = frame.f_code
            line = frame.f_lineno or code.co_firstlineno
            key += id(code), line
            self.links.append((code, line))
            self._frames.append(frame)
            self.coroutines.append(at)
            at = following if type(following) in _KINDS else _awaited(following)
        self.key = tuple(key)
        self.future: asyncio.Future[Any] | None = at if asyncio.isfuture(at) else None

    @property
    def is_begun(self) -> bool:
        """Whether the coroutine has run at all."""
        return bool(self._frames) and self._frames[0].f_lasti >= 0

    def primitive(self, at: int) -> object:
        """Return the ``self`` of the link number ``at``."""
        return self._frames[at].f_locals.get("self")

    def holds(self, own: Sequence[int]) -> list[int]:
        """Return the ``id`` of each object of an ``async with`` that is under way in the links ``own``.

        That it waits to enter is among them. The interpreter keeps the ``__aexit__`` of each among what the
        coroutine refers to.
        """
        held: list[int] = []
        for at in own:
            referents = gc.get_referents(self.coroutines[at])
            for one, following in zip(referents, [*referents[1:], None], strict=True):
                if type(one) is MethodType and one.__name__ == "__aexit__":
                    held.append(id(one.__self__))
                elif type(one) is FunctionType and one.__name__ == "__aexit__":
                    held.append(id(following))  # Python 3.14 keeps the two apart, one behind the other
        return held

    def handles_cancellation(self) -> bool:
        """Tell whether CancelledError is being handled: in an ``except``, a ``finally`` or an ``__aexit__``.

        The interpreter keeps the exception among what the coroutine refers to.
        """
        return any(
            isinstance(referent, CancelledError)
            for coroutine in self.coroutines
            for referent in gc.get_referents(coroutine)
        )


def _awaited(following: Any) -> object:
    """Return what an iterator of ``__await__`` or ``__anext__`` belongs to: it refers to little else."""
    if following is None or _goes_on(following):
        return following
    return next(filter(_goes_on, gc.get_referents(following)), None)


def _goes_on(one: object) -> bool:
    """Tell whether it is one of what coroutines wait through, or wait for."""
    kind = type(one)
    return kind in _KINDS or asyncio.isfuture(one) or hasattr(kind, "cr_frame")


class Words:
    """Puts chains into words, each but once: there are far fewer of them than tasks."""

    MOST = 4_096

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], ChainWords] = {}

    def of(self, wait: Wait) -> ChainWords:
        """Return the words of a chain."""
        words = self._known.get(wait.key)
        if words is None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            words = self._known[wait.key] = ChainWords(wait.links)
        return words


class ChainWords:
    """A chain in words: ``chain`` all of it, ``coroutine`` whose task it is and where that is defined,
    ``waits_in`` the innermost place of the user's code and what is called there; printable.

    ``primitive_at`` is the number of the link that is a method of a lock, semaphore, event or queue of
    asyncio's, None where there is none, and ``own`` are those of the links that are the user's.
    """

    __slots__ = ("_links", "chain", "coroutine", "own", "primitive_at", "waits_in")

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links  # the key has the addresses of the codes: they must stay
        self.own = own = [at for at, (code, _) in enumerate(links) if is_users(code.co_filename)]
        self.chain = tuple(_told(code, line) for code, line in links)
        outermost = links[own[0] if own else 0][0] if links else None
        self.coroutine = _told(outermost, outermost.co_firstlineno) if outermost is not None else ""
        self.waits_in = _waits_in(links, own[-1] if own else None)
        methods = (at for at, (code, _) in enumerate(links) if _is_of_primitive(code))
        self.primitive_at = next(methods, None)


def _is_of_primitive(code: CodeType) -> bool:
    return code.co_filename in _PRIMITIVES and code.co_varnames[:1] == ("self",)


def _waits_in(links: Sequence[Link], own: int | None) -> str:
    if not links:
        return ""
    if own is None:
        return _told(*links[-1])
    code, line = links[own]
    beyond = [_name(called) for called, _ in links[own + 1 :] if called.co_name != "__aenter__"]
    return " ".join([place_of_code(code, line), *beyond[:1]])


def _told(code: CodeType, line: int) -> str:
    return f"{_name(code)} {place_of_code(code, line)}"


def _name(code: CodeType) -> str:
    return printable(code.co_qualname.rpartition("<locals>.")[2], NAME_CHARACTERS)


def place_of_code(code: CodeType, line: int) -> str:
    """Return file and line as short as they are still found."""
    return _place(code.co_filename, line)


@lru_cache(1_024)
def _place(path: str, line: int) -> str:
    if is_users(path) or is_ours(path):
        return f"{shown_path(path)}:{line}"
    return printable("/".join(path.split("/")[-2:]), NAME_CHARACTERS) + f":{line}"
