"""Whether the causes of lost datagrams add up to the datagram, and agree with the kernel.

``python -m benchmarks.udp_causes --rounds 20`` makes runs of random load, size and buffers over UDP in a
network namespace of its own (``unshare --user --map-root-user --net``), where nobody else's datagrams are in
the counters. While a run goes on, and when it has come to rest, each direction has to add up, with nothing
that is not explained, and the sums of both must be those of ``/proc/net/snmp``: InDatagrams, OutDatagrams and
RcvbufErrors, SndbufErrors. It prints a line for each round and ends with 1 when one is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from subprocess import DEVNULL

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.datagrams import Flow, flows
from sockscope.core.run.snapshot import Snapshot
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory

INSIDE = "SOCKSCOPE_OWN_NAMESPACE"
UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
MOST_TRIES = 10
"""How often it is looked until the kernel has counted nothing meanwhile."""
LIVE_LOOKS = 8
LOOK_S = 0.1
REST_S = 20.0
MTUS = (65_536, 1_500)
"""Of the loopback: with the smaller one large datagrams are sent in fragments, which fill a send buffer."""


QUEUES = (
    "",
    "tc qdisc add dev lo root tbf rate 20mbit burst 20kb limit 30kb",
    "tc qdisc add dev lo root tbf rate 20mbit burst 20kb limit 3mb",
)
"""Of the loopback: none, one that drops what it does not hold, and one that fills send buffers."""
DEL_QUEUE = "tc qdisc del dev lo root"


def a_tuning(pick: random.Random) -> Tuning:
    """Return a load of which some part is lost as a rule."""
    depth = pick.choice((1, 1, 8, 64))
    return Tuning(
        transport="udp",
        place="loop",
        clients=pick.choice((1, 3, 20, 100, 300)),
        permits=0,
        depth=depth,
        batch=pick.choice((1, depth)),
        rate=pick.choice((0, 0, 2_000, 20_000)) if depth == 1 else 0,
        arrivals=pick.choice(("uniform", "poisson")),
        request_bytes=pick.choice((16, 64, 512, 4_000, 30_000)),
        service_time_s=pick.choice((0.0, 0.0, 0.001, 0.02)),
        rcvbuf_bytes=pick.choice((0, 1_000, 10_000, 100_000)),
        sndbuf_bytes=pick.choice((0, 1_000, 10_000)),
        request_timeout_s=pick.choice((0.05, 0.3)),
    )


def counters() -> dict[str, int]:
    """Return the UDP counters of this namespace, IPv4."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text("ascii").splitlines()]
    names, values = [words[1:] for words in lines if words[0] == "Udp:"]
    return dict(zip(names, map(int, values), strict=True))


def faults(snapshot: Snapshot, kernel: dict[str, int] | None, *, at_rest: bool, joined: bool) -> list[str]:
    """Return what does not add up, without the kernel's counters or with them.

    Of datagrams ``joined`` in one call it counts one sent.
    """
    both = [flow for flow in flows(snapshot) if flow is not None]
    found = []
    for flow in both:
        if flow.sent != sum(value for value in parts(flow).values() if value is not None):
            found.append(f"{flow} does not add up")
        if flow.not_explained or (at_rest and flow.on_the_way):
            found.append(f"{flow} is not explained")
    total = {f.name: sum(getattr(flow, f.name) or 0 for flow in both) for f in fields(Flow)}
    seen = {
        "InDatagrams": total["received"] + total["late"] + total["unread"],
        "RcvbufErrors": total["receive_buffer"],
        "SndbufErrors": total["send_buffer"] + total["device_queue"],
        "OutDatagrams": total["sent"] - total["send_buffer"] - total["device_queue"],
    }
    # Of more than 512 clients not all buffers are looked at each time: what was dropped there is on the way.
    unseen = 0 if at_rest else total["on_the_way"]
    for name, count in seen.items():
        if (
            kernel is not None
            and not count <= kernel[name] <= count + unseen * (name == "RcvbufErrors")
            and not (joined and name in ("OutDatagrams", "SndbufErrors"))
        ):
            found.append(f"{name} {kernel[name]:,}, and {count:,} were counted")
    return found


def parts(flow: Flow) -> dict[str, int | None]:
    """Return all figures of a direction but their sum."""
    return {f.name: getattr(flow, f.name) for f in fields(Flow) if f.name != "sent"}


