"""What a thread is doing, in the words of the source: the call that its innermost own line is in."""

from __future__ import annotations

import ast
import linecache
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

from sockscope.core.wire.octets import printable
from sockscope.engine.own_errors import is_of_python, is_users, shown_path
from sockscope.engine.servers.faults.requests import RequestFaults, injected_block
from sockscope.engine.standstill import LoopStandstill

MOST_DEEP = 400
"""Frames of a stack that are looked at, the innermost; more belong to a recursion without end."""
_MOST_CALL, _MOST_SOURCE = 60, 2_000
_OWN = str(Path(__file__).parent) + os.sep
_ON_PURPOSE: Mapping[CodeType, str] = {
    LoopStandstill.hold.__code__: "the stall",
    injected_block.__code__: "the fault 'block'",
    RequestFaults.strike.__code__: "the fault 'cpu'",
}
"""What holds up a loop because somebody has asked for it, by its name."""
_TELLING = (ast.BinOp, ast.Subscript, ast.Compare, ast.Attribute)
"""Expressions other than calls that may take long, and are named by their text."""


class At(NamedTuple):
    """What was called, and where: the file as people find it, and the line."""

    call: str
    file: str
    line: int


class Spot(NamedTuple):
    """Where a frame was at one moment: an instruction of its code, and the line of that."""

    code: CodeType
    instruction: int
    line: int


def spot(frame: FrameType) -> Spot:
    """Return where a frame is now; it will have gone on when somebody asks what that is called."""
    return Spot(frame.f_code, frame.f_lasti, frame.f_lineno or 0)


def frames_of(frame: FrameType | None) -> list[FrameType]:
    """Return the frames of a stack, the innermost first, up to where they can be followed.

    The stack is that of a thread that goes on meanwhile: CPython 3.11 has been seen to give something else
    for the frame below one that is left just then.
    """
    found: list[FrameType] = []
    while isinstance(frame, FrameType) and len(found) < MOST_DEEP:
        found.append(frame)
        frame = frame.f_back
    return found


def telling(frames: Sequence[FrameType]) -> FrameType | None:
    """Return the frame that tells a person most: the innermost of the user's code, or else not of Python's.

    ``frames`` begin with the innermost.
    """
    on_purpose = next((frame for frame in frames if frame.f_code in _ON_PURPOSE), None)
    if on_purpose is not None:
        return on_purpose
    files = [(f, f.f_code.co_filename) for f in frames if not f.f_code.co_filename.startswith(_OWN)]
    users = (frame for frame, file in files if is_users(file))
    others = (frame for frame, file in files if not is_of_python(file))
    return next(users, None) or next(others, None) or next((frame for frame, _ in files), None)


@lru_cache(maxsize=512)
def at(where: Spot) -> At:
    """Return what is called there, or else the name of the function."""
    if where.code in _ON_PURPOSE:
        return At(_ON_PURPOSE[where.code], "", 0)
    call = _call_of(where) or _short(f"{where.code.co_qualname}()")
    return At(call, shown_path(where.code.co_filename), where.line)


def _call_of(where: Spot) -> str:
    """Return the expression that is called, or evaluated: ``time.sleep``; empty if that is not known."""
    try:
        node = ast.parse(_source_of(where), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    if isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        # A file that was edited since has another call there, perhaps.
        known = name in _names_of(where.code) or not name.isidentifier()
        return _short(_name_of(node.func)) if known else ""
    return _short(ast.unparse(node)) if isinstance(node, _TELLING) else ""


def _name_of(node: ast.expr) -> str:
    """Return a callable as it is written, but without arguments of calls in it."""
    if isinstance(node, ast.Call):
        return f"{_name_of(node.func)}(…)"
    return f"{_name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ast.unparse(node)


def _names_of(code: CodeType) -> set[str]:
    return {*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars}


def _source_of(where: Spot) -> str:
    """Return the text of the expression that an instruction belongs to (PEP 657); empty without it."""
    positions = where.code.co_positions()
    first, last, begin, end = next(islice(positions, max(where.instruction, 0) // 2, None), (None,) * 4)
    if first is None or last is None or begin is None or end is None:
        return ""
    linecache.checkcache(where.code.co_filename)
    text = linecache.getlines(where.code.co_filename)[first - 1 : last]
    lines = [line.encode() for line in text]
    if len(lines) <= last - first:
        return ""
    lines[-1] = lines[-1][:end]  # before the first, which may be the same
    lines[0] = lines[0][begin:]
    source = b"".join(lines)
    return f"({source.decode(errors='replace')})" if len(source) <= _MOST_SOURCE else ""


def _short(text: str) -> str:
    return printable(text, _MOST_CALL)
