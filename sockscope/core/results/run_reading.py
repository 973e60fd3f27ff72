"""What lists and comparisons make of the report of a run: columns, estimates, and doubts about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sockscope.core.config.models import DEFAULT_SERVERS
from sockscope.core.results.batch_means import FEWEST, Batches
from sockscope.core.results.run_figures import CPU_PER_REQUEST, compared
from sockscope.core.results.schema import Estimate, Figure, Report, known
from sockscope.core.run.evidence import weighed
from sockscope.core.units import format_duration, format_ratio

SHORT_S = 1.0
"""Figures of less time say little."""
BUSIER_RATIO = 0.1
"""Runs that waited for a core by so different shares of the time that they wanted one are worth a word."""
UNEQUAL = 2.0
"""Runs of which one lasted this many times as long as the other are worth a word."""
VERDICT_KINDS = ("verdict.kind", "limit.name")
"""Who limited a run; older results have it in fewer words alone."""
FIGURES: Mapping[str, Figure] = dict(compared())
"""The figures of a comparison by their dotted names."""


def main_section(report: Report) -> str:
    """Return the section whose counts are the run's: the server's where it ran alone."""
    return main_section_of(known(report, "experiment.role"))


def main_section_of(role: object) -> str:
    """Return the same for a run of this role (``both``, ``server``, ``swarm``, ``relay``)."""
    return "server" if role == "server" else "totals"


def verdict_told(report: Report) -> str:
    """Return what limited a run, of an older result too, which has it in fewer words; empty if unknown."""
    for kind, sentence in zip(VERDICT_KINDS, ("verdict.sentence", "limit.text"), strict=True):
        if told := known(report, sentence):
            return f"{known(report, kind)}: {told}"
    return ""


def evidence_told(report: Report) -> Iterator[str]:
    """Yield the figures that the verdict on a run stands on, one by one: ``permits in flight: 5 >= 5``."""
    for one in (known(report, "verdict") or {}).get("evidence", ()):
        value, threshold = weighed(known(one, "value"), known(one, "unit"), known(one, "threshold"))
        yield f"{known(one, 'name')}: {value} {threshold}".rstrip() + f" ({known(one, 'source')})"


def verdicts_differ(a: Report, b: Report) -> tuple[str, str] | None:
    """Return who limited each of two runs, in words that both have, where that is not the same."""
    for name in VERDICT_KINDS:
        kinds = known(a, name), known(b, name)
        if None not in kinds:
            return kinds if kinds[0] != kinds[1] else None
    return None


def columns(report: Report) -> dict[str, Any]:
    """Return what lists show of a run, by the names of their columns."""
    main, transport = main_section(report), known(report, "experiment.transport")
    model = known(report, "experiment.server")
    return {
        "transport": transport,
        "server": DEFAULT_SERVERS.get(transport) if model == "default" else model,
        "client": known(report, "experiment.client"),
        "clients": known(report, "experiment.clients"),
        "duration_s": known(report, "duration_s"),
        "requests_per_s": known(report, "rates.requests_per_s"),
        "p99_s": known(report, "service_time_s.p99"),
        "failed": _failed(report, main),
    }


def _failed(report: Report, main: str) -> int:
    """Return how many requests failed, of an older result too, which has only the parts."""
    return sum(known(report, f"{main}.{name}") or 0 for name in ("timeouts", "errors"))


def estimates(report: Report) -> dict[str, dict[str, Estimate]]:
    """Return the figures of a run; it is one subject, without a name."""
    return {"": {name: _estimate(report, name) for name in FIGURES}}


def _estimate(report: Report, name: str) -> Estimate:
    main = main_section(report)
    return Estimate(_value(report, name, main), basis(report, name, main), batches=_batches_of(report, name))


def _batches_of(report: Report, name: str) -> Batches | None:
    found = report.get("batches") or {}
    values, waiting = found.get("figures", {}).get(name, ()), found.get("waiting_ratio", ())
    if len(values) < FEWEST or None in values:
        return None
    known_waiting = len(waiting) == len(values) and None not in waiting
    return Batches(tuple(values), tuple(waiting) if known_waiting else (0.0,) * len(values))


def waiting_ratio(report: Report) -> float | None:
    """Return the share of the processor time wanted by all processes for which they waited."""
    uses = [(known(use, "cpu_s"), known(use, "core_wait_s")) for use in report["processes"]]
    if not uses or any(used is None or waited is None for used, waited in uses):
        return None
    used, waited = (sum(each) for each in zip(*uses, strict=True))
    return waited / (used + waited) if used + waited > 0 else None


def _value(report: Report, name: str, main: str) -> float | None:
    return _cpu_s_per_request(report, main) if name == CPU_PER_REQUEST else known(report, name)


def basis(report: Report, name: str, main: str) -> float | None:
    """Return what is compared of a figure: itself, or its share per request of the section ``main``."""
    value = _value(report, name, main)
    return _per_request(report, value, main) if FIGURES[name].per_request else value


def _cpu_s_per_request(report: Report, main: str) -> float | None:
    """Return the processor time of all processes, wherever the roles were placed, per answer."""
    uses = [known(use, "cpu_s") for use in report["processes"]]
    answered = known(report, f"{main}.responses")
    return sum(uses) / answered if None not in uses and answered else None


def _per_request(report: Report, count: float | None, main: str) -> float | None:
    """Return a count per request of the run; without requests only nothing has a share."""
    requests = known(report, f"{main}.requests")
    if count is None or requests is None:
        return None
    if requests:
        share: float = count / requests
        return share
    return 0.0 if count == 0 else None


def doubts(name: str, report: Report) -> Iterator[str]:
    """Yield why the figures of a run are not to be relied on; ``name`` begins each sentence."""
    if error := known(report, "error"):
        yield f"{name} {'failed' if known(report, 'state') == 'failed' else 'fell short'}: {error}"
    if reason := known(report, "invalid_reason"):
        yield f"{name} is not valid: {reason}"
    if known(report, "warming_up"):
        yield f"{name} ended while it was warming up"
    elif (known(report, "duration_s") or 0.0) < SHORT_S:
        yield f"{name} measured only {format_duration(known(report, 'duration_s'))}"
    elif report.get("batches") is None:
        measured = format_duration(known(report, "duration_s"))
        yield f"{name} measured {measured}, without batches that tell a difference from chance"
    if times := known(report, "tunings"):
        turned = "once" if times == 1 else f"{times:,} times"
        yield f"{name} was tuned {turned} while it ran: its figures mix before and after"


def pair_doubts(a: Report, b: Report) -> Iterator[str]:
    """Yield why the figures of two runs may not be comparable."""
    lasted = [known(one, "duration_s") or 0.0 for one in (a, b)]
    if max(lasted) > UNEQUAL * min(lasted):
        yield f"A lasted {format_duration(lasted[0])} and B {format_duration(lasted[1])}"
    a_waited, b_waited = (waiting_ratio(one) or 0.0 for one in (a, b))
    if abs(a_waited - b_waited) > BUSIER_RATIO:
        yield (
            f"other programs took more of the machine from {'A' if a_waited > b_waited else 'B'}: of the "
            f"processor time it wanted A waited for {format_ratio(a_waited)}, B for {format_ratio(b_waited)}"
        )
    roles = [known(one, "experiment.role") for one in (a, b)]
    if roles[0] != roles[1]:
        yield f"other roles ran ({roles[0]} → {roles[1]}): some figures are of one side only"
