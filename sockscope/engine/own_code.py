"""The user's own code: found by ``module:name``, and checked before it serves."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.reference import parse_reference
from sockscope.core.wire.octets import printable
from sockscope.engine.own_errors import (
    here,
    is_interrupt,
    is_users,
    message_of,
    place_of,
    revisions,
    shown_path,
    told,
)
from sockscope.engine.own_forks import end_forks_that_return
from sockscope.engine.own_forms import ASGI, NEEDS_UVICORN, OwnCode, code_of, hook_of
from sockscope.engine.own_revisions import files_of, look_for_revision
from sockscope.errors import ConfigError

HOOKS = ("startup", "shutdown")
"""The keys of what is called before and after the server."""
MOST_LINES = 20_000
"""Lines of a file of which an edit is counted."""
MOST_NAMED = 3
"""Edited files that are named."""
_STARTS_A_LOOP = re.compile("event loop.*running|running event loop", re.IGNORECASE)
"""How asyncio and uvloop refuse to run a loop in a loop."""


class _Reading(NamedTuple):
    """A module's file as it was when it was read last; ``stamp`` tells whether it was edited since."""

    stamp: tuple[int, int] | None
    lines: tuple[str, ...]

    def differs_from(self, other: _Reading) -> bool:
        """Tell whether the file is another now; one that was only touched is not."""
        return self.lines != other.lines if self.lines else self.stamp != other.stamp


_imported: dict[str, _Reading] = {}
"""The user's modules that were imported for a server."""
_others: set[str] = set()
"""The modules that were there before the first of them."""
COARSE_NS = 20_000_000
"""How much the clock of files may be behind."""
_loaded_ns = 0
"""When one was imported last, on the clock of files."""


def has_run_here() -> bool:
    """Tell whether code of the user's has been imported into this process."""
    return bool(_imported)


def look_for(experiment: Experiment) -> None:
    """Raise ConfigError when the module of the user's own server is not there; nothing is imported.

    What is in the module shows when it is imported, where the server runs.
    """
    key, reference = experiment.own_key, experiment.own_server
    if not reference:
        return
    if key == ASGI and importlib.util.find_spec("uvicorn") is None:
        raise ConfigError.of(key, reference, NEEDS_UVICORN)
    wanted = parse_reference(reference)
    if wanted.revision:
        look_for_revision(key, reference)
        return
    _see_current_directory()
    for one in (key, *HOOKS):
        if experiment.value(one):
            _look_for(one, str(experiment.value(one)))


def _look_for(key: str, reference: str) -> None:
    top = parse_reference(reference).module.partition(".")[0]
    try:
        found = top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise ConfigError.of(key, reference, _nowhere(top))


def load(experiment: Experiment) -> OwnCode:
    """Import what the experiment is to be served by, from its checkout if that is of a revision.

    Raises ConfigError when it will not do.
    """
    key, reference = experiment.own_key, experiment.own_server
    found = _load(key, reference, experiment)
    try:
        return code_of(key, found, experiment.own_arguments)
    except ValueError as error:
        raise ConfigError.of(key, reference, str(error)) from None


def load_hook(experiment: Experiment, key: str) -> Callable[[], object] | None:
    """Import what is called before the server listens (``startup``) or after it (``shutdown``), if anything.

    Raises ConfigError when it cannot be called.
    """
    reference = str(experiment.value(key))
    if not reference:
        return None
    found = _load(key, reference, experiment)
    try:
        return hook_of(found)
    except ValueError as error:
        raise ConfigError.of(key, reference, str(error)) from None


def reload(experiment: Experiment) -> str:
    """Import the user's own server anew if it was edited; return what that means, or nothing.

    Raises ConfigError when it will not do any more; what was imported before stays then. Where the server
    runs in a child process only its syntax is looked at here, for the child imports it by itself.
    """
    key, reference = experiment.own_key, experiment.own_server
    if not reference or parse_reference(reference).revision:
        return ""
    if experiment.tuning.layout != "loop":
        _check_syntax(key, reference)
        return f"the new run imports {parse_reference(reference).module} anew"
    with imported_anew(experiment) as edited:
        return f"{reference} was edited: the new run serves with it as it is now" if edited else ""


@contextlib.contextmanager
def imported_anew(experiment: Experiment) -> Iterator[str]:
    """Import the user's modules anew if a file of theirs was edited, and give what was edited, or nothing.

    Modules that they import are among them, whenever that was. Raises ConfigError when they will not do any
    more; then, and when the block raises, what was imported before stays, and still counts as edited.
    """
    _note_late_imports()
    there = {name: was for name, was in _imported.items() if name in sys.modules}
    edited = {name: now for name, was in there.items() if (now := _read(name)).differs_from(was)}
    if not edited or experiment.checkout:
        yield ""
        return
    told_of = _edits(edited)
    readings = dict(_imported)
    before = {name: sys.modules.pop(name) for name in _imported if name in sys.modules}
    try:
        load(experiment)
        for key in HOOKS:
            load_hook(experiment, key)
        yield told_of
    except BaseException:
        for name in _imported:
            sys.modules.pop(name, None)
        sys.modules.update(before)
        # Those of the modules that serve on: what was refused still counts as edited.
        _imported.clear()
        _imported.update(readings)
        raise


