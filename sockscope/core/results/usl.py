"""The universal scalability law, fitted to what was measured.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

is the throughput of N clients (or permits, processes, ...): ``lambda`` that of one, ``sigma`` the share of
the work that only one can do at a time (contention), ``kappa`` what each pair of them costs (coherency). With
``kappa`` above 0 more of them is less from the peak on, N* = sqrt((1 - sigma) / kappa) (Gunther, *Guerrilla
Capacity Planning*, chapters 4 and 5). With ``kappa`` 0 it is Amdahl's law, with both 0 a straight line.

**The fit.** What scatters in a throughput is a share of it, so relative residuals are squared. 1 / X(N) is
a / N + b + c N, linear in three numbers from which the others follow. Its relative linear least squares are
where the iteration starts: Gauss-Newton on ln X, each step halved until it leads down (Björck, *Numerical
Methods for Least Squares Problems*, 9.2). The normal equations of three scaled columns need no more than
Gaussian elimination.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PARAMETERS = 3
"""Fewer different N than that determine no law."""
_STEPS, _HALVINGS = 60, 40
_SMALL_ENOUGH = 1e-12

Point = tuple[float, float]
"""N, and the throughput per second of so many."""
_Terms = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Law:
    """A law with its three numbers; ``one_per_s`` is lambda, in requests per second."""

    one_per_s: float
    sigma: float
    kappa: float

    def divisor(self, n: float) -> float:
        """Return by how much N fall short of N times one."""
        return 1 + self.sigma * (n - 1) + self.kappa * n * (n - 1)

    def per_s(self, n: float) -> float:
        """Return the throughput of N."""
        return self.one_per_s * n / self.divisor(n)

    @property
    def peak(self) -> float | None:
        """The N with most throughput, of one or more; None where it always grows, or never does."""
        if self.kappa <= 0 or self.sigma >= 1:
            return None
        peak = math.sqrt((1 - self.sigma) / self.kappa)
        return peak if peak >= 1 else None


def fitted(points: Sequence[Point]) -> Law | None:
    """Return the law that is nearest to the points; None where they do not determine one.

    Of fewer than three different N, or points that are not above zero, there is none.
    """
    if len({n for n, _ in points}) < PARAMETERS or any(n < 1 or x <= 0 for n, x in points):
        return None
    start = _least_squares([_scaled(_terms(n), x) for n, x in points], [1.0] * len(points))
    if start is None or not _is_above(start, points):
        start = _amdahl(points)
    return None if start is None else _law_of(_refined(start, points))


def shortfall(law: Law, points: Sequence[Point]) -> float:
    """Return the root mean square of the relative residuals: 0.05 where points lie 5 % off as a rule."""
    return math.sqrt(sum(math.log(x / law.per_s(n)) ** 2 for n, x in points) / len(points))


def explained(law: Law, points: Sequence[Point]) -> float | None:
    """Return R squared, the share of the throughputs' variance that the law explains; None without any."""
    mean = sum(x for _, x in points) / len(points)
    whole = sum((x - mean) ** 2 for _, x in points)
    return 1 - sum((x - law.per_s(n)) ** 2 for n, x in points) / whole if whole else None


def _terms(n: float) -> _Terms:
    return 1 / n, 1.0, n


def _scaled(terms: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple(factor * one for one in terms)


def _amdahl(points: Sequence[Point]) -> list[float] | None:
    """Return the start where that of the whole law breaks off among the points: a law without c, or flat."""
    found = _least_squares([_scaled((1 / n, 1.0), x) for n, x in points], [1.0] * len(points))
    if found is not None and _is_above([*found, 0.0], points):
        return [*found, 0.0]
    return [0.0, len(points) / sum(x for _, x in points), 0.0]


def _law_of(numbers: Sequence[float]) -> Law | None:
    a, b, c = numbers
    if a + b + c <= 0:
        return None
    one_per_s = 1 / (a + b + c)
    return Law(one_per_s, (b + c) * one_per_s, c * one_per_s)


def _refined(numbers: list[float], points: Sequence[Point]) -> list[float]:
    """Return the numbers that Gauss-Newton comes to."""
    squares = _squares_of(numbers, points)
    for _ in range(_STEPS):
        rows = [_scaled(_terms(n), 1 / _reciprocal(numbers, n)) for n, _ in points]
        step = _least_squares(rows, [-math.log(x * _reciprocal(numbers, n)) for n, x in points])
        if step is None:
            return numbers
        for halving in range(_HALVINGS):
            tried = [one + 0.5**halving * by for one, by in zip(numbers, step, strict=True)]
            if _is_above(tried, points) and (less := _squares_of(tried, points)) < squares:
                break
        else:
            return numbers
        done = squares - less <= _SMALL_ENOUGH * squares
        numbers, squares = tried, less
        if done:
            return numbers
    return numbers


def _reciprocal(numbers: Sequence[float], n: float) -> float:
    """Return 1 / X(n)."""
    return sum(number * term for number, term in zip(numbers, _terms(n), strict=True))


def _is_above(numbers: Sequence[float], points: Sequence[Point]) -> bool:
    return all(_reciprocal(numbers, n) > 0 for n, _ in points)


def _squares_of(numbers: Sequence[float], points: Sequence[Point]) -> float:
    return sum(math.log(x * _reciprocal(numbers, n)) ** 2 for n, x in points)


def _least_squares(rows: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """Return the x that brings ``rows x`` nearest to ``right``; None where several do."""
    width = len(rows[0])
    scales = [math.sqrt(sum(row[at] ** 2 for row in rows)) for at in range(width)]
    if not all(scales):
        return None
    scaled = [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows]
    matrix = [
        [sum(row[i] * row[j] for row in scaled) for j in range(width)]
        + [sum(row[i] * y for row, y in zip(scaled, right, strict=True))]
        for i in range(width)
    ]
    solved = _solved(matrix)
    return None if solved is None else [value / scale for value, scale in zip(solved, scales, strict=True)]


def _solved(matrix: list[list[float]]) -> list[float] | None:
    """Return the solution of equations whose right sides are the last column; pivots are the largest."""
    size = len(matrix)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(matrix[row][column]))
        if abs(matrix[pivot][column]) < _SMALL_ENOUGH:
            return None
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        for row in range(column + 1, size):
            factor = matrix[row][column] / matrix[column][column]
            for at in range(column, size + 1):
                matrix[row][at] -= factor * matrix[column][at]
    found = [0.0] * size
    for row in reversed(range(size)):
        known = sum(matrix[row][at] * found[at] for at in range(row + 1, size))
        found[row] = (matrix[row][size] - known) / matrix[row][row]
    return found
