import pytest

from sockscope.core.results.race_thresholds import RaceThreshold
from sockscope.core.results.standing import rows
from tests.core.races import rates, two_servers
from tests.each import each

NAMES = ("slow", "fast", "protocol/uvloop permits=1")


def missed(text: str, **more: object) -> list[str]:
    return RaceThreshold.parse(text, NAMES).missed(
        (row.name, row.spreads) for row in rows(two_servers(**more))
    )


def test_a_condition_on_one_contestant() -> None:
    assert missed("slow.requests_per_s<1500") == [
        "requests_per_s<1500 holds: requests_per_s of slow is 1,000"
    ]  # fmt: skip
    assert missed("fast.requests_per_s<1500") == []
    assert missed("fast.ratio<2.5") == ["ratio<2.5 holds: ratio of fast is 2"]


def test_a_condition_on_everybody() -> None:
    assert missed("cpu>90%") == ["cpu>90% holds: cpu_ratio of fast is 97.0 %"]
    assert len(missed("p99>1ms")) == 2
    assert missed("errors>0") == []


def test_what_is_not_known_is_missed() -> None:
    assert missed("fast.p50>1s", laps={"slow": rates(1.0)}) == [
        "p50>1s cannot be judged: fast has no service_time_p50_s"
    ]


@each(
    ("text", "why"),
    [
        ("slow.request_per_s<1", "did you mean requests_per_s"),
        ("slow.cpu", "is not FIGURE"),
        ("nobody/asyncio.cpu>1", "before a dot may stand one of slow, fast"),
        ("protocol/uvloop permits=1.p99>x", "the value x"),
    ],
)
def test_what_is_no_condition_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RaceThreshold.parse(text, NAMES)
