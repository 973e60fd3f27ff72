"""The ``sockscope`` command and its subcommands.

What a command needs is imported when it runs: ``--help`` and ``--version`` load neither the engine nor
the dashboard.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from sockscope import __version__
from sockscope.cli.aim import aimed, anew, tapped, tapped_again
from sockscope.cli.faults import Faults
from sockscope.cli.flags import AS, cluster_flags, experiment_flags, typed
from sockscope.cli.history import diff, history, history_flags, history_of
from sockscope.cli.lessons import lesson, lessons
from sockscope.cli.look import look_flags, looked_for
from sockscope.cli.present import demo, present
from sockscope.cli.race import (
    contest_of,
    look_for_own_code,
    own_code_of,
    preset_of,
    presets_text,
    race_flags,
    race_plan,
)
from sockscope.cli.rounds import rounds_flags
from sockscope.cli.sections import Sectioned
from sockscope.cli.spec import (
    MOST_TOLD,
    Given,
    Layer,
    build,
    read_environment,
    read_flags,
    read_spec,
    to_toml,
    with_protocol,
)
from sockscope.cli.sweep import NOT_SWEPT, design_of, sweep_flags, sweep_plan
from sockscope.cli.terminal import need_terminal
from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.fields import Value
from sockscope.core.roles import RELAY, SERVER
from sockscope.core.units import format_duration, parse_duration
from sockscope.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, ConfigError, SockscopeError
from sockscope.faces.printing import printable_lines, say, take_standard_streams, tell

if TYPE_CHECKING:
    from sockscope.faces.output import Plan

F = TypeVar("F", bound=Callable[..., Any])
Params = Mapping[str, Any]

DEFAULT_DURATION_S = 10.0
"""How long ``run`` and ``swarm`` last when neither a duration nor a number of requests is given."""
SHORTEST_INTERVAL_S = 0.01
"""The least that ``--interval`` takes."""
LEAVE_S = 3.0
"""How long what the user's own code wants to be called at exit may take."""
_NOT_FIELDS = ("spec", "print_spec", "history", "no_history")
"""Flags that every command which runs something has besides the fields."""
_HELP = {"help_option_names": ["-h", "--help"]}
_TIMED = {"duration": "10 s, or until -n is reached"}
_RACED = {
    "permits": "off", "service_time": "0", "place": "apart", "warmup": "300 ms",
    "requests": "none: the rate is measured",
}  # fmt: skip
_SWEPT = {key: value for key, value in _RACED.items() if key != "requests"}


class App(Sectioned, click.Group):
    """A group whose commands end with exit codes and sentences instead of tracebacks."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command line and exit."""
        sys.exit(_exit_code(lambda: super(App, self).main(*args, **{**extra, "standalone_mode": False})))


def main() -> None:
    """Run the command line as a process, and exit."""
    take_standard_streams()
    # Called last of all: at its very end Python would give a handler's signal back to the kernel.
    atexit.register(_on_request, signal.SIG_IGN)
    try:
        app(prog_name="sockscope")
    except SystemExit as leaving:
        code = int(leaving.code or 0)
        own_code = sys.modules.get("sockscope.engine.own_code")
        if own_code is not None and own_code.has_run_here():
            _leave(code)
        _on_request(lambda *_: os._exit(code))
        raise


def _leave(code: int) -> NoReturn:
    """End the process although the user's own code may have left behind what never ends.

    Processes that it has begun are ended, threads are not waited for, and what it has registered to be called
    at exit has a time, and none once somebody asks for the end; coroutines and objects are not brought to an
    end. What is called may keep the interpreter's lock.
    """
    from sockscope.engine.process_tree import end_descendants
    from sockscope.faces.watchdog import exit_on, keep_for_exit

    end_descendants()
    keep_for_exit(exit_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM), code)
    signal.setitimer(signal.ITIMER_REAL, LEAVE_S)
    atexit._run_exitfuncs()
    with contextlib.suppress(Exception):  # the streams may be the user's own by now
        sys.stdout.flush()
    os._exit(code)


