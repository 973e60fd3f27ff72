"""As what the user's own code serves: told by what it is and by its signature, before it serves."""

from __future__ import annotations

import asyncio
import inspect
import re
import socketserver
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from sockscope.core.wire.octets import printable
from sockscope.engine.own_errors import is_interrupt, told

ASGI = "asgi"
"""The key of the field that names an ASGI application."""
NEEDS_UVICORN = "needs uvicorn, which is not installed: pip install 'sockscope[asgi]'"
_STREAMS = "(reader, writer)"
_SOCKET = "(sock), (sock, address)"
_CURE = f"name or annotate them {_STREAMS}, or (sock, address) for a thread for each connection"
_LACKING = "name or annotate it (sock) for a thread for each connection, or give it (--handler-arg)"
_OF_STREAMS = re.compile(r"reader|writer|stream|^[rw]$")
_OF_SOCKET = re.compile(r"sock|conn|client|addr|peer|remote|request")
"""What names and types of the parameters of either kind of plain handler have in them."""
_NEVER_STREAMS = re.compile(r"sock|addr")
"""What those of a coroutine that takes streams have not."""


class Form(Enum):
    """What own code is, in the word of the screen."""

    COROUTINE = "coroutines"
    CALLBACK = "callbacks"
    THREAD = "threads"
    PROTOCOL = "protocol"
    BUFFERED = "buffered protocol"
    DATAGRAM = "datagram protocol"
    ASGI = "ASGI application"
    AIOHTTP = "aiohttp application"
    PROMISED = "what a coroutine makes"
    """It shows when the coroutine has been awaited."""


@dataclass(frozen=True, slots=True)
class OwnCode:
    """What serves: ``call`` takes what its form tells, or makes a protocol.

    Of what a thread can be called with, a socket, its peer's address and a server, it takes so many.
    """

    form: Form
    call: Callable[..., Any]
    takes: int = 0
    is_both: bool = False
    """Whether it is a protocol of datagrams, besides."""

    def serves(self, transport: str) -> bool:
        """Tell whether it serves over ``tcp``, or over ``udp``."""
        if transport == "tcp":
            return self.form is not Form.DATAGRAM
        return self.form is Form.DATAGRAM or self.is_both


def code_of(key: str, found: Any, arguments: Mapping[str, object]) -> OwnCode:
    """Return what own code serves as, which the field that names it does not decide, unless it is both.

    Raises ValueError with the reason.
    """
    if is_aiohttp(found):
        return OwnCode(Form.AIOHTTP, found)
    makes = _takes(found, 0, arguments) and not _takes(found, 2, arguments) if callable(found) else False
    if not isinstance(found, type) and inspect.iscoroutinefunction(found) and makes:
        return OwnCode(Form.PROMISED, partial(found, **arguments))
    takes_three = not arguments and _takes(found, 3, {}) and not _takes(found, 2, {})
    if key == ASGI or (_is_coroutine_function(found) and takes_three):
        return _application(found, arguments)
    return (handler_of if key == "handler" else protocol_of)(found, arguments)


def _application(found: Any, arguments: Mapping[str, object]) -> OwnCode:
    """Return an ASGI application, or what a function without other arguments makes of it."""
    if not callable(found):
        raise ValueError(f"is no ASGI application, but {a(found)}")
    if not isinstance(found, type) and not _takes(found, 3, {}) and _takes(found, 0, arguments):
        found = _made(found, arguments)
    if not callable(found) or not (isinstance(found, type) or _takes(found, 3, {})):
        raise ValueError(f"is no ASGI application, which takes (scope, receive, send), but {a(found)}")
    return OwnCode(Form.ASGI, found)


def is_aiohttp(found: Any) -> bool:
    """Tell whether it is an application or a server of aiohttp, whose module has been imported then."""
    web = sys.modules.get("aiohttp.web")
    return web is not None and isinstance(found, web.Application | web.Server)


def handler_of(found: Any, arguments: Mapping[str, object]) -> OwnCode:
    """Return what a handler, or what makes one, serves as; raises ValueError with the reason.

    What takes the arguments besides those of a handler is the handler. What takes nothing else, such as a
    class, is called once, and what it makes is the handler.
    """
    if not callable(found):
        raise ValueError(f"is neither a function nor a class, but {a(found)}")
    is_class = isinstance(found, type)
    if is_class and issubclass(found, asyncio.BaseProtocol):
        return protocol_of(found, arguments)
    if is_class and issubclass(found, socketserver.BaseRequestHandler):
        _check(found, arguments, 3, "(request, client_address, server)")
        return OwnCode(Form.THREAD, partial(found, **arguments), 3)
    if not is_class and _is_handler(found, arguments):
        return _handler(partial(found, **arguments) if arguments else found)
    if not _takes(found, 0, arguments):
        _check(found, arguments, 2, f"{_STREAMS}, or in a thread {_SOCKET}")
    made = _made(found, arguments)
    if is_aiohttp(made):
        return OwnCode(Form.AIOHTTP, made)
    if isinstance(made, asyncio.BaseProtocol):
        return OwnCode(_form_of(type(made)), _Again(partial(found, **arguments), made))
    if not callable(made) or isinstance(made, type) or not _is_handler(made, {}):
        raise ValueError(f"makes {a(made)}, which does not take {_STREAMS}, or in a thread {_SOCKET}")
    return _handler(made)


