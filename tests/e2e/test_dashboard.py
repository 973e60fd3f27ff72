"""The user's five minutes on a real terminal, and every way to leave it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from sockscope.errors import EXIT_INTERRUPTED
from sockscope.store.history import History
from tests.cli.command import COMMAND, PATIENCE_S, clean_environment
from tests.e2e.terminal import Terminal, sockscope
from tests.ports import unused_port

FEW = ("-c", "10", "--permits", "5")


def port_of(terminal: Terminal) -> int:
    address = re.compile(r"(?:TCP|UDP) · 127\.0\.0\.1:(\d+) ")
    terminal.until(lambda: address.search(terminal.text), "the address")
    (port,) = address.findall(terminal.text)
    return int(port)


def is_free(port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind is socket.SOCK_STREAM))
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def has_no_traceback(terminal: Terminal) -> None:
    assert b"Traceback" not in terminal.written
    assert b"Exception" not in terminal.written


def leaves_a_summary(terminal: Terminal, transport: str = "TCP") -> None:
    assert f"SockScope: {transport} server and clients, 127.0.0.1:" in terminal.left_behind
    assert re.search(r"requests +[\d,]+ answered of [\d,]+", terminal.left_behind)
    assert re.search(r"service time +p50 ", terminal.left_behind)
    assert "\x1b" not in terminal.left_behind
    has_no_traceback(terminal)


def test_the_first_five_minutes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with Terminal(COMMAND, HOME=str(home)) as terminal:
        terminal.sees("RUNNING", "TCP · 127.0.0.1:", "uvloop", "req/s", "p99")
        first_port = port_of(terminal)
        terminal.send("}")
        terminal.sees("permits 50 → 100", "permits 50→100")
        terminal.until(lambda: re.search(r"permits +◂ +100 ▸", terminal.text), "the knob")
        terminal.send("t")
        terminal.sees("UDP · 127.0.0.1:", "0 lost")
        terminal.until(lambda: is_free(first_port), "the TCP listener to go")
        terminal.send("8")
        terminal.until(lambda: re.search(r"c\d+ +64 B → 64 B", terminal.text), "exchanges")
        terminal.send("\r")
        terminal.sees("request, as written", "answered")
        terminal.send("\x1b")
        terminal.until(lambda: "as written" not in terminal.text, "the list again")
        terminal.send("?")
        terminal.sees("Esc closes")
        terminal.send("q")
        terminal.until(lambda: "Esc closes" not in terminal.text, "the help to go")
        port, child = port_of(terminal), psutil.Process(terminal.child.pid)
        (watchdog,) = child.children(recursive=True)
        assert len(watchdog.threads()) == 1
        terminal.send("q")
        assert terminal.ended() == 0
        leaves_a_summary(terminal, "UDP")
        terminal.is_restored()
        assert not watchdog.is_running()
        assert is_free(port, socket.SOCK_DGRAM)
        assert list(home.iterdir()) == []


def test_keys_that_are_typed_while_it_starts_are_heard_and_ctrl_c_once_leaves_with_a_summary() -> None:
    with Terminal(COMMAND, *FEW) as terminal:
        terminal.send("m")
        terminal.until(lambda: terminal.written.strip(b"m"), "the first byte")
        terminal.send("m")
        terminal.sees("RUNNING", "mark 2")
        terminal.send("\x03")
        assert terminal.ended() == 0
        leaves_a_summary(terminal)
        terminal.is_restored()


def test_ctrl_c_twice_leaves_at_once() -> None:
    with sockscope(*FEW, "--service-time", "30s", "--timeout", "60s") as terminal:
        terminal.send("\x03\x03")
        assert terminal.ended() == 130
        has_no_traceback(terminal)
        terminal.is_restored()


def test_ctrl_c_twice_leaves_a_dashboard_whose_loop_is_held_up() -> None:
    with Terminal(COMMAND, *FEW, "--work", "block", "--service-time", "60s", warm=True) as terminal:
        child = psutil.Process(terminal.child.pid)
        terminal.until(lambda: any(c.status == "ESTABLISHED" for c in child.net_connections()), "the clients")
        terminal.settles()

        def ends() -> bool:
            terminal.send("\x03")
            terminal.settles()
            return terminal.child.poll() is not None

        terminal.until(ends, "the end")
        assert terminal.child.returncode == 130
        assert "sockscope: the event loop is blocked in " in terminal.left_behind
        has_no_traceback(terminal)
        terminal.is_restored()


OWN = """
import asyncio
import os
import time
import tty


