"""The process of a target, looked at from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from sockscope.core.run.snapshot import TARGET
from sockscope.core.run.window import window
from sockscope.engine import process_tree
from sockscope.engine.target import FEW, TargetProcess
from sockscope.errors import ConfigError
from tests.engine.peers import echo, tcp_peer
from tests.engine.runs import running, swarm_of
from tests.waiting import until

BUSY = """
import os, threading
threading.Thread(target=os.read, args=(0, 1), daemon=True).start()
while True: pass
"""


@contextmanager
def busy_child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses a core until it is ended."""
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def test_what_it_uses_is_counted_from_the_first_look_on() -> None:
    with busy_child() as child:
        target = TargetProcess(child.pid)
        # Python itself may take longer to start than what is waited for.
        await until(lambda: target.use().resources.cpu_s >= 0.05 and target.use().resources.threads == 2)
        used = target.use()
        assert (used.name, used.pid, used.state, used.alive) == (TARGET, child.pid, "running", True)
        assert used.resources.cpu_ratio is not None
        assert used.resources.cpu_s <= used.resources.measured_s * 1.5 + 0.1
        assert used.resources.rss_bytes is not None
        assert used.resources.rss_bytes > 1 << 20
        late = TargetProcess(child.pid)
        assert late.use().resources.cpu_s < target.use().resources.cpu_s


@pytest.mark.parametrize("reaped", [True, False])
async def test_one_that_ends_keeps_its_figures(reaped: bool) -> None:
    with busy_child() as child:
        target = TargetProcess(child.pid)
        await until(lambda: target.use().resources.cpu_s > 0)
        before = target.use()
        child.kill()
        if reaped:
            child.wait()
        await until(lambda: not target.use().alive)
        after = target.use()
        assert after.state == "has ended"
        assert after.resources.cpu_s >= before.resources.cpu_s
        assert after.resources is target.use().resources


async def test_a_number_that_another_process_got_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    target = TargetProcess(os.getpid())
    assert target.use().alive
    monkeypatch.setattr(psutil.Process, "is_running", lambda _: False)
    assert (target.use().alive, target.use().state) == (False, "has ended")


async def test_one_that_is_hidden_from_us_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "num_ctx_switches", denied)
        target = TargetProcess(os.getpid())
        used = target.use()
        assert (used.alive, used.state) == (True, "cannot be inspected: no permission")
        assert (used.resources.cpu_ratio, used.resources.rss_bytes, used.resources.threads) == (
            None,
            None,
            None,
        )
    assert target.use().state == "running"
    assert target.use().resources.rss_bytes is not None


async def test_there_must_be_such_a_process() -> None:
    with busy_child() as child:
        pass
    with pytest.raises(ConfigError, match=f"pid = {child.pid}: there is no such process"):
        TargetProcess(child.pid)
    async with tcp_peer(echo) as port:
        with pytest.raises(ConfigError, match="no such process"):
            async with running(role="swarm", target=f"127.0.0.1:{port}", pid=child.pid):
                pass


async def test_a_run_has_it_among_its_processes() -> None:
    with busy_child() as child:
        async with (
            tcp_peer(echo) as port,
            running(role="swarm", target=f"127.0.0.1:{port}", pid=child.pid) as engine,
        ):
            first = engine.snapshot()
            await until(lambda: swarm_of(engine).totals.responses >= 10)
            await until(lambda: engine.snapshot().processes[-1].resources.cpu_s > 0.05)
            [main, target] = engine.snapshot().processes
            assert (main.name, target.name, target.pid) == ("main", TARGET, child.pid)
            in_between = window(first, engine.snapshot()).processes[-1].resources
            assert 0 < in_between.cpu_s <= target.resources.cpu_s + 1
            child.kill()
            child.wait()
            await until(lambda: not engine.snapshot().processes[-1].alive)
            before = engine.snapshot()
            await until(lambda: engine.snapshot().time_s > before.time_s)
            gone = window(before, engine.snapshot()).processes[-1]
            assert gone.resources.cpu_ratio is None
        assert engine.error == ""


@contextmanager
def many_processes() -> Iterator[int]:
    """The number of a process with more children than are read each time."""
    begin = f"for i in {' '.join('x' * (FEW + 1))}; do sleep 60 & done; wait"
    parent = subprocess.Popen(["sh", "-c", begin], start_new_session=True)
    try:
        yield parent.pid
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


async def test_many_processes_are_not_read_whenever_somebody_asks() -> None:
    with many_processes() as pid:
        target = TargetProcess(pid)
        await until(lambda: (target.use().resources.threads or 0) > FEW)
        await until(lambda: target.use().resources is target.use().resources)
        before = target.use()
        await until(lambda: target.use().resources.time_s > before.resources.time_s)
        assert before.alive
        assert target.use().alive


FORKING = """
import os, sys
def burn():
    while True: pass
children = []
for line in sys.stdin:
    if line == "begin\\n":
        if not (pid := os.fork()): burn()
        children.append(pid)
    elif line == "neglect\\n":
        for _ in range(9):
            if not os.fork(): os._exit(0)
    elif line == "brief\\n":
        if not (pid := os.fork()):
            while os.times().user < 0.05: pass
            os._exit(0)
        os.waitpid(pid, 0)
    else:
        os.kill(children[-1], 9); os.waitpid(children.pop(), 0)
    print("done", flush=True)
"""


def _forking() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FORKING]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_its_children_are_in_it_as_they_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "MOST", 8)
    child = _forking()
    assert child.stdin is not None
    assert child.stdout is not None

    def order(what: str) -> None:
        print(what, file=child.stdin, flush=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"

    try:
        target = TargetProcess(child.pid)
        alone = target.use().resources
        order("begin")
        await until(lambda: target.use().resources.cpu_s >= 0.1)
        both = target.use().resources
        assert (both.threads, alone.threads) == (2, 1)
        assert (both.rss_bytes or 0) > (alone.rss_bytes or 0)
        order("end")
        after = target.use().resources
        assert after.threads == 1
        assert after.cpu_s >= both.cpu_s
        order("brief")
        # It came and went between two looks.
        assert target.use().resources.cpu_s >= after.cpu_s + 0.04
        order("neglect")
        order("begin")
        # Children that nobody waits for take no place of others.
        await until(lambda: target.use().resources.threads == 2)
    finally:
        # Before it hears of the end and ends, too: nobody would know its children any more.
        for process in psutil.Process(child.pid).children():
            process.kill()
        child.stdin.close()
        child.stdout.close()
        child.kill()
        child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_an_orphan_that_has_ended_is_let_go_of_and_no_child_that_somebody_waits_for() -> None:
    process_tree.adopt_orphans(True)
    try:
        begun = subprocess.run(
            ["sh", "-c", "sleep 0 & echo $!"], stdout=subprocess.PIPE, text=True, check=True
        )
        orphan = psutil.Process(int(begun.stdout))
        os.waitid(os.P_PID, orphan.pid, os.WEXITED | os.WNOWAIT)
        assert orphan.ppid() == os.getpid()
        with subprocess.Popen(["sh", "-c", "exit 7"]) as child:
            patient, impatient = process_tree.Orphans(), process_tree.Orphans(patience_s=0.0)
            patient.look()
            assert orphan.is_running()
            child.wait()
            impatient.look()
            assert not psutil.pid_exists(orphan.pid)
            assert child.returncode == 7
    finally:
        process_tree.adopt_orphans(False)
