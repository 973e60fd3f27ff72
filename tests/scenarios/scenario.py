"""Scenarios: a run as ``sockscope --spec`` reads it, what surrounds it, and the verdict that is expected.

A file of this folder (``*.toml``) is a spec, and behind it the table ``[scenario]``: ``kind`` and ``says``
are what the verdict has to be and a part of its sentence, and the rest is what surrounds the run. ``server``
and ``clients`` are peers of ``tests.scenarios.peers`` in processes of their own, ``hogs`` so many programs
that each take a core, ``descriptors`` the limit of the run (RLIMIT_NOFILE), ``before_others``
that it has the cores whatever others do (SCHED_RR), and ``sysctl`` and ``qdisc`` (of the loopback) what is
set in a network namespace that the run gets for itself. What ``needs_cores`` is another situation where
others take the cores, so it is provoked by the script alone (``benchmarks/scenarios.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sockscope.cli.spec import Given, build
from sockscope.core.config.experiment import Experiment
from tests.ports import unused_port

FOLDER = Path(__file__).parent
TABLE = "\n[scenario]\n"
WARMUP_S = 1.0
"""By then clients are connected, and peers that are to end or to stand still have."""
PEER_S = 180
"""Peers and hogs end by then, whatever becomes of who began them."""
COMMAND_S = 180.0
NAMESPACE = """
ip link set lo up && { test -z "$1" || tc qdisc add dev lo root $1; } || exit 9
shift
while test "$1" != --; do sysctl -qw "$1" || exit 9; shift; done
shift
exec "$@"
"""
"""A script that sets up a network namespace: a qdisc or nothing, assignments of sysctl, ``--``, a command."""


class Said(NamedTuple):
    """A verdict: its kind and its sentence."""

    kind: str
    sentence: str


@dataclass(frozen=True)
class Scenario:
    """One file: its spec as text, and the table behind it."""

    name: str
    spec: str
    kind: str
    says: str = ""
    server: str = ""
    clients: str = ""
    hogs: int = 0
    needs_cores: bool = False
    before_others: bool = False
    descriptors: int = 0
    sysctl: Mapping[str, str] = field(default_factory=dict)
    qdisc: str = ""

    @property
    def needs_command(self) -> bool:
        """Whether the run has to be a process of its own, begun in surroundings of its own."""
        return bool(self.descriptors or self.clients or self.before_others or self.in_namespace)

    @property
    def in_namespace(self) -> bool:
        """Whether the run gets a network namespace for itself."""
        return bool(self.sysctl or self.qdisc)

    @property
    def lacks(self) -> str:
        """What this machine does not allow and the scenario needs; empty when nothing is missing."""
        if self.in_namespace and not has_namespaces():
            return "network namespaces (unshare, ip, sysctl, tc)"
        if self.before_others and os.geteuid():
            return "the right to run before others (root)"
        return ""

    def holds(self, said: Said) -> bool:
        """Tell whether a verdict is the one that is expected."""
        return said.kind == self.kind and self.says in said.sentence

    def experiment(self, **more: Any) -> Experiment:
        """Return the experiment of the spec, with other values beside it."""
        if self.server:
            more["role"] = "swarm"
        layer = {key: Given(raw, key) for key, raw in {**tomllib.loads(self.spec), **more}.items()}
        return build([layer], {}, {})


def read(path: Path) -> Scenario:
    """Return the scenario of a file."""
    text = path.read_text("utf-8")
    spec, _, _ = text.partition(TABLE)
    return Scenario(path.stem, spec, **tomllib.loads(text)["scenario"])


def scenarios() -> list[Scenario]:
    """Return all scenarios, in the order of their names."""
    return [read(path) for path in sorted(FOLDER.glob("*.toml"))]


@contextmanager
def surroundings(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """Begin what surrounds a run; yield the fields that the run needs to find it."""
    with contextlib.ExitStack() as stack:
        for _ in range(scenario.hogs):
            stack.enter_context(_begun("-c", f"import signal; signal.alarm({PEER_S})\nwhile True: pass"))
        found: dict[str, Any] = {}
        if scenario.server:
            process = stack.enter_context(peer(scenario.server))
            assert process.stdout is not None
            found |= {"target": f"127.0.0.1:{int(process.stdout.readline())}", "pid": process.pid}
        if scenario.clients:
            found["port"] = unused_port()
            stack.enter_context(peer(scenario.clients, str(found["port"])))
        yield found


@contextmanager
def peer(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a peer of ``tests.scenarios.peers``; it has ended when this ends."""
    with _begun("-m", f"{__package__}.peers", *words) as process:
        yield process


@contextmanager
def _begun(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=FOLDER.parents[1], text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def commanded(scenario: Scenario, seconds: float, warmup_s: float = WARMUP_S) -> Said:
    """Run the scenario by the command, and return the verdict on the whole run.

    Raises RuntimeError when it told none.
    """
    with surroundings(scenario) as found, tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "spec.toml")
        spec.write_text(scenario.spec, "utf-8")
        command = "swarm" if scenario.server else "serve" if scenario.clients else "run"
        argv = [
            sys.executable,
            "-m",
            "sockscope",
            command,
            *([found.pop("target")] if scenario.server else []),
        ]
        argv += ["--spec", str(spec), "--quiet", "--no-history", "--json"]
        argv += ["--warmup", f"{warmup_s}s", "--duration", f"{seconds}s"]
        argv += [word for key, value in found.items() for word in (f"--{key}", str(value))]
        done = subprocess.run(
            _in_namespace(scenario, argv), cwd=FOLDER.parents[1], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=COMMAND_S, check=False,
            preexec_fn=_limit(scenario),
        )  # fmt: skip
    try:
        verdict = json.loads(done.stdout)["verdict"]
    except ValueError:
        raise RuntimeError(f"{scenario.name}: exit code {done.returncode}: {done.stderr[-500:]}") from None
    return Said(verdict["kind"], verdict["sentence"])


def _in_namespace(scenario: Scenario, argv: Sequence[str]) -> list[str]:
    if not scenario.in_namespace:
        return list(argv)
    assigned = [f"{name}={value}" for name, value in scenario.sysctl.items()]
    return [
        "unshare",
        "--net",
        "--map-root-user",
        "sh",
        "-c",
        NAMESPACE,
        "sh",
        scenario.qdisc,
        *assigned,
        "--",
        *argv,
    ]


def has_namespaces() -> bool:
    """Tell whether a run can get a network namespace for itself here."""
    tools = all(map(shutil.which, ("unshare", "ip", "sysctl", "tc")))
    entering = ["unshare", "--net", "--map-root-user", "true"]
    return tools and subprocess.run(entering, capture_output=True, check=False).returncode == 0


def _limit(scenario: Scenario) -> Callable[[], None] | None:
    """Return what the run is, before it is anything else; None where nothing is asked for."""

    def limit() -> None:
        if scenario.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (scenario.descriptors, scenario.descriptors))
        if scenario.before_others:
            # A nice value would be lost in the sessions of child processes (autogroups, sched(7)).
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    return limit if scenario.descriptors or scenario.before_others else None
