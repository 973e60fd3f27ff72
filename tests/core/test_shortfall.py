from dataclasses import replace

from sockscope.core.config.experiment import Experiment
from sockscope.core.run.shortfall import shortfall
from sockscope.core.run.snapshot import LOST, STOPPED, TARGET, ProcessUse, Snapshot, Totals
from tests.core.runs import child, resources, role, run
from tests.each import each

DEAD = child("server", 12, resources(), state="was killed (SIGKILL)", alive=False)
SILENT = child("clients", 13, resources(), state="no answer for 3.60 s", silent_s=3.6)


def ended(asked: Experiment, seconds: float, made: Totals | None = None, *children: ProcessUse) -> Snapshot:
    return run(experiment=asked, seconds=seconds, swarm=role("swarm", made or Totals()), children=children)


@each(
    ("end", "told"),
    [
        (ended(Experiment(), 3.0), ""),
        (ended(Experiment(duration_s=6.0), 6.0), ""),
        (ended(Experiment(duration_s=6.0), 0.21), "210 ms of the 6.00 s asked for were measured"),
        (
            ended(Experiment(duration_s=6.0), 0.21, None, SILENT),
            "210 ms of the 6.00 s asked for were measured: clients process 13: no answer for 3.60 s",
        ),
        (ended(Experiment(duration_s=6.0), 6.0, None, SILENT), ""),
        (
            ended(Experiment(duration_s=6.0), 6.0, None, replace(SILENT, state=STOPPED)),
            "clients process 13: stopped",
        ),
        (ended(Experiment(duration_s=6.0), 6.0, None, DEAD), "server process 12: was killed (SIGKILL)"),
        (
            ended(Experiment(duration_s=6.0), 6.0, None, replace(DEAD, state=LOST)),
            "server process 12: lost, and others have its part",
        ),
        (ended(Experiment(duration_s=6.0), 6.0, None, replace(DEAD, name=TARGET)), ""),
        (ended(Experiment(requests=100), 1.0, Totals(responses=80, timeouts=15, errors=5)), ""),
        (
            ended(Experiment(requests=1_000), 1.0, Totals(requests=64, responses=60)),
            "60 of the 1,000 requests asked for were made",
        ),
        # Whichever comes first.
        (ended(Experiment(requests=100, duration_s=6.0), 1.0, Totals(responses=100)), ""),
        (ended(Experiment(requests=100, duration_s=6.0), 6.0, Totals(responses=50)), ""),
    ],
)
def test_a_run_that_did_not_get_what_it_was_asked_for_says_so(end: Snapshot, told: str) -> None:
    assert shortfall(end) == told
