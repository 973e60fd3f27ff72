"""What the kernels of several machines have counted: added up, whoever of the processes there reads it."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.histogram import Histogram
from sockscope.core.run.snapshot import KernelTcp, KernelUdp, Resources
from sockscope.engine.placement.machines import Machines

HERE = Resources(0.0, None, None, None, None, None, Histogram(), KernelUdp(9, 9, 9, 9), machine_busy_s=9.0)


def told(dropped: int, overflows: int | None = None, time_wait: int = 0) -> Resources:
    tcp = None if overflows is None else KernelTcp(overflows)
    udp = KernelUdp(0, 0, 0, dropped)
    return replace(HERE, kernel_udp=udp, kernel_tcp=tcp, time_wait=time_wait, ephemeral_ports=100 + time_wait)


def dropped(seen: Resources) -> int:
    assert seen.kernel_udp is not None
    return seen.kernel_udp.rcvbuf_errors


def test_each_machine_counts_once_however_many_processes_are_on_it() -> None:
    seen = Machines().add_up(
        HERE, [("a", 1, told(5, 2, time_wait=3)), ("a", 2, told(4, 1)), ("b", 3, told(7, None))]
    )
    assert dropped(seen) == 12
    assert seen.kernel_tcp == KernelTcp(2)
    assert (seen.time_wait, seen.ephemeral_ports, seen.machine_busy_s) == (3, 103, 9.0)


def test_a_process_that_is_gone_is_followed_by_another_which_began_to_count_later() -> None:
    machines = Machines()
    machines.add_up(HERE, [("a", 1, told(5))])
    assert dropped(machines.add_up(HERE, [("a", 1, told(6)), ("a", 2, told(1))])) == 6
    assert dropped(machines.add_up(HERE, [("a", 2, told(3))])) == 8
    assert dropped(machines.add_up(HERE, [("a", 2, told(4))])) == 9
    assert dropped(machines.add_up(HERE, [("b", 3, told(10))])) == 19  # a machine that is lost keeps its own
    assert dropped(machines.add_up(HERE, [("a", 2, told(6)), ("b", 3, told(10))])) == 21
    assert dropped(machines.add_up(HERE, [("a", 4, told(5))])) == 26, "it has come since the last look"


def test_where_nothing_is_told_yet_nothing_of_this_machine_is_taken_for_it() -> None:
    seen = Machines().add_up(HERE, [])
    assert (seen.kernel_udp, seen.kernel_tcp, seen.time_wait) == (None, None, None)


def test_this_machine_counts_while_something_of_the_run_is_here() -> None:
    machines = Machines()
    machines.stay_here(told(50))
    machines.stay_here(told(60))
    assert dropped(machines.add_up(HERE, [("a", 1, told(1))])) == 61
    assert dropped(machines.add_up(HERE, [("a", 1, told(2)), ("", "", told(75))])) == 62
    assert dropped(machines.add_up(HERE, [("", "", told(80))])) == 67
    assert dropped(machines.add_up(HERE, [("a", 2, told(4))])) == 71
    assert dropped(machines.add_up(HERE, [("", "", told(99))])) == 71, "nothing of the run was here"
    elsewhere = Machines()
    elsewhere.add_up(HERE, [("a", 1, told(1))])
    assert dropped(elsewhere.add_up(HERE, [("a", 1, told(1)), ("", "", told(75))])) == 1
    both = Machines().add_up(HERE, [("a", 1, told(1)), ("", "", told(75))])
    assert dropped(both) == 76, "roles were here from the beginning of the run"
    going = Machines()
    going.stay_here(told(60))
    assert dropped(going.add_up(HERE, [("a", 1, told(1)), ("", "", told(75))])) == 76, "some are here still"