def _on_request(action: Any) -> None:
    """Let ``action`` follow on Ctrl+C and SIGTERM, when the exit code is decided."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, action)


def _exit_code(command: Callable[[], Any]) -> int:
    """Run a command and return what it ends with; whatever went wrong is told on stderr."""
    try:
        code = command()
        sys.stdout.flush()
    except SockscopeError as error:
        say(_sentence(error))
        return error.exit_code
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        sys.stderr.write(printable_lines(told.getvalue()))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        say("too many open files; raise the limit (ulimit -n 1024) and try again")
        return EXIT_USAGE
    return code if isinstance(code, int) else EXIT_OK


@click.group(cls=App, invoke_without_command=True, context_settings=_HELP)
@click.version_option(__version__, message="sockscope %(version)s")
@experiment_flags("both")
@history_flags
@look_flags
@click.pass_context
def app(ctx: click.Context, /, **params: Any) -> None:
    """See what sockets do: real servers, real clients, and every knob turns while they run.

    Without a subcommand the dashboard opens. A field can also be given in a TOML file (--spec) or as an
    environment variable (SOCKSCOPE_CLIENTS=200); a flag overrides both. Numbers take suffixes:
    10k, 64K, 250ms, 5m.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_flags_before(ctx.invoked_subcommand, params)
        return
    experiment = _experiment(params)
    if params["print_spec"]:
        tell(to_toml(experiment))
        return
    need_terminal()
    from sockscope.faces.tui.run import run_dashboard
    from sockscope.lab.environment import environment

    with _called_as_given(params):
        _look_for_own_code(experiment)
        ctx.exit(run_dashboard(experiment, environment(), history_of(params), looked_for(params), anew))