def turned(tuning: Tuning, pick: random.Random) -> Tuning:
    """Return what is turned in the middle of a run, so that sockets are closed with datagrams in them."""
    return replace(
        tuning,
        clients=max(1, tuning.clients // pick.choice((1, 2, 10))),
        client=pick.choice(("selector", "protocol", "streams")),
        rcvbuf_bytes=pick.choice((tuning.rcvbuf_bytes, 2_000)),
    )


async def a_run(tuning: Tuning, seed: int, *, queued: bool) -> tuple[Snapshot, list[str]]:
    """Make a run; return how it ended, and what did not add up."""
    engine = Engine(Experiment(tuning=tuning, seed=seed).validated())
    before, wrong = counters(), []

    def look(*, at_rest: bool) -> Snapshot:
        for _ in range(MOST_TRIES):
            earlier, snapshot, now = counters(), engine.snapshot(), counters()
            if earlier == now:
                break  # else the kernel's own thread has delivered or dropped something between the two
        since = {name: value - before[name] for name, value in now.items()}
        # Out of a queue they come at any time, and so between a snapshot and the counters.
        known = since if at_rest or not queued else None
        wrong.extend(faults(snapshot, known, at_rest=at_rest, joined=tuning.batch > 1))
        return snapshot

    await engine.start()
    try:
        for number in range(LIVE_LOOKS):
            await asyncio.sleep(LOOK_S)
            look(at_rest=False)
            if number == LIVE_LOOKS // 2:
                await engine.apply(turned(tuning, random.Random(seed)))
        await engine.conclude()
        async with asyncio.timeout(REST_S):
            while not rests(engine.snapshot()):
                await asyncio.sleep(LOOK_S)
        return look(at_rest=True), wrong
    finally:
        await engine.stop()


def rests(snapshot: Snapshot) -> bool:
    """Whether nothing is under way, nor anything unread."""
    swarm, server = snapshot.swarm, snapshot.server
    assert swarm is not None
    assert server is not None
    return not (swarm.in_flight or swarm.undecided or swarm.unread_bytes or server.unread_bytes)


def told(tuning: Tuning, snapshot: Snapshot) -> str:
    """Return a run in one line."""
    load = f"{tuning.clients} x {tuning.depth} of {tuning.request_bytes} B, rate {tuning.rate}"
    directions = []
    for flow in flows(snapshot):
        assert flow is not None
        directions.append(
            f"{flow.sent:,} = " + " + ".join(f"{n:,} {name}" for name, n in parts(flow).items() if n)
        )
    return f"{load}: " + "; ".join(directions)


def inside(rounds: int, seed: int) -> int:
    """Make the runs, in a namespace of our own."""
    pick, wrong_rounds = random.Random(seed), 0
    for number in range(1, rounds + 1):
        mtu = pick.choice(MTUS)
        tuning = a_tuning(pick)
        # Of a datagram in fragments a queue may drop a part, which nobody counts as a datagram.
        limit = pick.choice(QUEUES) if tuning.request_bytes < mtu == min(MTUS) else ""
        for command in (f"ip link set lo up mtu {mtu}", DEL_QUEUE, limit):
            if command:
                subprocess.run(command.split(), check=command != DEL_QUEUE, timeout=10, stderr=DEVNULL)
        with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
            snapshot, wrong = runner.run(a_run(tuning, number, queued=bool(limit)))
        wrong_rounds += bool(wrong)
        print(
            f"{number:2}  {'wrong' if wrong else 'right'}  mtu {mtu} {limit[29:]}  {told(tuning, snapshot)}",
            flush=True,
        )
        for fault in wrong[:4]:
            print(f"      {fault}", flush=True)
    print(f"{rounds - wrong_rounds} of {rounds} add up", flush=True)
    return int(wrong_rounds > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Go into a namespace of our own, and make the runs there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.udp_causes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if os.environ.get(INSIDE):
        return inside(options.rounds, options.seed)
    words = ("--rounds", str(options.rounds), "--seed", str(options.seed))
    limit_s = 30.0 + options.rounds * 5.0 + REST_S
    again = (*UNSHARE, sys.executable, "-m", "benchmarks.udp_causes", *words)
    return subprocess.run(again, env={**os.environ, INSIDE: "1"}, timeout=limit_s, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
