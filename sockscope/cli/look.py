"""The flags that tell how the dashboard looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sockscope.cli.spec import ENVIRONMENT_PREFIX
from sockscope.faces.characters import shows_only_ascii

if TYPE_CHECKING:
    from sockscope.faces.tui.look import LookFlags

F = TypeVar("F", bound=Callable[..., Any])

_THEME = ENVIRONMENT_PREFIX + "THEME"


def look_flags(command: F) -> F:
    """Add the flags that tell how the dashboard looks (``theme``, ``ascii``)."""
    command = click.option(
        "--ascii/--no-ascii", "ascii", default=None,
        help="Draw the dashboard in ASCII only; the default in the C locale.",
    )(command)  # fmt: skip
    return click.option(
        "--theme", "theme", metavar="NAME",
        help="Colours of the dashboard: dark, light, or a theme of Textual's; kept for the next time "
        f"({_THEME}).",
    )(command)  # fmt: skip


def looked_for(params: Mapping[str, Any]) -> LookFlags:
    """Return what :func:`look_flags`, the environment and the terminal say."""
    from sockscope.faces.tui.look import LookFlags
    from sockscope.store.preferences import preferences_path

    named = params["theme"] is not None
    plain = params["ascii"]
    return LookFlags(
        theme=params["theme"] if named else os.environ.get(_THEME, ""),
        name="--theme" if named else _THEME,
        ascii=shows_only_ascii(os.environ, sys.stdout.encoding) if plain is None else plain,
        path=preferences_path(),
    )
