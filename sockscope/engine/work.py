"""Ways to spend the service time that are not waiting."""

from __future__ import annotations

from time import thread_time


def burn(seconds: float) -> None:
    """Use ``seconds`` of this thread's CPU time, and let nothing else of this loop run meanwhile.

    The kernel's own account of the thread is the calibration: being preempted does not count, so the same
    work costs the same CPU beside any other load.
    """
    end_s = thread_time() + seconds
    while thread_time() < end_s:
        pass
