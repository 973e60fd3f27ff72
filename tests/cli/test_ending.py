"""A command ends when it is told to, whatever the user's own code does to its loop."""

import json
import os
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests.cli.command import (
    COMMAND,
    PATIENCE_S,
    clean_environment,
    finished,
    next_complaint,
    next_line,
    running,
    sockscope,
)
from tests.forks import WAITING

OWN = """
import asyncio
import atexit
import ctypes
import os
import re
import signal
import socket
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
        time.sleep(0.001)


async def keeps_the_lock(reader, writer):
    held("here")
    re.match("(a+)+$", "a" * 60 + "b")


async def begins_a_process_and_keeps_the_lock(reader, writer):
    subprocess.Popen(["sleep", "3600"])
    await keeps_the_lock(reader, writer)


async def keeps_it_from_signals(reader, writer):
    held("here")
    sum(range(10**12))


async def runs_a_command(reader, writer):
    held("here")
    os.system("sleep 3600")


async def takes_the_signals(reader, writer):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    held("here")
    while True:
        time.sleep(0.001)


async def takes_them_for_the_loop(reader, writer):
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, print)
    held("here")
    sum(range(10**12))


async def hears_another_signal(reader, writer):
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
    held("here")
    await heard.wait()
    writer.write(await reader.read(100))


async def ends_and_keeps_the_lock(reader, writer):
    if not hasattr(held, "before"):
        held.before = True
        sys.exit("not so")
    held("here")
    sum(range(10**12))


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
        held.process = subprocess.run("sleep 3600 &", shell=True)
        held("here")
    await echo(reader, writer)


async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)


async def cancels_all(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
        if os.path.exists("begun"):  # else there would be no figures
            os.remove("begun")  # nor if it were done a second time
            for task in asyncio.all_tasks():
                task.cancel()


def is_interrupted_in_the_last_step():
    listen = socket.socket.listen

    def asked_meanwhile(sock, backlog):
        listen(sock, backlog)
        signal.raise_signal(signal.SIGINT)

    socket.socket.listen = asked_meanwhile


async def deaf_application(scope, receive, send):
    while scope["type"] == "http":
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


async def is_slow_to_leave(reader, writer):
    if not hasattr(held, "leaving"):
        held.leaving = atexit.register(lambda: (held("here"), sum(range(10**12))))
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


AT_ONCE = "--request hi --expect 2"
"""With these the clients ask before the command has looked at its run for the first time."""


@pytest.mark.parametrize(
    ("handler", "arguments"),
    [
        ("end_of_file", ""),
        ("runs_a_command", ""),
        ("takes_them_for_the_loop", AT_ONCE),
        ("takes_them_for_the_loop", "--loop asyncio"),
        ("outside", ""),
        ("ends_and_keeps_the_lock", AT_ONCE),
    ],
)
def test_a_second_ctrl_c_ends_a_command_whose_loop_is_held_up(
    handler: str, arguments: str, here: Path
) -> None:
    with running("run", "--handler", f"mine:{handler}", "-c", "2", *arguments.split(), cwd=here) as child:
        assert next_complaint(child) == "held\n"
        assert interrupted_until_it_ends(child, 3) <= 3
        assert child.returncode == 130
        assert child.stderr is not None
        said = child.stderr.read()
    assert said.count(f"sockscope: the event loop is blocked in {handler} (mine.py:") == 1


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_other_signals_are_the_users_own(loop: str, here: Path) -> None:
    arguments = ("--handler", "mine:hears_another_signal", "-c", "1", "-n", "1", "--timeout", "60s")
    with running("run", *arguments, *AT_ONCE.split(), "--loop", loop, cwd=here) as child:
        assert next_complaint(child) == "held\n"
        child.send_signal(signal.SIGUSR1)
        assert child.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_the_summary_a_signal_changes_the_exit_code_no_more(number: signal.Signals, here: Path) -> None:
    arguments = ("--handler", "mine:is_slow_to_leave", "-d", "0.1", "-c", "1", "--quiet")
    with running("run", *arguments, "--lifetime", "request", cwd=here) as child:
        assert child.stderr is not None
        while child.stderr.readline() != "held\n":
            assert child.poll() is None
        child.send_signal(number)
        assert child.wait(PATIENCE_S) == 0


@pytest.mark.skipif(find_spec("uvicorn") is None, reason="uvicorn is not installed")
def test_an_application_that_is_broken_off_writes_no_traceback(here: Path) -> None:
    arguments = ("--asgi", "mine:deaf_application", "-c", "1", "-d", "0.1", "--timeout", "50ms", "--json")
    done = sockscope("run", *arguments, cwd=here)
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith("sockscope: no request was answered: the server sent nothing")


def test_a_signal_in_the_last_step_of_the_start_is_heard(here: Path) -> None:
    startup = ("--startup", "mine:is_interrupted_in_the_last_step")
    done = sockscope("serve", "--handler", "mine:end_of_file", *startup, "-d", "30", "--json", cwd=here)
    assert (done.returncode, json.loads(done.stdout)["elapsed_s"] < 30) == (0, True)
    assert "sockscope: stopping; press Ctrl+C again" in done.stderr


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


@pytest.mark.parametrize(("handler", "length"), [("loops", "-d 0.1"), ("keeps_it_from_signals", "-n 9")])
def test_a_run_that_is_held_up_beyond_its_end_ends_by_itself(handler: str, length: str, here: Path) -> None:
    arguments = ("--give-up", "0.1", "--timeout", "100ms", *AT_ONCE.split(), *length.split())
    told = f"sockscope: given up (--give-up): the event loop is blocked in {handler} (mine.py:"
    for _ in range(3):  # a machine that holds up the process itself lets it tell less
        done = sockscope("run", "--handler", f"mine:{handler}", *arguments, cwd=here)
        assert done.returncode == 1
        if told in done.stderr:
            break
    assert told in done.stderr


def test_children_whose_interpreter_is_held_up_end_too(here: Path) -> None:
    handler = "mine:begins_a_process_and_keeps_the_lock"
    arguments = ("--handler", handler, "--place", "apart", "--json-stream", "-i", "100ms")
    with running("run", *arguments, cwd=here) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = psutil.Process(child.pid).children(recursive=True)
        children = [one for one in found if one.name() != WAITING]
        assert [one.name() for one in children].count("sleep") == 1
        assert len(children) == 3
        interrupted_until_it_ends(child, 3)
        assert child.returncode in (0, 130)
        gone, alive = psutil.wait_procs(children, PATIENCE_S)
        assert (len(gone), alive) == (3, [])


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


def test_a_signal_before_the_run_has_begun_is_answered_with_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "loading")
    (tmp_path / "slow.py").write_text("import time\nopen('loading', 'w')\ntime.sleep(3600)\n")
    with running("run", "--handler", "slow:handle", "--place", "child", cwd=tmp_path) as child:
        (tmp_path / "loading").read_text()  # it is open, and closed again, when the module is being loaded
        child.send_signal(signal.SIGTERM)
        code, told, complaint = finished(child)
    assert (code, told) == (130, "")
    assert complaint == "sockscope: ended before the run had begun: there are no figures\n"


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


@pytest.mark.parametrize("handler", ["swallows", "leaves_what_goes_on", "sleeps_in_a_thread"])
def test_what_never_ends_does_not_hold_up_the_end(handler: str, here: Path) -> None:
    done = sockscope(
        "run", "--handler", f"mine:{handler}", "-d", "0.2", "-c", "2", "--timeout", "50ms", cwd=here
    )
    assert done.returncode == 1
    assert "no request was answered" in done.stderr
    assert "0 answered" in done.stdout


def test_a_run_whose_tasks_own_code_cancels_has_failed_and_says_so(here: Path) -> None:
    flags = ("--handler", "mine:cancels_all", "-c", "5", "--json-stream", "-i", "20ms")
    with running("run", *flags, cwd=here) as child:
        assert json.loads(next_line(child))["type"] == "interval"
        (here / "begun").touch()
        code, out, err = finished(child)
    assert code == 1
    assert err.endswith("sockscope: the run failed: its tasks were cancelled by own code\n")
    summary = json.loads(out.splitlines()[-1])
    assert (summary["state"], summary["error"]) == ("failed", "its tasks were cancelled by own code")