def _edits(edited: dict[str, _Reading]) -> str:
    """Return in words what was edited: ``mine.py +3 −1, helpers.py +1 −0``."""
    words = [_edit(name, _imported[name], now) for name, now in edited.items()]
    more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    return ", ".join(words[:MOST_NAMED]) + more


def _edit(name: str, was: _Reading, now: _Reading) -> str:
    path = shown_path(_file_of(name) or name)
    if not was.lines or max(len(was.lines), len(now.lines)) > MOST_LINES:
        return path
    lines = list(difflib.unified_diff(was.lines, now.lines, n=0, lineterm=""))[2:]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return f"{path} +{added} −{removed}"


def _check_syntax(key: str, reference: str) -> None:
    name = parse_reference(reference).module
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            with open(spec.origin, "rb") as file:
                compile(file.read(), spec.origin, "exec")
    except Exception as error:  # noqa: BLE001  # finding it may import packages of the user's
        raise ConfigError.of(key, reference, _import_failed(name, error)) from None


def _note_imports(names: Iterable[str]) -> None:
    """Remember those of the modules that are the user's as their files are now."""
    for name in names:
        if is_users(_file_of(name)):
            _imported[name] = _read(name)


def _note_late_imports() -> None:
    """Remember modules beside the user's that these have imported since; one that is younger was edited."""
    folders = tuple({os.path.join(os.path.dirname(_file_of(name)), "") for name in _imported})
    for name in sys.modules.keys() - _imported.keys() - _others:
        if _file_of(name).startswith(folders) and is_users(_file_of(name)):
            now = _read(name)
            is_younger = now.stamp is not None and now.stamp[0] > _loaded_ns - COARSE_NS
            _imported[name] = _Reading(None, ()) if is_younger else now


def _file_of(name: str) -> str:
    return getattr(sys.modules.get(name), "__file__", None) or ""


def _read(name: str) -> _Reading:
    path = _file_of(name)
    try:
        if not path:
            return _Reading(None, ())
        found = os.stat(path)
        with open(path, encoding="utf-8", errors="replace") as file:
            return _Reading((found.st_mtime_ns, found.st_size), tuple(file))
    except OSError:
        return _Reading(None, ())


def _load(key: str, reference: str, experiment: Experiment) -> Any:
    end_forks_that_return()
    module_name, path, _ = parse_reference(reference)
    global _loaded_ns
    known, writes_none = set(sys.modules), sys.dont_write_bytecode
    if not _imported:
        _others.update(known)
    _loaded_ns = time.time_ns()
    # What is compiled is told by seconds to be of this very source, too coarse for who edits and tries.
    sys.dont_write_bytecode = True
    try:
        with _path_to(experiment.checkout, experiment.own_server):
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
        _note_imports(set(sys.modules) - known)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = shown_path(getattr(found, "__file__", None) or module_name)
            raise ConfigError.of(key, reference, f"there is no {name} in {where}") from None
    return found


@contextlib.contextmanager
def _path_to(checkout: str, reference: str) -> Iterator[None]:
    """Let modules be found in the files of a revision, and not in what has become of them; without one in the
    current directory."""
    if not checkout:
        _see_current_directory()
        yield
        return
    files, wanted = files_of(checkout), parse_reference(reference)
    revisions[files] = wanted.revision
    for name in [name for name in _imported if not _file_of(name).startswith(files)]:
        sys.modules.pop(name, None)
    top = wanted.module.partition(".")[0]
    before = [entry for entry in sys.path if entry != files]
    others = (entry for entry in before if entry not in ("", here()) and not _has_module(entry, top))
    sys.path[:] = [files, *others]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = [files, *before]


def _has_module(folder: str, top: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in (f"{top}.py", top))


def _see_current_directory() -> None:
    """Let modules be found as ``python -m`` does: in the current directory first."""
    directory = here()
    if directory and directory not in sys.path and "" not in sys.path:
        sys.path.insert(0, directory)
    # A module may be younger than what the import system remembers of its directory.
    importlib.invalidate_caches()


def _nowhere(module_name: str) -> str:
    if module_name.endswith(".py"):
        return f"a module is named without .py, such as {printable(module_name.removesuffix('.py'))}:handle"
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
