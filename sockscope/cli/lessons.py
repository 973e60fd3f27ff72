"""``sockscope lessons`` and ``sockscope lesson``: what is taught, and a lesson that is gone through."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sockscope.cli.aim import anew
from sockscope.cli.history import history_flags, history_of
from sockscope.cli.look import look_flags, looked_for
from sockscope.cli.terminal import need_terminal
from sockscope.errors import EXIT_OK, EXIT_USAGE
from sockscope.faces.printing import say, tell

if TYPE_CHECKING:
    from sockscope.lab.lessons.lesson import Lesson

F = TypeVar("F", bound=Callable[..., Any])

HELP = {"help_option_names": ["-h", "--help"]}


def directory_flag(command: F) -> F:
    """Add the flag that names one more directory of lessons (``directory``)."""
    return click.option(
        "--lessons", "directory", default="", metavar="DIR",
        help="Look for lessons in this directory, too (docs/lessons.md).",
    )(command)  # fmt: skip


@click.command(context_settings=HELP)
@directory_flag
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.pass_context
def lessons(ctx: click.Context, /, directory: str, as_json: bool) -> None:
    """List the lessons: what one sees in each, and how long it takes."""
    from sockscope.faces.lessons import list_report, list_text
    from sockscope.lab.lessons.shelf import read_lessons, shelf

    found, faults = read_lessons(shelf(directory))
    tell(json.dumps(list_report(found), indent=2) + "\n" if as_json else list_text(found))
    for fault in faults:
        say(str(fault))
    ctx.exit(EXIT_USAGE if faults else EXIT_OK)


@click.command(context_settings=HELP)
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Every lesson, with --check.")
@click.option("--check", is_flag=True, help="Run it without a screen; exit with 1 if an effect is not shown.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, with --check.")
@directory_flag
@history_flags
@look_flags
@click.pass_context
def lesson(
    ctx: click.Context,
    /,
    name: str | None,
    every: bool,
    check: bool,
    as_json: bool,
    directory: str,
    **params: Any,
) -> None:
    """Go through a lesson: predict, then see it happen on real sockets."""
    if every == (name is not None):
        raise click.UsageError("which lesson? Give its NAME, or --all --check; sockscope lessons lists them")
    from sockscope.faces.lessons import check_lessons
    from sockscope.lab.lessons.shelf import lesson_called

    if not check:
        if name is None or as_json:
            raise click.UsageError(f"{'--all' if every else '--json'} needs --check")
        ctx.exit(_taught(lesson_called(name, directory), params))
    chosen = all_lessons(directory) if name is None else [lesson_called(name, directory)]
    ctx.exit(check_lessons(chosen, as_json=as_json))


def _taught(lesson: Lesson, params: Mapping[str, Any]) -> int:
    """Show a lesson in the dashboard, and return the exit code."""
    need_terminal()
    from sockscope.faces.tui.run import run_dashboard
    from sockscope.lab.environment import environment
    from sockscope.lab.lessons.telling import Telling

    return run_dashboard(
        lesson.waiting, environment(), history_of(params), looked_for(params), anew, Telling(lesson)
    )


def all_lessons(directory: str) -> list[Lesson]:
    """Return every lesson; raise ConfigError where one is faulty."""
    from sockscope.lab.lessons.shelf import read_lessons, shelf

    found, faults = read_lessons(shelf(directory))
    if faults:
        raise faults[0]
    return found
