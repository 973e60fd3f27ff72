"""From an experiment to a dashboard and back to the shell."""

from __future__ import annotations

import asyncio
import signal
import sys

from sockscope.core.experiment import Experiment
from sockscope.engine.limits import check_descriptors, raise_descriptor_limit
from sockscope.engine.loops import loop_factory
from sockscope.errors import EXIT_FAILED, EXIT_OK
from sockscope.faces.summary import summary_text
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.keyboard import forgive_wrong_bytes


def run_dashboard(experiment: Experiment, environment: dict[str, object] | None = None) -> int:
    """Run the dashboard until it is left; return the exit code. Raises SockscopeError before it starts."""
    forgive_wrong_bytes()
    while True:
        raise_descriptor_limit()
        check_descriptors(experiment, experiment.tuning)
        app = SockscopeApp(experiment, environment)
        with asyncio.Runner(loop_factory=loop_factory(experiment.loop)) as runner:
            code = runner.run(app.run_async())
        # uvloop leaves its handlers behind when it is closed, and the process deaf to signals.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if app.start_error is not None:
            raise app.start_error
        if app.restart is not None:
            experiment = app.restart
            continue
        if app.last_snapshot is not None:
            print(summary_text(app.last_snapshot), end="")
        if app.engine.error:
            print(f"sockscope: {app.engine.error}", file=sys.stderr)
        if code is None:
            return EXIT_FAILED if app.return_code else EXIT_OK
        return code