def protocol_of(found: Any, arguments: Mapping[str, object]) -> OwnCode:
    """Return what a protocol class, or what makes protocols, serves as; raises ValueError with the reason.

    A function is called once, to see whether it makes protocols, or what makes them in its turn.
    """
    if _is_coroutine_function(found):
        return handler_of(found, arguments)
    if not callable(found):
        raise ValueError(f"is neither a class nor a function, but {a(found)}")
    if isinstance(found, type):
        form = _form_of(found)
        _check(found, arguments, 0, "no arguments", "; --handler-arg gives them")
        call = partial(found, **arguments) if arguments else found
        return OwnCode(form, call, is_both=issubclass(found, asyncio.DatagramProtocol))
    _check(found, arguments, 0, "no arguments", "; --handler-arg gives them")
    made = _made(found, arguments)
    if isinstance(made, asyncio.BaseProtocol):
        return OwnCode(_form_of(type(made)), _Again(partial(found, **arguments), made))
    if is_aiohttp(made):
        return OwnCode(Form.AIOHTTP, made)
    if callable(made):
        return protocol_of(made, {})
    raise ValueError(f"makes {a(made)}, which is neither a protocol nor makes any")


def hook_of(found: Any) -> Callable[[], object]:
    """Return what is called before or after the server; raises ValueError where it cannot be."""
    if not callable(found):
        raise ValueError(f"is not a function, but {a(found)}")
    _check(found, {}, 0, "no arguments")
    if inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found):
        raise ValueError("is a generator: put @contextlib.asynccontextmanager above it, and async before it")
    return found  # type: ignore[no-any-return]


class _Again:
    """Makes protocols, the first of which was made to see what they are."""

    def __init__(self, make: Callable[[], object], first: object) -> None:
        self._make = make
        self._first = first

    def __call__(self) -> object:
        first, self._first = self._first, None
        return self._make() if first is None else first


def _form_of(protocol: type) -> Form:
    for base, form in (
        (asyncio.BufferedProtocol, Form.BUFFERED),
        (asyncio.Protocol, Form.PROTOCOL),
        (asyncio.DatagramProtocol, Form.DATAGRAM),
    ):
        if issubclass(protocol, base):
            return form
    raise ValueError("is not a class derived from asyncio.Protocol, BufferedProtocol or DatagramProtocol")


def _is_handler(found: Any, arguments: Mapping[str, object]) -> bool:
    return _takes(found, 2, arguments) or _takes(found, 1, arguments)


def _handler(call: Any) -> OwnCode:
    streams, sockets = _likeness(call)
    if _is_coroutine_function(call):
        if not _takes(call, 2, {}) or (_NEVER_STREAMS.search(sockets) and not streams):
            raise ValueError(f"must take {_STREAMS}, but takes {_shown(call)}")
        return OwnCode(Form.COROUTINE, call)
    if not _takes(call, 2, {}):
        if not sockets:
            raise ValueError(f"takes {_shown(call)}: {_LACKING}")
        return OwnCode(Form.THREAD, call, 1)
    if bool(streams) == bool(sockets):
        raise ValueError(f"takes {_shown(call)}, which may be either: {_CURE}")
    return OwnCode(Form.CALLBACK, call) if streams else OwnCode(Form.THREAD, call, 2)


def _likeness(call: Any) -> tuple[str, str]:
    """Return which names and types of the first two parameters are those of streams, and of sockets."""
    try:
        parameters = list(inspect.signature(call).parameters.values())[:2]
    except (TypeError, ValueError):
        return "", ""
    words = [parameter.name.lower() for parameter in parameters]
    words += [str(p.annotation).lower() for p in parameters if p.annotation is not p.empty]
    streams = [word for word in words if _OF_STREAMS.search(word)]
    sockets = [word for word in words if word not in streams and _OF_SOCKET.search(word)]
    return " ".join(streams), "" if streams else " ".join(sockets)


def _made(make: Any, arguments: Mapping[str, object]) -> Any:
    try:
        made = make(**arguments)
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise ValueError(f"raised {told(error)} when it was called") from None
    if inspect.iscoroutine(made):
        made.close()
    return made


def _takes(found: Any, count: int, arguments: Mapping[str, object]) -> bool:
    try:
        inspect.signature(found).bind(*[None] * count, **arguments)
    except TypeError:
        return False
    except ValueError:
        pass  # written in C: it shows when it is called
    return True


def _check(found: Any, arguments: Mapping[str, object], count: int, wanted: str, cure: str = "") -> None:
    """Raise ValueError where ``found`` does not take so many values and the arguments."""
    if _takes(found, count, arguments):
        return
    named = ", ".join(arguments)
    wanted = f"{wanted} and {named} (--handler-arg)" if named else wanted
    raise ValueError(f"must take {wanted}, but takes {_shown(found)}{'' if named else cure}")


def _shown(found: Any) -> str:
    return printable(str(inspect.signature(found)), 60)


def _is_coroutine_function(found: object) -> bool:
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(_call_of(found))


def _call_of(found: object) -> object:
    return getattr(type(found), "__call__", None)  # noqa: B004  # an object that can be awaited when called


def a(found: object) -> str:
    """Return what something is, with its article."""
    name = printable(type(found).__name__, 60)
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
