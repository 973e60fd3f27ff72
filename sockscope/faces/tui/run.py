"""From an experiment to a dashboard and back to the shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from sockscope.core.config.experiment import Experiment
from sockscope.core.results.run_result import report
from sockscope.core.run.snapshot import RunState
from sockscope.engine.engine import Engine
from sockscope.engine.limits import check_descriptors, raise_descriptor_limit
from sockscope.engine.loops import calm_collector
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from sockscope.faces.keeping import keep, kept_text
from sockscope.faces.printing import say, tell
from sockscope.faces.summary import report_text, title_of
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.look import Look, LookFlags, keep_look, look_of
from sockscope.faces.tui.screens.conversation import Reader
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.terminal import TerminalEnding, adapt_textual
from sockscope.lab.lessons.telling import Telling
from sockscope.store.history import History

WELCOME = "New here? L has lessons: predict, then see it happen. ? has every key."


def run_dashboard(
    experiment: Experiment,
    environment: dict[str, object] | None = None,
    history: History | None = None,
    flags: LookFlags = LookFlags(),  # noqa: B008
    read: Reader = lambda experiment, _: experiment,
    telling: Telling | None = None,
) -> int:
    """Run the dashboard until it is left, and keep its runs in ``history``; return the exit code.

    ``read`` makes an experiment of what is typed there, ``telling`` is a lesson to begin with.
    Raises SockscopeError before it starts.
    """
    adapt_textual()
    with TerminalEnding(bool(experiment.own_server)) as ending:
        return _run_until_left(experiment, environment, history, flags, read, ending, telling)


def _run_until_left(
    experiment: Experiment,
    environment: dict[str, object] | None,
    history: History | None,
    flags: LookFlags,
    read: Reader,
    ending: TerminalEnding,
    telling: Telling | None,
) -> int:
    for_room = telling is not None and telling.showing is not None
    look = replace(look_of(flags, os.environ), for_room=for_room)
    notice = ""
    before: Experiment | None = None
    while True:
        raise_descriptor_limit()
        check_descriptors(experiment, experiment.tuning)
        engine = Engine(experiment)
        session = Session(engine, environment)
        app = SockscopeApp(
            session,
            history,
            read,
            on_started=partial(_started, session, look, notice or _welcome(history, telling)),
            look=look,
            ending=ending,
            telling=telling,
        )
        began_at = datetime.now(UTC)
        waits = telling is not None and experiment == telling.lesson.waiting
        code = ending.run(experiment.loop, _shown(app, engine, ending))
        telling = app.telling
        if app.start_error is not None:
            if before is None:
                raise app.start_error
            if telling is not None:
                telling.has_no_run()
            experiment, before, notice = before, None, f"no new run, it goes on as before: {app.start_error}"
            continue
        if code == EXIT_INTERRUPTED and session.shown is None:  # it was left before it began
            return code
        summary = "" if waits else _keep(session, history, began_at)
        complaint = keep_look(flags, look, app.theme)
        look = Look(app.theme, look.ascii, for_room=app.dashboard.is_for_room)
        if app.restart is not None:
            experiment, before, notice = app.restart, experiment, app.notice or complaint
            continue
        if complaint:
            say(complaint)
        tell(summary)
        if session.source.error:
            say(session.source.error)
        # A fault of the app itself sets its return code, whatever it was told to leave with.
        failed = app.return_code or session.source.state is RunState.FAILED
        return code or (EXIT_FAILED if failed else EXIT_OK)


async def _shown(app: SockscopeApp, engine: Engine, ending: TerminalEnding) -> int | None:
    """Run the app; when the user's own code cancels its tasks the figures are taken all the same."""
    code = None
    ending.bound(lambda: engine.latest_end_s)
    with contextlib.suppress(asyncio.CancelledError):
        code = await app.run_async()
    if app.session.last_snapshot is None and app.start_error is None:
        with contextlib.suppress(asyncio.CancelledError):
            await app.session.finish()
    return code


def _welcome(history: History | None, telling: Telling | None) -> str:
    """Return what somebody is told who has kept no run yet."""
    is_new = telling is None and history is not None and not history.path.exists()
    return WELCOME if is_new else ""


def _started(session: Session, look: Look, notice: str) -> None:
    calm_collector()
    if notice:
        session.say(notice)
    if look.complaint:
        session.say(look.complaint, "warning")


def _keep(session: Session, history: History | None, began_at: datetime) -> str:
    """Keep a run that has ended, and return its summary; nothing when there are no figures of it."""
    if session.last_snapshot is None:
        return ""
    figures = report(session.last_snapshot, session.environment, session.intervals.windows)
    bounded = session.experiment.duration_s or session.experiment.requests
    number = keep(
        history,
        figures,
        title=title_of(figures),
        began_at=began_at,
        intervals=session.intervals.reports(),
        cut_short=bool(bounded) and not session.ran_out,
    )
    return report_text(figures) + kept_text("run", number, history)
