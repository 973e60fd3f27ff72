"""``sockscope history`` and ``sockscope diff``, and the flags by which other commands find the history."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sockscope.cli.faults import Faults
from sockscope.core.results.kind_names import KIND_NAMES
from sockscope.errors import EXIT_THRESHOLD, ConfigError, UnknownRunError
from sockscope.faces.printing import printable_lines, say, tell
from sockscope.store.files import read_file

if TYPE_CHECKING:
    from sockscope.core.results.comparison import Comparison, Side
    from sockscope.core.results.thresholds import ChangeThreshold
    from sockscope.store.history import History

F = TypeVar("F", bound=Callable[..., Any])

LISTED = 20
"""Results that are listed unless a number is given."""
MOST_LISTED = 1_000_000
"""The largest number that can be asked for."""
MOST_JSON_BYTES = 64 << 20
"""Largest file that diff reads: 64 MiB."""
_HELP = {"help_option_names": ["-h", "--help"]}
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
_FILE = click.option(
    "--history", "file", metavar="FILE",
    help="Read this file instead of the one in the user's data directory (SOCKSCOPE_HISTORY).",
)  # fmt: skip
_KIND = click.option("--kind", type=click.Choice(KIND_NAMES), help="Only results of this kind.")


def history_flags(command: F) -> F:
    """Add the flags that tell where a run is kept (``history``, ``no_history``)."""
    command = click.option(
        "--no-history", "no_history", is_flag=True, help="Do not keep the run in the history."
    )(command)
    return click.option(
        "--history", "history", metavar="FILE",
        help="Keep the run in this file instead of the one in the user's data directory "
        "(SOCKSCOPE_HISTORY).",
    )(command)  # fmt: skip


def history_of(params: Mapping[str, Any]) -> History | None:
    """Return the history that :func:`history_flags` name, or None when the run is not to be kept."""
    if params["no_history"]:
        if params["history"] is not None:
            raise click.UsageError("--history and --no-history cannot be combined")
        return None
    return _open(params["history"])


@click.group(context_settings=_HELP, invoke_without_command=True)
@_KIND
@click.option("-n", "--limit", type=click.IntRange(1, MOST_LISTED), metavar="N",
              help=f"Show at most N.  [default: {LISTED}; with --json all]")  # fmt: skip
@_JSON
@_FILE
@click.pass_context
def history(
    ctx: click.Context, /, kind: str | None, limit: int | None, as_json: bool, file: str | None
) -> None:
    """List past runs, the newest first; show or delete some."""
    if ctx.invoked_subcommand is not None:
        given = [name for name in ("kind", "limit", "as_json") if ctx.params[name]]
        if given:
            name = given[0].removeprefix("as_")
            raise click.UsageError(f"--{name} belongs after the command: {ctx.invoked_subcommand} --{name}")
        ctx.obj = file
        return
    kept = _open(file)
    from shutil import get_terminal_size

    from sockscope.faces.history import list_json, list_text

    if as_json:
        tell(list_json(kept.runs(limit, kind)) + "\n")
        return
    shown = limit or LISTED
    rows = kept.runs(shown + 1, kind)
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    tell(list_text(rows[:shown], width) if rows else f"no {kind or 'run'} is kept in {kept.path}\n")
    if len(rows) > shown:
        tell(f"... and older ones: -n {min(10 * shown, MOST_LISTED)}\n")


@history.command(context_settings=_HELP)
@click.argument("run", metavar="ID")
@_JSON
@_FILE
@click.pass_context
def show(ctx: click.Context, /, run: str, as_json: bool, file: str | None) -> None:
    """Show a run as it was reported when it ended.

    ID is a number of the list, last, or last-1 for the one before.
    """
    kept = _open(file or ctx.obj)
    stored = kept.load(kept.resolve(run))
    from sockscope.faces.history import stored_json, stored_text

    tell(stored_json(stored) + "\n" if as_json else stored_text(stored))


@history.command(context_settings=_HELP)
@click.argument("runs", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Delete every run (of a kind, with --kind).")
@_KIND
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@_FILE
@click.pass_context
def delete(
    ctx: click.Context,
    /,
    runs: tuple[str, ...],
    everything: bool,
    kind: str | None,
    yes: bool,
    file: str | None,
) -> None:
    """Delete runs for good."""
    if bool(runs) == everything or (kind and not everything):
        raise click.UsageError("name the runs, or give --all (with --kind KIND for those of one kind)")
    kept = _open(file or ctx.obj)
    ids = sorted({kept.resolve(run) for run in runs})
    what = f"every {kind or 'run'}" if everything else _counted(ids)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"there is no terminal to ask on; to delete {what}, add --yes")
        if not click.confirm(f"Delete {what} from {printable_lines(str(kept.path))}?"):
            tell("nothing was deleted\n")
            return
    gone = kept.delete_all(kind) if everything else kept.delete(ids)
    tell(f"{gone:,} {'run was' if gone == 1 else 'runs were'} deleted\n")


@click.command(context_settings=_HELP)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--fail-if",
    multiple=True,
    metavar="CONDITION",
    help="Exit with 3 if a figure has changed by this, such as 'requests_per_s<-5%'; may be repeated.",
)
@_JSON
@_FILE
@click.pass_context
def diff(
    ctx: click.Context, /, a: str, b: str, fail_if: tuple[str, ...], as_json: bool, file: str | None
) -> None:  # fmt: skip
    """Compare two runs, or two races: how the setups differ, and how each figure changed.

    A and B are numbers of the history, last, last-1 for the one before, or JSON files that run --json or race
    --json wrote.
    """
    from sockscope.core.results.comparison import compare, exceeded
    from sockscope.faces.history import comparison_json, comparison_text

    kept = _open(file)
    sides = [_side(kept, name) for name in (a, b)]
    try:
        comparison = compare(*sides)
    except ValueError as error:
        raise click.UsageError(f"{sides[0].name} and {sides[1].name} cannot be compared: {error}") from None
    thresholds = _thresholds(fail_if, comparison)
    misses = [why for threshold in thresholds for why in exceeded(threshold, comparison)]
    tell(comparison_json(comparison, misses) + "\n" if as_json else comparison_text(comparison))
    for miss in misses:
        say(f"--fail-if {miss}")
    ctx.exit(EXIT_THRESHOLD if misses else 0)


def _open(file: str | None) -> History:
    """Return the history of a flag, of the environment, or the user's own."""
    if file == "":
        raise ConfigError.of("--history", "", "is empty")
    from pathlib import Path

    from sockscope.store.history import History, default_path

    return History(Path(file) if file else default_path())


