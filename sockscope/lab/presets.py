"""Races that are worth running, as data: a workload, and what the contestants differ in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.fields import Value
from sockscope.core.config.models import CLIENTS
from sockscope.core.results.contest import (
    DEFAULT_ROUNDS,
    DEFAULT_SLICE_S,
    DEFAULT_WARMUP_S,
    Contest,
    Published,
)
from sockscope.errors import ConfigError, FieldFault
from sockscope.lab.contestants import (
    ContestantSpec,
    address_faults,
    all_entries,
    contestants_of,
    own_code_faults,
    varied,
)

WORKLOAD: Mapping[str, Value] = {"permits": 0, "service_time": 0.0, "place": "apart"}
"""What a race has where nothing else is said: no limit, no service time, a process for each role."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A race by name. ``entries`` returns the contestants; ``workload`` goes before :data:`WORKLOAD`."""

    name: str
    summary: str
    entries: Callable[[], tuple[ContestantSpec, ...]]
    workload: Mapping[str, Value] = field(default_factory=dict)
    rounds: int = DEFAULT_ROUNDS
    slice_s: float = DEFAULT_SLICE_S
    warmup_s: float = DEFAULT_WARMUP_S
    baseline: str = ""
    note: str = ""
    published: tuple[Published, ...] = ()


def _entries(*entries: ContestantSpec) -> Callable[[], tuple[ContestantSpec, ...]]:
    return lambda: entries


def _each(key: str, values: tuple[Value, ...], **rest: Value) -> Callable[[], tuple[ContestantSpec, ...]]:
    return lambda: tuple(ContestantSpec({**rest, key: value}) for value in values)


GUIDE_NOTE = (
    "The factor of 11.7 in programming guides is about waiting, not about sockets: one at a time, 100 "
    "clients wait 100 times 100 ms; all at once they wait 100 ms. Without the waiting it is gone: "
    "--service-time 0."
)

