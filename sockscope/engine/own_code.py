"""The user's own code: found by ``module:name``, and checked before it serves."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.wire.octets import printable
from sockscope.engine.own_errors import here, is_interrupt, is_users, message_of, place_of, told
from sockscope.errors import ConfigError

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, object]]
"""``async def handle(reader, writer)``, as asyncio.start_server takes it."""
Factory = Callable[[], object]
"""An asyncio.Protocol class, or a function that makes one, as loop.create_server takes it."""

_imported: dict[str, tuple[int, int] | None] = {}
"""The user's modules that were imported for a server, with what tells whether their files were edited."""
_STARTS_A_LOOP = re.compile("event loop.*running|running event loop", re.IGNORECASE)
"""How asyncio and uvloop refuse to run a loop in a loop."""


def has_run_here() -> bool:
    """Tell whether code of the user's has been imported into this process."""
    return bool(_imported)


def look_for(experiment: Experiment) -> None:
    """Raise ConfigError when the module of the user's own server is not there; nothing is imported.

    What is in the module shows when it is imported, where the server runs.
    """
    key, reference = _named(experiment)
    if not reference:
        return
    _see_current_directory()
    top = _module_of(reference).partition(".")[0]
    try:
        found = top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise ConfigError.of(key, reference, _nowhere(top))


def load_handler(reference: str) -> Handle:
    """Import the coroutine function that ``reference`` names; raise ConfigError when it will not do."""
    handle = _load("handler", reference)
    if isinstance(handle, type) and issubclass(handle, asyncio.BaseProtocol):
        raise ConfigError.of("handler", reference, "is a protocol class: --protocol takes it")
    if not (inspect.iscoroutinefunction(handle) or inspect.iscoroutinefunction(_call_of(handle))):
        raise ConfigError.of("handler", reference, "is not a function made by async def")
    _check_signature("handler", reference, handle, 2, "(reader, writer)")
    return handle  # type: ignore[no-any-return]


def load_protocol(reference: str) -> Factory:
    """Import the class or factory that ``reference`` names; raise ConfigError when it will not do.

    What a factory makes is seen only when it makes it, for each connection.
    """
    factory = _load("protocol", reference)
    if isinstance(factory, type) and not issubclass(factory, asyncio.Protocol):
        raise ConfigError.of("protocol", reference, "is not a class derived from asyncio.Protocol")
    if inspect.iscoroutinefunction(factory):
        raise ConfigError.of("protocol", reference, "is made by async def: --handler takes it")
    if not callable(factory):
        raise ConfigError.of("protocol", reference, f"is no class or function but {_a(factory)}")
    _check_signature("protocol", reference, factory, 0, "no arguments")
    return factory  # type: ignore[no-any-return]


def reload(experiment: Experiment) -> str:
    """Import the user's own server anew if it was edited; return what that means, or nothing.

    Raises ConfigError when it will not do any more; what was imported before stays then. Where the server
    runs in a child process only its syntax is looked at here, for the child imports it by itself.
    """
    key, reference = _named(experiment)
    if not reference:
        return ""
    if experiment.tuning.layout != "loop":
        _check_syntax(key, reference)
        return f"the new run imports {_module_of(reference)} anew"
    edited = [name for name, stamp in _imported.items() if _stamp(name) != stamp]
    if not edited:
        return ""
    stamps = dict(_imported)
    before = {name: sys.modules.pop(name) for name in _imported if name in sys.modules}
    try:
        (load_handler if key == "handler" else load_protocol)(reference)
    except BaseException:
        for name in _imported:
            sys.modules.pop(name, None)
        sys.modules.update(before)
        # Those of the modules that serve on: what was refused still counts as edited.
        _imported.clear()
        _imported.update(stamps)
        raise
    return f"{reference} was edited: the new run serves with it as it is now"


def _check_syntax(key: str, reference: str) -> None:
    name = _module_of(reference)
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            with open(spec.origin, "rb") as file:
                compile(file.read(), spec.origin, "exec")
    except Exception as error:  # noqa: BLE001  # finding it may import packages of the user's
        raise ConfigError.of(key, reference, _import_failed(name, error)) from None


def _stamp(name: str) -> tuple[int, int] | None:
    """Return what tells whether the file of a module was edited; None where there is none."""
    path = getattr(sys.modules.get(name), "__file__", None)
    try:
        found = os.stat(path) if path else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if found is not None else None


def _named(experiment: Experiment) -> tuple[str, str]:
    return ("handler" if experiment.handler else "protocol"), experiment.own_server


def _module_of(reference: str) -> str:
    return reference.partition(":")[0]


def _load(key: str, reference: str) -> Any:
    _see_current_directory()
    module_name, _, path = reference.partition(":")
    known, writes_none = set(sys.modules), sys.dont_write_bytecode
    # What is compiled is told by seconds to be of this very source, too coarse for who edits and tries.
    sys.dont_write_bytecode = True
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise ConfigError.of(key, reference, _nowhere(error.name)) from None
        raise ConfigError.of(key, reference, _import_failed(module_name, error)) from None
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise ConfigError.of(key, reference, _import_failed(module_name, error)) from None
    finally:
        sys.dont_write_bytecode = writes_none
        for new in set(sys.modules) - known:
            if is_users(getattr(sys.modules[new], "__file__", "") or ""):
                _imported[new] = _stamp(new)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = printable(getattr(found, "__file__", None) or module_name)
            raise ConfigError.of(key, reference, f"there is no {name} in {where}") from None
    return found


def _see_current_directory() -> None:
    """Let modules be found as ``python -m`` does: in the current directory first."""
    directory = here()
    if directory and directory not in sys.path and "" not in sys.path:
        sys.path.insert(0, directory)
    # A module may be younger than what the import system remembers of its directory.
    importlib.invalidate_caches()


def _nowhere(module_name: str) -> str:
    return f"there is no module {module_name}, neither in {printable(here())} nor installed"


def _import_failed(module_name: str, error: BaseException) -> str:
    if isinstance(error, RuntimeError) and _STARTS_A_LOOP.search(message_of(error)):
        # What was to run on that loop never will, which need not be complained about.
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            traceback.clear_frames(error.__traceback__)
        return (
            f"importing {module_name} starts an event loop, at {place_of(error) or module_name}; "
            "put that line under: if __name__ == '__main__':"
        )
    return f"importing {module_name} raised {told(error)}"


def _call_of(found: object) -> object:
    return getattr(type(found), "__call__", None)  # noqa: B004  # an object that can be awaited when called


def _check_signature(key: str, reference: str, found: Any, count: int, wanted: str) -> None:
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return  # written in C: it shows when it is called
    try:
        signature.bind(*[None] * count)
    except TypeError:
        shown = printable(str(signature), 60)
        raise ConfigError.of(key, reference, f"must take {wanted}, but takes {shown}") from None


def _a(found: object) -> str:
    name = type(found).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
