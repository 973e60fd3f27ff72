"""The lines of real code that run in a step, read from their file without importing it."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sockscope.store.files import read_text

MOST_LINES = 30
"""The most that an excerpt shows: what one reads while something happens."""
MOST_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a file from line ``first`` on; ``marked`` are indices of the decisive ones."""

    title: str
    first: int
    lines: tuple[str, ...]
    marked: tuple[int, ...]


def excerpt_of(reference: str, mark: str, beside: Path) -> Excerpt:
    """Return the lines of ``module:function`` or ``module:Class.method``, those with ``mark`` in them marked.

    A module without a dot is a file of the folder ``code`` in the directory ``beside``. Docstrings are left
    out at the beginning. Raises ValueError with the reason.
    """
    module, colon, name = reference.partition(":")
    if not colon or not module or not name:
        raise ValueError("is not module:function, such as sockscope.engine.servers.threads.blocking:converse")
    path = file_of(module, beside)
    text = read_text(str(path), MOST_FILE_BYTES)
    try:
        node = _found(ast.parse(text).body, name.split("."))
    except SyntaxError as error:
        raise ValueError(f"cannot be read: line {error.lineno} of {path.name} is not Python") from None
    if node is None:
        raise ValueError(f"names {name}, which is not in {path.name}")
    first, lines = _body(node, text.splitlines())
    if len(lines) > MOST_LINES:
        raise ValueError(f"has {len(lines)} lines; at most {MOST_LINES} are shown")
    marked = tuple(index for index, line in enumerate(lines) if mark and mark in line)
    return Excerpt(f"{path.name}:{first}", first, tuple(lines), marked)


def file_of(module: str, beside: Path) -> Path:
    """Return the file of a module; raise ValueError where there is none."""
    if "." not in module:
        path = beside / "code" / f"{module}.py"
        if not module.isidentifier() or not path.is_file():
            raise ValueError(f"names {module}, which is no file code/{module}.py beside the lesson")
        return path
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ValueError(f"names {module}, which is no module here")
    return Path(spec.origin)


_Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _found(body: list[ast.stmt], names: list[str]) -> _Node | None:
    for node in body:
        if isinstance(node, _Node) and node.name == names[0]:
            return node if len(names) == 1 else _found(node.body, names[1:])
    return None


def _body(node: _Node, lines: list[str]) -> tuple[int, list[str]]:
    """Return the number of the first line and the lines, moved to the left, without docstrings."""
    left_out = {
        number for inner in ast.walk(node) if isinstance(inner, _Node) for number in _docstring(inner)
    }
    numbers = [n for n in range(node.lineno, (node.end_lineno or node.lineno) + 1) if n not in left_out]
    kept = [lines[number - 1] for number in numbers]
    kept = [
        line for before, line in zip(["x:", *kept], kept, strict=False) if line.strip() or before[-1:] != ":"
    ]
    indent = min((len(line) - len(line.lstrip()) for line in kept if line.strip()), default=0)
    return node.lineno, [line[indent:].rstrip() for line in kept]


def _docstring(node: _Node) -> Iterator[int]:
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1:
        yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)