_PRESETS = (
    Preset(
        "guide",
        "100 clients at once, each connects, asks once and closes; 100 ms of service time",
        _entries(
            ContestantSpec({"server": "blocking"}),
            ContestantSpec({"server": "streams", "loop": "asyncio"}),
            ContestantSpec({"server": "protocol", "loop": "uvloop"}),
        ),
        {"clients": 100, "requests": 100, "lifetime": 1, "service_time": 0.1, "timeout": 60.0},
        rounds=3,
        baseline="blocking",
        note=GUIDE_NOTE,
        published=(
            Published("blocking", 10.23, 9.78, 0.10, 15_200_000, 1.0),
            Published("streams/asyncio", 0.87, 114.94, 0.35, 18_700_000, 11.7),
        ),
    ),
    Preset(
        "echo",
        "persistent connections, no service time, every server model",
        lambda: all_entries("tcp"),
        baseline="protocol/uvloop",
        note="The blocking server serves one connection until it ends; the other clients wait and time out.",
    ),
    Preset(
        "connections",
        "a connection for each request, every server model",
        lambda: all_entries("tcp"),
        {"lifetime": 1},
        baseline="protocol/uvloop",
    ),
    Preset(
        "allocator",
        "asyncio's Protocol with malloc as it comes, calmed and tuned; BufferedProtocol; uvloop",
        _entries(
            ContestantSpec({"server": "protocol", "loop": "asyncio", "allocator": "default"}),
            ContestantSpec({"server": "protocol", "loop": "asyncio", "allocator": "calm"}),
            ContestantSpec({"server": "protocol", "loop": "asyncio", "allocator": "tuned"}),
            ContestantSpec({"server": "buffered", "loop": "asyncio", "allocator": "default"}),
            ContestantSpec({"server": "protocol", "loop": "uvloop", "allocator": "default"}),
        ),
        note="asyncio reads into 256 KiB at a time; by default glibc may map and unmap these for every read "
        "(CPython issue 85451). Most of what uvloop gains over it is malloc.",
    ),
    Preset(
        "semaphore",
        "the same server under 1 to 1,000 permits: 1,000 clients, 5 ms of service time",
        _each("permits", (1, 10, 50, 100, 200, 500, 1_000), server="protocol", loop="uvloop"),
        {"clients": 1_000, "service_time": 0.005, "timeout": 30.0},
    ),
    Preset(
        "udp",
        "datagrams, every server model",
        lambda: all_entries("udp"),
        {"transport": "udp"},
        baseline="datagram/uvloop",
    ),
    Preset(
        "loss",
        "datagrams at a rate, whatever the answers do: what is lost by rate, size and receive buffer",
        _entries(
            *(
                ContestantSpec({"rate": rate, "size": size, "rcvbuf": rcvbuf})
                for rate in (2_000, 10_000)
                for size in (64, 1_400)
                for rcvbuf in (4_096, 65_536, 4_194_304)
            )
        ),
        {"transport": "udp", "arrivals": "poisson", "clients": 100, "timeout": 0.2},
        rounds=3,
        note="A datagram that finds the receive buffer full is dropped, and its request times out. A buffer "
        "counts what a datagram takes in memory, a few hundred bytes beyond its own. sockscope run -u "
        "tells where each went.",
    ),
    Preset(
        "batch",
        "pipelining: 1, 8 and 64 requests under way per client, each written by itself or all with one call",
        _entries(
            *(
                ContestantSpec({"loop": "uvloop", "depth": depth, "batch": batch})
                for depth, batch in ((1, 1), (8, 1), (8, 8), (64, 1), (64, 8), (64, 64))
            )
        ),
    ),
    Preset(
        "pool",
        "100 clients over a pool of 1, 10 and 50 connections, one connection each, and one for each request",
        _entries(
            ContestantSpec({"lifetime": 1}, "one for each request"),
            *(ContestantSpec({"pool": size}, f"a pool of {size}") for size in (1, 10, 50)),
            ContestantSpec({}, "one for each client"),
        ),
        {"server": "protocol", "loop": "uvloop", "service_time": 0.001},
    ),
    Preset(
        "clients",
        "every client model against the same server, over either transport",
        _each("client", CLIENTS, loop="uvloop"),
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _PRESETS}

_NO_PRESET = Preset("", "", lambda: ())


def defaults_of(preset: Preset | None) -> dict[str, Value]:
    """Return the fields that a race has where nobody says otherwise, by their keys."""
    chosen = preset or _NO_PRESET
    return {**WORKLOAD, "warmup": chosen.warmup_s, **chosen.workload}


def workload_of(preset: Preset) -> Experiment:
    """Return the workload of a preset as it is."""
    return Experiment().with_values(defaults_of(preset))


def contest_of(
    workload: Experiment,
    preset: Preset | None = None,
    entries: Sequence[ContestantSpec] = (),
    vary: Sequence[tuple[str, tuple[Value, ...]]] = (),
    *,
    rounds: int | None = None,
    slice_s: float | None = None,
    baseline: str = "",
) -> Contest:
    """Return the contest of a preset, or of ``entries``, under ``workload``; each entry once for each value.

    With both, the entries race under the name and the terms of the preset. Raises ConfigError with every
    fault, and when nobody is left to race.
    """
    chosen = preset or _NO_PRESET
    contestants, left_out = contestants_of(varied(entries or chosen.entries(), vary), workload)
    if not contestants:
        raise ConfigError([FieldFault("contestant", name, why) for name, why in left_out])
    faults = [
        *own_code_faults(contestants, Experiment().with_values(WORKLOAD)),
        *address_faults(contestants),
    ]
    if faults:
        raise ConfigError(faults)
    takes_part = {contestant.name for contestant in contestants}
    return Contest(
        contestants=contestants,
        rounds=chosen.rounds if rounds is None else rounds,
        slice_s=chosen.slice_s if slice_s is None else slice_s,
        # Every race waits until its clients are ready.
        warmup_s=max(0.0, workload.warmup_s),
        requests=workload.requests,
        baseline=baseline or (chosen.baseline if chosen.baseline in takes_part else ""),
        preset=chosen.name,
        note=chosen.note,
        published=chosen.published,
        left_out=left_out,
    ).validated()
