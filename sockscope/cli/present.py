"""``sockscope present`` and ``sockscope demo``: lessons for a room, by hand or by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from sockscope.cli.aim import anew
from sockscope.cli.history import history_flags, history_of
from sockscope.cli.lessons import HELP, all_lessons, directory_flag
from sockscope.cli.look import look_flags, looked_for
from sockscope.cli.terminal import need_terminal

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment
    from sockscope.lab.lessons.showing import Showing

LONGEST_MIN = 600


@click.command(context_settings=HELP)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every lesson, one after the other.")
@click.option("--auto", is_flag=True, help="Go on by itself when there was time to read; A does so later.")
@click.option("--minutes", type=click.FloatRange(0, LONGEST_MIN, min_open=True), metavar="N",
              help="How long it is to take: the clock shows how much has passed.  "
              "[default: as long as it takes by itself]")  # fmt: skip
@directory_flag
@history_flags
@look_flags
@click.pass_context
def present(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    every: bool,
    auto: bool,
    minutes: float | None,
    directory: str,
    **params: Any,
) -> None:
    """Show lessons to a room: captions, votes, the keys that are pressed, and the time.

    Enter goes on and b back, as PageDown and PageUp do, which remote controls send. D changes between light
    and dark colours.
    """
    if every == bool(names):
        raise click.UsageError("what is shown? Give NAMEs of lessons, or --all; sockscope lessons lists them")
    from sockscope.lab.lessons.shelf import lesson_called
    from sockscope.lab.lessons.showing import Showing

    lessons = all_lessons(directory) if every else [lesson_called(name, directory) for name in names]
    showing = Showing(lessons, auto=auto, planned_s=60 * (minutes or 0))
    ctx.exit(_shown(showing, lessons[0].waiting, params))


@click.command(context_settings=HELP)
@click.option("--check", is_flag=True, help="Run it without a screen; exit with 1 if an effect is not shown.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, with --check.")
@history_flags
@look_flags
@click.pass_context
def demo(ctx: click.Context, /, check: bool, as_json: bool, **params: Any) -> None:
    """Watch five minutes of sockets, and take over with any key.

    Steps of lessons play by themselves, each proven by its figures; the run goes on under your hands.
    """
    if as_json and not check:
        raise click.UsageError("--json needs --check")
    from sockscope.core.config.experiment import Experiment
    from sockscope.lab.lessons.programme import DEMO, read_programme
    from sockscope.lab.lessons.shelf import own_shelf
    from sockscope.lab.lessons.showing import Showing

    lessons = read_programme(DEMO, own_shelf())
    if check:
        from sockscope.faces.lessons import check_lessons

        ctx.exit(check_lessons(lessons, as_json=as_json))
    ctx.exit(_shown(Showing(lessons, auto=True, hands_over=True), Experiment(), params))


def _shown(showing: Showing, experiment: Experiment, params: Mapping[str, Any]) -> int:
    """Show it in the dashboard, which begins with ``experiment``, and return the exit code."""
    need_terminal()
    from sockscope.faces.tui.run import run_dashboard
    from sockscope.lab.environment import environment

    return run_dashboard(
        experiment, environment(), history_of(params), looked_for(params), anew, showing.telling()
    )