async def sums(reader, writer):
    open("held", "w").close()
    sum(range(10**12))


async def raw(reader, writer):
    tty.setraw(0)
    open("held", "w").close()
    time.sleep(3600)


async def exits(reader, writer):
    await reader.read(100)
    os._exit(7)


async def cancels(reader, writer):
    for _ in range(20):  # by then the run has begun, or there would be no figures
        writer.write(await reader.read(100))
    for task in asyncio.all_tasks():
        task.cancel()
"""


@pytest.mark.parametrize(
    ("handler", "code", "said"),
    [
        ("sums", 130, "sockscope: the event loop is blocked in sums (mine.py:10); quitting without figures"),
        ("raw", 130, "sockscope: the event loop is blocked in raw (mine.py:16); quitting without figures"),
        ("exits", 7, "sockscope: ended from within, or by a signal, without figures"),
        ("cancels", 1, "stopped by    its tasks were cancelled by own code"),
    ],
)
def test_whatever_own_code_does_the_terminal_is_restored(
    handler: str, code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    argv = (COMMAND, *(["run"] if handler == "raw" else []), "--handler", f"mine:{handler}")
    with Terminal(*argv, warm=True, cwd=tmp_path, ignored=[signal.SIGCHLD]) as terminal:

        def ends() -> bool:
            if (tmp_path / "held").exists():
                terminal.settles()
                terminal.send("\x03")
            terminal.settles()
            return terminal.child.poll() is not None

        terminal.until(ends, "the end")
        terminal.until(lambda: said in terminal.left_behind, "what was said")
        assert terminal.child.returncode == code
        has_no_traceback(terminal)
        terminal.is_restored()


@pytest.mark.parametrize("how", [[], ["run"]])
def test_ctrl_c_once_leaves_while_a_startup_hangs(how: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import asyncio, pathlib\nasync def handle(reader, writer): pass\n"
        "async def hang():\n    pathlib.Path('held').touch()\n    await asyncio.Event().wait()\n"
    )
    argv = (COMMAND, *how, "--handler", "mine:handle", "--startup", "mine:hang")
    with Terminal(*argv, warm=True, cwd=tmp_path) as terminal:
        terminal.until((tmp_path / "held").exists, "the startup")
        terminal.send("\x03")
        assert terminal.ended() == 130
        has_no_traceback(terminal)
        assert "requests" not in terminal.left_behind
        terminal.is_restored()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_at_the_first_byte_leave_cleanly(number: signal.Signals) -> None:
    with Terminal(COMMAND, *FEW, warm=number == signal.SIGHUP) as terminal:
        terminal.until(lambda: terminal.written, "the first byte")
        terminal.child.send_signal(number)
        terminal.ended()  # SIGHUP is not waited for when the loop is slow to begin
        has_no_traceback(terminal)
        terminal.is_restored()


def test_a_terminal_that_does_not_read_holds_up_neither_the_run_nor_its_end(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    with Terminal(
        COMMAND, *FEW, "-d", "4", "--history", str(history.path), size=(160, 48), warm=True
    ) as terminal:
        assert terminal.child.wait(PATIENCE_S) == 0
        terminal.settles()
        leaves_a_summary(terminal)
        terminal.is_restored()
    seconds = [one["totals"]["responses"] for one in history.load(1).intervals]
    assert sum(map(bool, seconds)) > len(seconds) / 2  # a busy machine may hold all up for a second


def test_drawn_into_a_file_it_says_that_it_cannot(tmp_path: Path) -> None:
    with Terminal("/bin/sh", "-c", f"exec {COMMAND} 2>{tmp_path / 'log'}") as terminal:
        assert terminal.ended() == 2
        assert "drawn on standard error, which must be a terminal" in terminal.text


def test_after_a_stop_from_outside_it_goes_on_and_left_before_its_end_it_is_cut_short(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    with sockscope(*FEW, "-d", "600", SOCKSCOPE_HISTORY=str(history.path)) as terminal:
        terminal.child.send_signal(signal.SIGSTOP)
        terminal.until(
            lambda: psutil.Process(terminal.child.pid).status() == psutil.STATUS_STOPPED, "the stop"
        )
        terminal.child.send_signal(signal.SIGCONT)
        terminal.until(lambda: terminal.written.count(b"\x1b[?1049h") == 2, "the dashboard again")
        terminal.send("m")
        terminal.sees("mark 1")
        terminal.send("q")
        assert terminal.ended() == 0
        leaves_a_summary(terminal)
        terminal.is_restored()
    assert [row.cut_short for row in history.runs()] == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_signals_leave_cleanly(number: signal.Signals) -> None:
    with sockscope(*FEW) as terminal:
        terminal.child.send_signal(number)
        # Who quits does not wait for a loop that the machine holds up: then there is no summary.
        if terminal.ended() != EXIT_INTERRUPTED or number != signal.SIGQUIT:
            assert terminal.ended() == 0
            leaves_a_summary(terminal)
        terminal.is_restored()


def test_a_bounded_run_leaves_by_itself(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    with sockscope(*FEW, "-d", "2", "--history", str(history.path)) as terminal:
        assert terminal.ended() == 0
        leaves_a_summary(terminal)
        terminal.is_restored()
        assert f"kept as run 1 (sockscope history show 1 --history {history.path})" in " ".join(
            terminal.left_behind.split()
        )
    stored = history.load(1)
    assert not stored.row.cut_short
    assert sum(one["totals"]["responses"] for one in stored.intervals) == stored.report["totals"]["responses"]
    assert stored.report["environment"]["python"]


def test_with_a_bad_history_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_text("mine")
    with sockscope(*FEW, "--history", str(path)) as terminal:
        terminal.send("q")
        assert terminal.ended() == 0
        leaves_a_summary(terminal)
        assert "this run was not saved to the history" in terminal.left_behind
        terminal.is_restored()
    assert path.read_text() == "mine"


def test_another_loop_needs_a_new_run_and_gets_it(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    with sockscope(*FEW, "--history", str(history.path), size=(160, 48)) as terminal:
        terminal.send("1")

        left: list[str] = []

        def the_loop_is_reached() -> bool:
            """Go one up from each knob, when the one before has been left."""
            at = re.search(r"▸(\w+)", terminal.text)
            if at is not None and at[1] not in ("loop", *left[-1:]):
                left.append(at[1])
                terminal.send("\x1b[A")
            return at is not None and at[1] == "loop"

        terminal.until(the_loop_is_reached, "the knob of the loop")
        terminal.send("\x1b[C")
        terminal.sees("N starts it")
        terminal.send("N")
        terminal.sees("RUNNING", "· asyncio")
        assert b"\x1b[?1049l" not in terminal.written  # the last picture has stayed until then
        terminal.send("q")
        assert terminal.ended() == 0
        leaves_a_summary(terminal)
        assert ", asyncio," in terminal.left_behind
        terminal.is_restored()
    assert [history.load(number).report["loop"] for number in (1, 2)] == ["uvloop", "asyncio"]
    assert [row.cut_short for row in history.runs()] == [False, False]


def test_partial_updates_leave_what_a_whole_repaint_draws_and_the_window_may_change_its_size() -> None:
    with sockscope(*FEW) as terminal:
        terminal.sees("RUNNING", "p99")
        terminal.send("1" + "\x1b[B" * 5 + "\x1b[C")  # to the knobs, five down, and turn one
        terminal.sees("request 64 B → 100 B")
        terminal.send("?")
        terminal.sees("One step fewer clients")
        terminal.send("?")
        terminal.send("68]")
        terminal.sees("Exchanges", "clients 10 → 20")
        terminal.send(" ")
        terminal.sees("FROZEN")
        terminal.settles()
        partial = terminal.text
        terminal.send("r")
        terminal.until(lambda: "FROZEN" not in terminal.text, "the other screen")
        terminal.send("q")
        terminal.until(lambda: terminal.text == partial, f"the same picture as this one:\n{partial}\n")
        for size, text in (
            ((80, 24), "2 Throughput"),
            ((20, 5), "q quits"),
            ((200, 60), "8 Exchanges"),
            ((120, 40), "Last change"),
        ):
            for dragged in range(5):  # not each of them is laid out, but the last is
                terminal.resize(size[0] + 5 - dragged, size[1])
            terminal.resize(*size)
            terminal.sees(text)
            assert max(map(len, terminal.text.splitlines())) <= size[0]
        terminal.sees("RUNNING")
        terminal.send("q")
        assert terminal.ended() == 0
        terminal.is_restored()


def test_what_is_typed_in_one_go_is_text_after_a_key_that_asks_for_it_and_too_much_deafens_nobody() -> None:
    with sockscope(*FEW, size=(80, 24)) as terminal:
        terminal.sees("RUNNING", "p99")
        terminal.send("/quit")
        terminal.sees("no row contains “quit”")
        terminal.send("\x1b")
        terminal.until(lambda: "no row" not in terminal.text, "the rows again")
        terminal.send("7")
        terminal.sees("time s  what")
        terminal.send("/run t")
        terminal.sees("no row contains “run t”")
        terminal.send("\x1b")
        terminal.until(lambda: "no row" not in terminal.text, "the rows again")
        terminal.send("/" + "x" * 20_000)

        def a_key_is_text() -> bool:
            """How much of what came at once is kept is for the loop to say; what comes later counts again."""
            terminal.send("x")
            return "no row contains “x" in terminal.text

        terminal.until(a_key_is_text, "a key after them")
        terminal.send("\x03")
        assert terminal.ended() == 0
        leaves_a_summary(terminal)
        terminal.is_restored()


def test_garbage_from_the_keyboard_does_no_harm() -> None:
    garbage = (
        bytes(range(0x80, 0x100)) * 4 + "日本語🙂\u202e".encode() + b"\x1b[999;999H\x1b[1;2;3;4X\x1b]0;x\x07"
    )
    with sockscope(*FEW, COLUMNS="100000", LINES="100000") as terminal:
        # A window that claims more than can be drawn, one without pixels, and the mouse in it.
        terminal.send(b"\x1b[?2048;1$y\x1b[48;99999;99999;9;9t\x1b[48;40;120;0;0t\x1b[<0;5;5M")
        terminal.send(b"\x1b[200~" + garbage + b"\r\n[bold]" * 100 + b"\x1b[201~")
        terminal.send(garbage)
        terminal.send(b"\x1b[<0;500;500M\x1b[<0;500;500m\x1b[M\xff\xff\xff")

        def a_key_works() -> bool:
            """One may still be taken for the end of an unfinished sequence; the next is a key again."""
            terminal.send("\x1b[27um")  # Escape first: garbage may have been a key that opens a sheet
            return re.search(r"mark \d", terminal.text) is not None

        terminal.until(a_key_works, "a marker")
        terminal.send("\x03")  # of the keys that it does not keep up with it drops any other
        assert terminal.ended() == 0
        has_no_traceback(terminal)
        terminal.is_restored()


def test_after_a_kill_nothing_goes_on_and_the_terminal_is_restored() -> None:
    port = unused_port()
    with sockscope(*FEW, "-p", str(port)) as terminal:
        assert port_of(terminal) == port
        terminal.child.kill()
        assert terminal.ended() == -signal.SIGKILL
        terminal.until(lambda: is_free(port), "the port")
        terminal.until(lambda: "without figures" in terminal.left_behind, "what was said")
        terminal.is_restored()


@pytest.mark.parametrize("hears", [True, False], ids=["SIGHUP", "SIGHUP ignored"])
def test_when_the_terminal_goes_the_run_is_kept_and_the_program_goes(tmp_path: Path, hears: bool) -> None:
    ignored = [] if hears else [signal.SIGHUP]
    # A loop that the machine holds up does not hear of it in time; a fault is heard of by none.
    for attempt in range(3):
        kept = tmp_path / f"{attempt}.db"
        with Terminal(COMMAND, *FEW, warm=True, ignored=ignored, SOCKSCOPE_HISTORY=str(kept)) as terminal:
            terminal.sees("RUNNING", "req/s")
            port = port_of(terminal)
            terminal.hang_up()
            code = terminal.child.wait(PATIENCE_S)
            assert is_free(port)
        if code == 0:
            break
    assert code == 0
    (row,) = History(kept).runs(10)
    assert row.requests_per_s is not None
    assert row.requests_per_s > 0


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Terminal(COMMAND, "-p", str(port), warm=True) as terminal:
            assert terminal.ended() == 1
            said = terminal.left_behind.strip()
            assert said.startswith(f"sockscope: cannot listen on 127.0.0.1:{port}: ")
            assert "\n" not in said
            terminal.is_restored()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_ctrl_z_suspends_and_fg_goes_on() -> None:
    bash = shutil.which("bash") or ""
    with Terminal(bash, "--norc", "--noprofile", "-i", PS1="ready> ") as terminal:
        terminal.sees("ready>")
        terminal.send(f"{COMMAND} {' '.join(FEW)}\r")
        terminal.sees("RUNNING", "req/s", "0 failed")
        terminal.send("?")
        terminal.sees("One step fewer clients")
        terminal.send("\x1a")  # it stops the program whatever is on the screen
        terminal.until(lambda: "Stopped" in terminal.left_behind, "the shell")
        terminal.send("stty -a | grep -c ' echo '; echo is-$((40+2))\r")
        terminal.until(lambda: "is-42" in terminal.left_behind, "the shell to work, with echo")
        terminal.send("fg\r")
        terminal.until(lambda: terminal.written.count(b"\x1b[?1049h") == 2, "the dashboard again")
        terminal.sees("One step fewer clients")
        terminal.send("?")
        terminal.sees("RUNNING", "1 Knobs", "6 Connections")
        terminal.send("m")
        terminal.sees("mark 1", "0 failed")
        terminal.send("q")
        terminal.until(lambda: "SockScope: TCP" in terminal.left_behind, "the summary")
        terminal.send("echo code=$?\r")
        terminal.until(lambda: "code=0" in terminal.left_behind, "its exit code")
        terminal.send("exit\r")
        assert terminal.ended() == 0
        has_no_traceback(terminal)


def goes_on(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; the shell may look late whether its job has."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_ctrl_z_stops_the_whole_job_and_a_stopped_one_can_be_ended() -> None:
    bash = shutil.which("bash") or ""
    with Terminal(bash, "--norc", "--noprofile", "-i", PS1="ready> ") as terminal:
        terminal.sees("ready>")
        terminal.send(f"sh -c '{COMMAND} {' '.join(FEW)}; true'\r")
        terminal.sees("RUNNING", "req/s")
        job = psutil.Process(terminal.child.pid).children(recursive=True)
        assert len(job) >= 2
        terminal.send("\x1a")
        terminal.until(lambda: "Stopped" in terminal.left_behind, "the shell")
        terminal.send("kill %1\r")
        terminal.until(lambda: not any(map(goes_on, job)), "the end of the job")
        # Twice: a shell that has not looked yet says first that there are stopped jobs.
        terminal.send("exit\rexit\r")
        terminal.ended()
        has_no_traceback(terminal)


@pytest.mark.parametrize("missing", ["stdin", "stdout"])
def test_without_a_terminal_it_says_what_to_use(missing: str) -> None:
    master, slave = os.openpty()
    streams: dict[str, int] = {"stdin": slave, "stdout": slave} | {missing: subprocess.DEVNULL}
    try:
        done = subprocess.run(
            [COMMAND],
            **streams,  # type: ignore[call-overload]
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 2
    assert done.stderr == "sockscope: the dashboard needs a terminal; without one, use: sockscope run\n"


def test_a_server_is_described_without_leaving_and_one_that_cannot_be_costs_no_run(tmp_path: Path) -> None:
    not_kept = tmp_path / "history.db"
    with sockscope("--no-history", *FEW, SOCKSCOPE_HISTORY=str(not_kept)) as terminal:
        terminal.sees("RUNNING", "1 Knobs")
        terminal.send("c")
        terminal.sees("Server and conversation", "target")
        terminal.send("\x1b[A" * 7)  # from the target to the last lines
        terminal.sees("as module:function, serves instead of a model")
        terminal.send("json:nosuch\r")
        terminal.sees("no new run, it goes", "RUNNING")
        terminal.send("q")
        assert terminal.ended() == 0
        leaves_a_summary(terminal)
        assert "kept as" not in terminal.left_behind
    assert not not_kept.exists()