def _side(kept: History, name: str) -> Side:
    """Return a run of the history or of a file; raises SockscopeError when there is none."""
    from sockscope.core.results.comparison import Side

    if os.path.isfile(name) and not name.isdigit():
        return _side_of_file(name)
    try:
        stored = kept.load(kept.resolve(name))
    except UnknownRunError as error:
        if os.path.exists(name):
            return _side_of_file(name)
        if not name.isdigit() and not name.startswith("last"):
            raise UnknownRunError(
                name, "is neither a file nor a run of the history (12, last, last-1)"
            ) from error
        raise
    return Side(f"run {stored.row.id}", stored.report, stored.row.kind, stored.row.cut_short)


def _side_of_file(name: str) -> Side:
    from sockscope.core.results.comparison import Side
    from sockscope.core.results.kinds import kind_of
    from sockscope.faces.history import read_object

    try:
        report, cut_short = read_object(read_file(name, MOST_JSON_BYTES))
        return Side(name, report, kind_of(report).name, cut_short)
    except ValueError as error:
        raise ConfigError.of("file", name, str(error)) from None


def _thresholds(texts: tuple[str, ...], comparison: Comparison) -> list[ChangeThreshold]:
    from sockscope.core.results.comparison import names_of
    from sockscope.core.results.thresholds import ChangeThreshold

    faults, names = Faults(), names_of(comparison)
    found = faults.read("--fail-if", texts, lambda text: ChangeThreshold.parse(text, names))
    faults.check()
    return found


def _counted(ids: list[int]) -> str:
    return f"run {ids[0]}" if len(ids) == 1 else f"{len(ids):,} runs"