def output_flags(command: F) -> F:
    """Add the flags that tell what a headless run writes, and where."""
    options = (
        click.option("--json", "json", is_flag=True, help="Write one JSON object at the end."),
        click.option("--json-stream", "json_stream", is_flag=True, help="Write a JSON object per interval."),
        click.option("--csv", "csv", is_flag=True, help="Write a line of CSV per interval."),
        click.option("-i", "--interval", default="1s", show_default=True, metavar="TIME",
                     help="Length of an interval."),
        click.option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout (-)."),
        click.option("--hdr", metavar="FILE",
                     help="Write the distribution of latencies as HdrHistogram's percentile text."),
        click.option("--hdr-of", type=click.Choice(["response", "service"]),
                     help="Which time that is of: the response time, unless there are no clients here."),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
        click.option("--fail-if", multiple=True, metavar="CONDITION",
                     help="Exit with 3 if this holds at the end, such as 'p99>20ms'; may be repeated."),
        click.option("--allow-invalid", is_flag=True,
                     help="Do not exit with 4 although the clients were the limit of an open loop."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@app.command(cls=Sectioned, context_settings=_HELP)
@experiment_flags("both", _TIMED)
@output_flags
@history_flags
@click.pass_context
def run(ctx: click.Context, /, **params: Any) -> None:
    """Run server and clients without a screen, and print a summary."""
    _run(ctx, params, _experiment(params, timed=True))


@app.command(cls=Sectioned, context_settings=_HELP)
@experiment_flags("server")
@output_flags
@history_flags
@click.pass_context
def serve(ctx: click.Context, /, **params: Any) -> None:
    """Run only the server, for any client, until Ctrl+C.

    The first line on stdout is its address.
    """
    _run(ctx, params, _experiment(params, {"role": "server"}))


@app.command(cls=Sectioned, context_settings=_HELP)
@click.argument("target", metavar="HOST:PORT", required=False)
@experiment_flags("swarm", _TIMED)
@output_flags
@history_flags
@click.pass_context
def swarm(ctx: click.Context, /, target: str | None, **params: Any) -> None:
    """Run only the clients, against a server that runs elsewhere.

    It may be any echo server; or say what to send (--request) and how answers end (--expect, --until).
    """
    _run(ctx, params, _swarm_experiment(target, params))


@app.command(cls=Sectioned, context_settings=_HELP)
@click.argument("listen", metavar="LISTEN")
@click.argument("target", metavar="TARGET")
@experiment_flags("relay", without=("bind", "port", "target", "family"))
@output_flags
@history_flags
@look_flags
@click.pass_context
def tap(ctx: click.Context, /, listen: str, target: str, **params: Any) -> None:
    """Stand between any client and any server, and see what they say.

    LISTEN is a port, HOST:PORT or unix:/path; TARGET is HOST:PORT or unix:/path. Point the client at LISTEN.
    HTTP/1, websockets, Redis, PostgreSQL and DNS are told apart as they are, TLS passes as bytes, and
    anything else is told apart by turns: an answer ends when the client speaks again, or after 100 ms of
    silence. The dashboard opens, unless the output, a duration or --quiet is asked for, or there is no
    terminal.
    """
    layers = _layers(params)
    also, leads = _given(layers).get("also"), Given(target, "TARGET")
    experiment = tapped(listen, leads, also, lambda fixed: build(layers, {}, fixed))
    if params["print_spec"] or _wants_no_screen(params):
        _run(ctx, params, experiment)
        return
    from sockscope.faces.tui.run import run_dashboard
    from sockscope.lab.environment import environment

    with _called_as_given(params):
        ctx.exit(run_dashboard(experiment, environment(), history_of(params), looked_for(params), anew))


@app.command(cls=Sectioned, context_settings=_HELP)
@click.argument("contestants", metavar="[MODEL[/LOOP[/CLIENT]]]...", nargs=-1)
@race_flags
@rounds_flags("contestant", "threaded")
@history_flags
@experiment_flags("both", _RACED, race=True)
@click.pass_context
def race(ctx: click.Context, /, **params: Any) -> None:
    """Compare servers: the same load for each, in turn, round after round.

    A contestant is a server model, the loop it runs on, and the model of its clients: protocol/asyncio,
    threaded, streams/uvloop/streams. The model may be your own code, as it is or in a revision of git:
    mine:handle, mine:handle@HEAD~1. Each server has a process of its own, and so have its clients, which run
    on uvloop. With -n the time is measured until so many requests are done, otherwise the rate.
    """
    if params["list_presets"]:
        tell(presets_text() + "\n")
        return
    preset = preset_of(params)
    from sockscope.lab.presets import defaults_of

    workload = build(_layers(params), defaults_of(preset), own_code_of(params))
    if params["print_spec"]:
        tell(to_toml(workload))
        return
    with _called_as_given(params):
        contest, kept = contest_of(params, preset, workload), history_of(params)
        look_for_own_code(contest)
    plan = race_plan(params, contest)
    from sockscope.faces.race import RaceFace
    from sockscope.faces.rounds import run_rounds
    from sockscope.lab.environment import environment
    from sockscope.lab.race import Race

    ctx.exit(run_rounds(RaceFace(Race(contest), environment()), plan, kept))


@app.command(cls=Sectioned, context_settings=_HELP)
@sweep_flags
@rounds_flags("step", "clients=8", "-d")
@history_flags
@experiment_flags("both", _SWEPT, without=NOT_SWEPT)
@click.pass_context
def sweep(ctx: click.Context, /, **params: Any) -> None:
    """Step through the values of a knob, or of two, and see where throughput stops rising.

    One server (yours with --target) and its clients are measured step by step, there and back again, round
    after round: throughput and latency of each step, the knee, and the universal scalability law that the
    steps follow; or with --find the highest value that keeps a bound.
    """
    from sockscope.lab.presets import defaults_of

    layers, endless = _layers(params), {"duration": 0.0, "requests": 0}
    target = _given(layers).get("target")

    def described(fixed: Mapping[str, Value]) -> Experiment:
        return build(layers, defaults_of(None), {**endless, **fixed})

    if target is None or target.raw == "":
        experiment = described({})
    else:
        experiment = aimed(target, _given(layers), described)
    if params["print_spec"]:
        tell(to_toml(experiment))
        return
    with _called_as_given(params):
        design, kept = design_of(params, experiment), history_of(params)
        _look_for_own_code(experiment)
    plan = sweep_plan(params, design)
    from sockscope.faces.rounds import run_rounds
    from sockscope.faces.sweep import SweepFace
    from sockscope.lab.environment import environment
    from sockscope.lab.find import Find
    from sockscope.lab.sweep import Sweep

    swept = Sweep(design) if design.find is None else Find(design)
    ctx.exit(run_rounds(SweepFace(swept, environment()), plan, kept))


@app.command(cls=Sectioned, context_settings=_HELP)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@cluster_flags
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, **params: Any) -> None:
    """Report what this machine allows, and how to fix what is missing.

    With --cluster, what the machine of each worker allows, too.
    """
    from sockscope.cli.doctor import examine, examine_workers, limits_of_workers, to_json, to_text

    layer = read_flags(typed(params))
    if layer and "cluster" not in layer:
        raise click.UsageError("--cluster is missing: whose workers should be looked at?")
    asked = build([layer], {}, {"place": CLUSTER}) if layer else None
    checks = examine()
    if asked is not None:
        from sockscope.engine.loops import run_on

        checks += examine_workers(run_on(asked.loop, limits_of_workers(asked)))
    tell((to_json(checks) if as_json else to_text(checks)) + "\n")
    ctx.exit(int(any(check.fatal for check in checks)))


app.add_command(history)
app.add_command(diff)
app.add_command(lesson)
app.add_command(lessons)
app.add_command(present)
app.add_command(demo)


def _wants_no_screen(params: Params) -> bool:
    """Tell whether a command that may have a screen is to do without."""
    asked = any(params[name] for name in ("json", "json_stream", "csv", "quiet", "output", "hdr", "fail_if"))
    return asked or "duration" in _given(_layers(params)) or not (sys.stdin.isatty() and sys.stdout.isatty())


def _experiment(params: Params, fixed: Mapping[str, Value] | None = None, timed: bool = False) -> Experiment:
    """Return the experiment of the flags, the environment and the file that ``params`` names."""
    layers = _layers(params)
    given = _given(layers)
    default = {} if not timed or given.keys() & {"duration", "requests"} else {"duration": DEFAULT_DURATION_S}
    target = given.get("target")
    role = given.get("role")
    if fixed is None and target is not None and role is not None and role.raw == RELAY:
        return tapped_again(given, lambda values: build(layers, default, values))
    if fixed is None and target is not None and target.raw != "":
        return _aimed_experiment(target, params, timed)
    return build(layers, default, fixed or {})


def _swarm_experiment(typed_target: str | None, params: Params) -> Experiment:
    given = _given(_layers(params)).get("target")
    if typed_target:
        given = Given(typed_target, "HOST:PORT")
    if given is None or given.raw == "":
        raise click.UsageError("HOST:PORT is missing: which server should the clients aim at?")
    return _aimed_experiment(given, params, timed=True)


def _aimed_experiment(target: Given, params: Params, timed: bool) -> Experiment:
    """Return the experiment of clients alone, aimed at a target that may be a name."""
    return aimed(target, _given(_layers(params)), lambda fixed: _experiment(params, fixed, timed))


def _layers(params: Params) -> list[Layer]:
    spec = [read_spec(params["spec"])] if params["spec"] is not None else []
    layers: list[Layer] = [*spec, read_environment(os.environ), read_flags(typed(params))]
    if params.get(AS):
        layers.append({"as": Given(params[AS], "--as")})
    return with_protocol(layers, clients=AS in params)


def _given(layers: list[Layer]) -> dict[str, Given]:
    return {key: value for layer in layers for key, value in layer.items()}


def _run(ctx: click.Context, params: Params, experiment: Experiment) -> None:
    stall = _given(_layers(params)).get("stall")
    if stall is not None and stall.is_typed and not experiment.stall_at_s:
        raise ConfigError.of(
            stall.name, stall.raw, "has no effect without --stall-at: there is no key to press"
        )
    plan = _plan(params, has_clients=experiment.role != SERVER)
    if params["print_spec"]:
        tell(to_toml(experiment))
        return
    from sockscope.faces.headless import run_headless
    from sockscope.lab.environment import environment

    with _called_as_given(params):
        _look_for_own_code(experiment)
        ctx.exit(run_headless(experiment, plan, environment(), history_of(params)))


@contextlib.contextmanager
def _called_as_given(params: Params) -> Iterator[None]:
    """Call a field that is wrong as the user did: by its flag, its variable, or its place in a file."""
    try:
        yield
    except ConfigError as error:
        given = _given(_layers(params))
        raise ConfigError(
            replace(fault, field=given[fault.field].name) if fault.field in given else fault
            for fault in error.faults
        ) from None


def _look_for_own_code(experiment: Experiment) -> None:
    """Raise ConfigError before anything starts when the module of the user's own server is not there."""
    if experiment.own_server:
        from sockscope.engine.own_code import look_for

        look_for(experiment)


def _plan(params: Params, has_clients: bool) -> Plan:
    """Return what is to be written and judged; raises ConfigError with every fault."""
    from sockscope.core.results.thresholds import Threshold
    from sockscope.faces.output import OutputForm, Plan

    faults = Faults()
    interval = faults.read("--interval", [params["interval"]], _parse_interval)
    thresholds = faults.read("--fail-if", params["fail_if"], Threshold.parse)
    forms = [form for form in (OutputForm.JSON, OutputForm.JSON_STREAM, OutputForm.CSV) if params[form.value]]
    if len(forms) > 1:
        names = " and ".join("--" + form.value.replace("_", "-") for form in forms)
        raise click.UsageError(f"{names} cannot be combined")
    for name in ("output", "hdr"):
        if params[name] == "":
            faults.add(f"--{name}", "", "is empty")
    where = params["output"] or "-"
    if params["hdr"] == where and (forms or where != "-"):
        faults.add("--hdr", where, "is where the figures go already")
    if (of := params["hdr_of"]) and params["hdr"] is None:
        faults.add("--hdr-of", of, "has no effect without --hdr")
    elif of == "response" and not has_clients:
        faults.add("--hdr-of", of, "is known to clients, and there are none here")
    faults.check()
    return Plan(
        form=forms[0] if forms else OutputForm.TEXT,
        path=params["output"],
        hdr_path=params["hdr"],
        hdr_of=of or ("response" if has_clients else "service"),
        interval_s=interval[0],
        quiet=params["quiet"],
        thresholds=tuple(thresholds),
        allow_invalid=params["allow_invalid"],
    )


def _parse_interval(text: str) -> float:
    interval_s = parse_duration(text)
    if interval_s < SHORTEST_INTERVAL_S:
        raise ValueError(f"must be at least {format_duration(SHORTEST_INTERVAL_S)}")
    return interval_s


def _refuse_flags_before(command: str, params: Params) -> None:
    """Flags belong after the command that they are for; before it they would be lost without a word."""
    before = [*read_flags(typed(params)).values()]
    names = [value.name for value in before] + [
        f"--{name.replace('_', '-')}" for name in _NOT_FIELDS if params[name]
    ]
    for name in ("theme", "ascii"):
        if params[name] is not None:
            given = f"no-{name}" if params[name] is False else name
            raise click.UsageError(f"--{given} is for the dashboard, and {command} has no screen")
    if names:
        raise click.UsageError(f"{names[0]} belongs after the command: sockscope {command} {names[0]} ...")


def _sentence(error: SockscopeError) -> str:
    """Return the message; several faults stand below each other."""
    if isinstance(error, ConfigError) and len(error.faults) > 1:
        told, more = error.faults[:MOST_TOLD], len(error.faults) - MOST_TOLD
        lines = [*(f"  {fault}" for fault in told), *([f"  and {more:,} more"] if more > 0 else [])]
        return "\n".join([f"{len(error.faults):,} things are wrong:", *lines])
    return str(error)
