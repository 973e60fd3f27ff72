"""The terminal that the dashboard needs."""

from __future__ import annotations

import sys

import click

from sockscope.errors import EXIT_USAGE
from sockscope.faces.printing import say, tell


def need_terminal() -> None:
    """Say what is missing and exit, unless the dashboard has a terminal."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        say("the dashboard needs a terminal; without one, use: sockscope run")
        click.get_current_context().exit(EXIT_USAGE)
    if not sys.stderr.isatty():
        # Told on stdout, as nobody may look into the file.
        tell(
            "sockscope: the dashboard is drawn on standard error, which must be a terminal: "
            "do not redirect it (2>)\n"
        )
        click.get_current_context().exit(EXIT_USAGE)
