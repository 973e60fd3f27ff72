"""From an experiment to a dashboard and back to the shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime
from functools import partial

from sockscope.core.config.experiment import Experiment
from sockscope.core.results.run_result import report
from sockscope.core.run.snapshot import RunState
from sockscope.engine.engine import Engine
from sockscope.engine.limits import check_descriptors, raise_descriptor_limit
from sockscope.engine.loops import calm_collector, run_on
from sockscope.errors import EXIT_FAILED, EXIT_OK
from sockscope.faces.keeping import keep, kept_text
from sockscope.faces.printing import say, tell
from sockscope.faces.summary import report_text, title_of
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.look import Look, LookFlags, keep_look, look_of
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.terminal import TerminalEnding, adapt_textual
from sockscope.store.history import History


def run_dashboard(
    experiment: Experiment,
    environment: dict[str, object] | None = None,
    history: History | None = None,
    flags: LookFlags = LookFlags(),  # noqa: B008
) -> int:
    """Run the dashboard until it is left, and keep its runs in ``history``; return the exit code.

    Raises SockscopeError before it starts.
    """
    adapt_textual()
    with TerminalEnding(bool(experiment.own_server)) as ending:
        return _run_until_left(experiment, environment, history, flags, ending)


def _run_until_left(
    experiment: Experiment,
    environment: dict[str, object] | None,
    history: History | None,
    flags: LookFlags,
    ending: TerminalEnding,
) -> int:
    look = look_of(flags, os.environ)
    notice = ""
    while True:
        raise_descriptor_limit()
        check_descriptors(experiment, experiment.tuning)
        session = Session(Engine(experiment), environment)
        app = SockscopeApp(
            session, history, on_started=partial(_started, session, look, notice), look=look, ending=ending
        )
        began_at = datetime.now(UTC)
        code = run_on(experiment.loop, _shown(app))
        if app.start_error is not None:
            raise app.start_error
        summary = _keep(session, history, began_at)
        if complaint := keep_look(flags, look, app.theme):
            say(complaint)
        look = Look(app.theme, look.ascii)
        if app.restart is not None:
            experiment, notice = app.restart, app.notice
            continue
        tell(summary)
        if session.source.error:
            say(session.source.error)
        # A fault of the app itself sets its return code, whatever it was told to leave with.
        failed = app.return_code or session.source.state is RunState.FAILED
        return code or (EXIT_FAILED if failed else EXIT_OK)


async def _shown(app: SockscopeApp) -> int | None:
    """Run the app; when the user's own code cancels its tasks the figures are taken all the same."""
    code = None
    with contextlib.suppress(asyncio.CancelledError):
        code = await app.run_async()
    if app.session.last_snapshot is None:
        with contextlib.suppress(asyncio.CancelledError):
            await app.session.finish()
    return code


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
