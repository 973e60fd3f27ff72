"""What a sweep looks like: text, plots, Markdown, CSV, SVG and exit codes, from results that are given."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace

import pytest

from sockscope.core.results.scaling import curves
from sockscope.core.results.standing import Standing
from sockscope.core.results.usl import Law
from sockscope.errors import EXIT_INTERRUPTED
from sockscope.faces.rounds import RoundsForm, RoundsPlan, run_rounds
from sockscope.faces.sweep import SweepFace
from sockscope.faces.sweep_plot import plotted, positions
from sockscope.lab.sweep import Sweep
from tests.core.sweeps import design, standing
from tests.each import each

LAW = Law(1_000, 0.05, 0.002)


def of_law(values: Mapping[str, float]) -> float:
    return LAW.per_s(values["clients"])


def test_the_text_tells_steps_knee_law_and_peak() -> None:
    swept = design()
    text = SweepFace(Sweep(swept), {"cores": 2}).written(RoundsForm.TEXT, standing(swept, of_law))
    told = " ".join(text.split())
    assert text.startswith(
        "SockScope sweep: clients 1 … 128 in 8 steps, 6 rounds, slices of 1.00 s after 300 ms"
    )
    assert "      8  5,4" in text
    assert "knee: clients 16 (16 … 16), the first step with 95 % of the most throughput" in told
    assert "law: X(N) = λN / (1 + σ(N−1) + κN(N−1)), N clients: λ 1,0" in told
    assert "predicted peak: 22 clients (" in told
    assert "not to be believed" not in told
    assert "encloses the median at 97 %" in told


def test_a_plot_is_as_large_as_asked_and_rises_to_the_right() -> None:
    (curve,) = curves(swept := design(), standing(swept, lambda values: 100 * values["clients"]))
    lines = [*plotted(curve, 40, 8)]
    assert len(lines) == 10
    assert max(map(len, lines)) == len("13,440") + 1 + 40
    assert lines[0].rstrip()[-1] not in " ┤"
    assert lines[-1].split() == ["1", "clients,", "req/s", "(dotted:", "the", "law)", "128"]
    assert positions([0, 1, 10]) == [0, 0.5, 1]
    assert positions([1, 10, 100]) == pytest.approx([0, 0.5, 1])


@each("over", [("clients=1..128",), ("clients=1,2,8", "permits=off,5"), ("clients=5",)])
def test_every_form_can_be_written_of_whatever_was_measured(over: tuple[str, ...]) -> None:
    swept = design(*over)
    face, whole = SweepFace(Sweep(swept), {"cores": 2}), standing(swept, of_law)
    for stands in (whole, replace(whole, laps={}, cut_short=True), Standing(swept.contest)):
        for form in RoundsForm:
            assert face.written(form, stands).endswith("\n")
        assert ET.fromstring(face.chart(stands)).tag.endswith("svg")
    assert face.written(RoundsForm.CSV, whole).count("\n") == 1 + 6 * len(swept.steps)


def test_the_picture_has_room_for_a_law_that_rises_above_the_steps() -> None:
    swept = design()
    stands = standing(swept, lambda values: 100 * min(8, values["clients"]))
    chart = ET.fromstring(SweepFace(Sweep(swept), {}).chart(stands))
    (law,) = (path for path in chart.iter() if path.get("stroke-dasharray") == "1 3")
    heights = [float(point.split()[1]) for point in law.attrib["d"][1:].split("L")]
    rules = [
        float(path.attrib["d"].split()[1].split("H")[0]) for path in chart.iter() if "H" in path.get("d", "")
    ]
    assert min(heights) > min(rules)


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    swept = design("clients=1,2")
    face, whole = SweepFace(Sweep(swept), {}), standing(swept, of_law)
    bound = standing(swept, of_law, figures={"clients_cpu_ratio": 1.0})
    assert face.exit_code(whole, RoundsPlan()) == 0
    assert face.exit_code(bound, RoundsPlan()) == 0
    assert face.exit_code(bound, RoundsPlan(strict=True)) == 4
    assert face.exit_code(replace(whole, faults={"clients=2": "killed"}), RoundsPlan()) == 1
    assert face.exit_code(standing(swept, lambda _: 1e-9, lambda _: 1.0), RoundsPlan()) == 0
    none = standing(swept, of_law, figures={})
    silent = {
        name: tuple(replace(lap, requests_per_s=0.0) for lap in laps) for name, laps in none.laps.items()
    }
    assert face.exit_code(replace(none, laps=silent), RoundsPlan()) == 1
    told = capsys.readouterr().err
    assert "clients=2 could not be measured: killed" in told
    assert "the sweep failed: no request was answered" in told


def test_a_sweep_that_is_ended_before_anything_was_measured_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = Sweep(design("clients=1,2"))
    sweep.finish()
    assert run_rounds(SweepFace(sweep, {}), RoundsPlan(quiet=True)) == EXIT_INTERRUPTED
    told = capsys.readouterr()
    assert "0 of 6 rounds" in told.out
    assert told.err == "sockscope: the sweep was ended before anything was measured\n"
