from sockscope.core.censoring import Ages, percentiles
from sockscope.core.histogram import Histogram
from sockscope.core.results.percentile_text import percentile_text


def rows_of(text: str) -> list[list[float]]:
    lines = text.splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    return [list(map(float, line.split())) for line in lines[1:] if line and not line.startswith("#")]


def test_each_row_is_a_percentile_of_the_histogram() -> None:
    histogram = Histogram()
    histogram.add_all(0.001 * number for number in range(1, 1_001))
    rows = rows_of(percentile_text(histogram, Ages(), "service time"))
    shares = [share for _, share, _, _ in rows]
    assert shares[:7] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55]
    assert [ms for ms, *_ in rows] == [
        round(value * 1_000, 3) for value in histogram.percentiles(shares) if value is not None
    ]
    assert all(abs(inverse - 1 / (1 - share)) < 0.01 for _, share, _, inverse in rows[:-1])
    assert rows[-1][1:] == [1, 1_000, float("inf")]


def test_what_got_no_answer_is_behind_all_answers_and_said_to_be_a_lower_bound() -> None:
    answered, unanswered = Histogram(), Ages()
    answered.add_all([0.010] * 90)
    for _ in range(4):
        unanswered.add_exactly(0.002)  # given up before the slowest answer came: as slow as that at least
    for _ in range(6):
        unanswered.add_exactly(1.0)
    text = percentile_text(answered, unanswered, "service time")
    rows = rows_of(text)
    for ms, share, *_ in rows:
        [known] = percentiles(answered, unanswered, [share])
        assert known is not None
        assert abs(ms - known * 1_000) <= 0.008 * ms
    assert rows[-1][:3] == [1_000, 1, 100]
    assert {ms for ms, share, *_ in rows if share > 0.94} == {1_000}
    assert "# 10 of 100 got no answer: from percentile 0.900000 on" in text
    assert "#[Max     =     1000.000, Total count    =          100]" in text


def test_nothing_has_no_rows() -> None:
    text = percentile_text(Histogram(), Ages(), "service time")
    assert rows_of(text) == []
    assert "Total count    =            0" in text
