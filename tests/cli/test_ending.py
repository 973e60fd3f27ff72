"""A command ends when it is told to, whatever the user's own code does to its loop."""

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.cli.command import COMMAND, PATIENCE_S, clean_environment, next_complaint, running, sockscope

OWN = """
import asyncio
import atexit
import ctypes
import re
import signal
import subprocess
import sys
import time


def held(where):
    print("held" if where == "here" else where, file=sys.stderr, flush=True)


async def end_of_file(reader, writer):
    held("here")
    while True:
        await reader.read(100)
        reader.feed_eof()


async def loops(reader, writer):
    held("here")
    while True:
        pass


async def keeps_the_lock(reader, writer):
    held("here")
    re.match("(a+)+$", "a" * 60 + "b")


async def keeps_it_from_signals(reader, writer):
    held("here")
    sum(range(10**12))


async def takes_the_signals(reader, writer):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    held("here")
    while True:
        pass


async def outside(reader, writer):
    held("here")
    pause = ctypes.CDLL(None).usleep
    while True:
        pause(30_000_000)


async def swallows(reader, writer):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


async def goes_on(*streams):
    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            pass


async def leaves_what_goes_on(reader, writer):
    await asyncio.create_task(goes_on())


async def sleeps_in_a_thread(reader, writer):
    await asyncio.to_thread(time.sleep, 3600)


async def begins_a_process(reader, writer):
    if not hasattr(held, "process"):
        held.process = subprocess.Popen(["sleep", "3600"])
        held(held.process.pid)
    await echo(reader, writer)


async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)


async def cancels_all(reader, writer):
    writer.write(await reader.read(100))
    for task in asyncio.all_tasks():
        task.cancel()


async def is_slow_to_leave(reader, writer):
    if not hasattr(held, "leaving"):
        held.leaving = atexit.register(lambda: (held("here"), time.sleep(3600)))
    writer.write(await reader.read(100))
    await reader.read(100)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path


def interrupted_until_it_ends(child: subprocess.Popen[str], most: int) -> int:
    """Press Ctrl+C, and again if it still runs after a while; return how often."""
    for times in range(1, most + 1):
        child.send_signal(signal.SIGINT)
        try:
            child.wait(0.9 if times < most else PATIENCE_S)
        except subprocess.TimeoutExpired:
            continue
        return times
    return most


HOLDING = (
    "end_of_file",
    "loops",
    "keeps_the_lock",
    "keeps_it_from_signals",
    "takes_the_signals",
    "outside",
)


@pytest.mark.parametrize("handler", HOLDING)
def test_a_second_ctrl_c_ends_a_command_whose_loop_is_held_up(handler: str, here: Path) -> None:
    with running("run", "--handler", f"mine:{handler}", "-c", "2", cwd=here) as child:
        assert next_complaint(child) == "held\n"
        assert interrupted_until_it_ends(child, 3) <= 3
        assert child.returncode == 130
        assert child.stderr is not None
        said = child.stderr.read()
    assert said.count(f"sockscope: the event loop is blocked in {handler} (mine.py:") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_the_summary_a_signal_changes_the_exit_code_no_more(number: signal.Signals, here: Path) -> None:
    arguments = ("--handler", "mine:is_slow_to_leave", "-d", "0.1", "-c", "1", "--quiet")
    with running("run", *arguments, "--lifetime", "request", cwd=here) as child:
        assert child.stderr is not None
        while child.stderr.readline() != "held\n":
            assert child.poll() is None
        child.send_signal(number)
        assert child.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("number", "handler"), [(signal.SIGHUP, "keeps_it_from_signals"), (signal.SIGTERM, "loops")]
)
def test_what_is_not_typed_twice_ends_it_after_a_while(
    number: signal.Signals, handler: str, here: Path
) -> None:
    with running("serve", "--handler", f"mine:{handler}", "--json", cwd=here) as server:
        address = next_complaint(server).split()[-1]
        with running("swarm", address, "-c", "1") as clients:
            assert next_complaint(server) == "held\n"
            server.send_signal(number)
            assert server.wait(PATIENCE_S) == 1
            clients.kill()


def test_children_whose_interpreter_is_held_up_end_too(here: Path) -> None:
    arguments = ("--handler", "mine:keeps_the_lock", "--place", "apart", "--json-stream", "-i", "100ms")
    with running("run", *arguments, cwd=here) as child:
        assert child.stdout is not None
        child.stdout.readline()
        children = psutil.Process(child.pid).children()
        assert len(children) == 2
        interrupted_until_it_ends(child, 3)
        assert child.returncode in (0, 130)
        gone, alive = psutil.wait_procs(children, PATIENCE_S)
        assert (len(gone), alive) == (2, [])


@pytest.mark.parametrize("place", ["loop", "child"])
def test_processes_that_own_code_has_begun_end_with_it(place: str, here: Path) -> None:
    arguments = ("--handler", "mine:begins_a_process", "--place", place, "-c", "1", "--json-stream")
    with running("run", *arguments, "-i", "100ms", cwd=here) as child:
        assert child.stdout is not None
        child.stdout.readline()
        begun = [one for one in psutil.Process(child.pid).children(recursive=True) if one.name() == "sleep"]
        assert len(begun) == 1
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE_S) == 0
        gone, alive = psutil.wait_procs(begun, PATIENCE_S)
        assert (gone, alive) == (begun, [])


def test_too_few_descriptors_for_a_loop_are_one_sentence() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -n 12; exec {COMMAND} serve"],
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "sockscope: this process may open 12 descriptors, too few for an event loop; "
        "raise the limit first: ulimit -n 1024\n"
    )


@pytest.mark.parametrize("handler", ["swallows", "goes_on", "leaves_what_goes_on", "sleeps_in_a_thread"])
def test_what_never_ends_does_not_hold_up_the_end(handler: str, here: Path) -> None:
    done = sockscope(
        "run", "--handler", f"mine:{handler}", "-d", "0.2", "-c", "2", "--timeout", "50ms", cwd=here
    )
    assert done.returncode == 1
    assert "no request was answered" in done.stderr
    assert "0 answered" in done.stdout


def test_a_run_whose_tasks_own_code_cancels_has_failed_and_says_so(here: Path) -> None:
    done = sockscope("run", "--handler", "mine:cancels_all", "-c", "5", "--quiet", cwd=here)
    assert done.returncode == 1
    assert done.stderr.endswith("sockscope: the run failed: its tasks were cancelled by own code\n")
    assert "stopped by    its tasks were cancelled by own code" in done.stdout
