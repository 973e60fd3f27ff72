"""Ways to spend the service time on the thread that serves."""

from __future__ import annotations

from time import sleep, thread_time


def spend(work: str, seconds: float) -> None:
    """Spend the service time and let nothing else of this thread run meanwhile.

    ``cpu`` computes; ``wait`` and ``block`` sleep, which is what blocking code does, and the mistake on an
    event loop.
    """
    if work == "cpu":
        burn(seconds)
    else:
        sleep(seconds)


def burn(seconds: float) -> None:
    """Use ``seconds`` of this thread's CPU time, and let nothing else of this loop run meanwhile.

    The kernel's own account of the thread is the calibration: being preempted does not count, so the same
    work costs the same CPU beside any other load.
    """
    end_s = thread_time() + seconds
    while thread_time() < end_s:
        pass
